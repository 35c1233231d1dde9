//! The wall clock, read in one place.

/// Now.
pub(super) fn timestamp() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Now, RFC 3339 in UTC with whole seconds, for people.
pub(super) fn now_to_the_second() -> String {
    format!("{:.0}", timestamp())
}

/// A name for this invocation that no other has: the time and the process.
pub(super) fn invocation() -> String {
    format!("{}-{}", timestamp().as_millisecond(), std::process::id())
}
