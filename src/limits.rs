//! Limits the system puts on this process.

/// Raises the soft limit of open files to the hard one and says how many may be open then: a
/// thousand streams need more than some systems allow at first. `None` where there is no such
/// limit, or it cannot be read.
pub fn open_files() -> Option<u64> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        // macOS names a hard limit that it does not accept: the soft one stays then.
        let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        Some(if raised { hard } else { soft })
    }
    #[cfg(not(unix))]
    None
}
