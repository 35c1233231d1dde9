//! What the driver's XID errors mean for a measurement. Data.
//!
//! Numbers and meanings are those of NVIDIA's XID catalogue
//! (<https://docs.nvidia.com/deploy/xid-errors/>). What is not listed is told and decides nothing.

use serde::{Deserialize, Serialize};

/// What an XID error means for a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum XidClass {
    /// The GPU is not fit for use: nothing measured on it counts.
    Fatal,
    /// The program on the GPU made a mistake; the GPU is fine.
    Application,
    /// Good to know.
    Informative,
}

/// A known XID error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xid {
    /// Its number.
    pub code: u64,
    /// What it means for a measurement.
    pub class: XidClass,
    /// What happened, in a few words.
    pub meaning: &'static str,
}

/// The one that is normal while the engine is being stopped.
const PREEMPTIVE_CLEANUP: u64 = 45;

const fn one(code: u64, class: XidClass, meaning: &'static str) -> Xid {
    Xid {
        code,
        class,
        meaning,
    }
}

/// Ascending.
const XIDS: &[Xid] = &[
    one(13, XidClass::Application, "graphics engine exception"),
    one(31, XidClass::Application, "GPU memory page fault"),
    one(43, XidClass::Application, "the program's work was stopped"),
    one(
        PREEMPTIVE_CLEANUP,
        XidClass::Application,
        "the program's work was removed",
    ),
    one(48, XidClass::Fatal, "memory error that cannot be corrected"),
    one(
        63,
        XidClass::Informative,
        "a memory row or page was retired",
    ),
    one(64, XidClass::Fatal, "a bad memory row could not be retired"),
    one(74, XidClass::Fatal, "NVLink error"),
    one(79, XidClass::Fatal, "the GPU fell off the bus"),
    one(94, XidClass::Fatal, "contained memory error"),
    one(95, XidClass::Fatal, "uncontained memory error"),
    one(119, XidClass::Fatal, "the GPU's system processor timed out"),
    one(120, XidClass::Fatal, "the GPU's system processor failed"),
    one(140, XidClass::Fatal, "memory error that was not recovered"),
    one(143, XidClass::Fatal, "the GPU did not start up"),
    one(154, XidClass::Fatal, "the GPU needs a reset or a reboot"),
];

/// What is known of an XID error.
pub fn xid(code: u64) -> Option<&'static Xid> {
    XIDS.iter().find(|known| known.code == code)
}

/// Whether the engine's end explains it: the driver clears away the work of a killed program.
pub(super) const fn is_teardown(code: u64) -> bool {
    code == PREEMPTIVE_CLEANUP
}

/// The error in words, such as `XID 79 (the GPU fell off the bus)`.
pub fn in_words(code: u64) -> String {
    match xid(code) {
        Some(known) => format!("XID {code} ({})", known.meaning),
        None => format!("XID {code}"),
    }
}

/// Whether nothing measured on the GPU counts.
pub(super) fn is_fatal(code: u64) -> bool {
    xid(code).is_some_and(|known| known.class == XidClass::Fatal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ascending_and_says_what_is_fatal() {
        assert!(XIDS.windows(2).all(|pair| pair[0].code < pair[1].code));
        let fatal: Vec<u64> = XIDS
            .iter()
            .filter(|known| is_fatal(known.code))
            .map(|known| known.code)
            .collect();
        assert_eq!(fatal, [48, 64, 74, 79, 94, 95, 119, 120, 140, 143, 154]);
        assert!(!is_fatal(31) && !is_fatal(63) && !is_fatal(9999));
    }

    #[test]
    fn errors_are_told_in_words() {
        assert_eq!(in_words(79), "XID 79 (the GPU fell off the bus)");
        assert_eq!(in_words(7777), "XID 7777");
        assert!(is_teardown(45) && !is_teardown(43));
    }
}
