//! How an engine ended, in words. Pure.

use crate::{
    engine::{Diagnosis, FailureClass},
    units::Bytes,
};

/// What an exit code says beside itself, with a leading space and in brackets; empty when it says
/// nothing. Codes above 128 are signals (the shell's convention, which Docker follows); 125 to
/// 127 are those of a start that failed (Docker's and the shell's).
pub(super) fn meaning(code: i64, oom: bool) -> String {
    if oom {
        return " (out of memory: the kernel killed a process of it)".to_owned();
    }
    let known = match code {
        125 => "the container could not be set up",
        126 => "its command may not be executed",
        127 => "its command or one of its libraries was not found",
        130 => "interrupted by SIGINT",
        132 => "SIGILL: its code is made for another processor",
        134 => "SIGABRT: it gave up by itself",
        135 => "SIGBUS: often a /dev/shm that is too small",
        137 => {
            "SIGKILL and not its memory limit: somebody killed it, or this host ran out of memory"
        }
        139 => "SIGSEGV: it crashed",
        143 => "asked to end by SIGTERM",
        _ => {
            let signal = code
                .checked_sub(128)
                .filter(|signal| (1..=64).contains(signal));
            return signal.map_or_else(String::new, |signal| format!(" (signal {signal})"));
        }
    };
    format!(" ({known})")
}

/// An engine that was killed for memory: whatever its log says, that is the cause.
pub(super) fn out_of_memory(limit: Option<Bytes>) -> Diagnosis {
    let (line, remedy) = match limit {
        Some(limit) => (
            format!("OOM-killed, memory limit {} MiB", limit.0 >> 20),
            "raise the memory limit, or take a smaller model, context or number of slots",
        ),
        None => (
            "OOM-killed, no memory limit was set".to_owned(),
            "this host has too little memory for it: take a smaller model, context or number of slots",
        ),
    };
    Diagnosis {
        class: FailureClass::HostMemory,
        line,
        cause: "the engine needed more memory than it may have",
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        // The flag counts, whatever the code: a parent may end with 3 after its child was killed.
        assert!(meaning(3, true).contains("out of memory"));
        assert!(meaning(137, false).contains("not its memory limit"));
        assert!(meaning(139, false).contains("SIGSEGV"));
        assert!(meaning(127, false).contains("not found"));
        assert_eq!(meaning(128 + 24, false), " (signal 24)");
        assert_eq!(meaning(1, false), "");
        assert_eq!(meaning(-1, false), "");
        assert_eq!(meaning(i64::MIN, false), "");
    }

    #[test]
    fn the_limit_is_named() {
        let told = out_of_memory(Some(Bytes::from_mib(32)));
        assert_eq!(told.line, "OOM-killed, memory limit 32 MiB");
        assert!(out_of_memory(None).remedy.contains("this host"));
    }
}
