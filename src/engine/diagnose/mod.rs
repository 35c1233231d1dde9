//! An engine's log to a cause and a remedy. Pure.
//!
//! The knowledge is a table of [`Rule`]s, one file per kind of failure: texts that must stand in
//! one line, in this order, and what they mean. The earliest line that tells a cause wins, for
//! what follows it are its consequences; lines that only wrap another error are believed when
//! there is nothing else. The texts are those that the engines, PyTorch, Docker and NVIDIA's
//! container toolkit print.

mod arguments;
mod machine;
mod memory;
mod models;
mod rule;

use serde::Serialize;

use rule::{Kind, Rule};

/// What kind of failure a log tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The weights do not fit into the GPU's memory.
    GpuMemory,
    /// The weights fit, the KV cache does not.
    KvCache,
    /// The host ran out of memory.
    HostMemory,
    /// The engine does not know the model's architecture or format.
    Architecture,
    /// The model is gated, or the token is missing or wrong.
    Gated,
    /// The model is not there, or may not be fetched.
    NotFound,
    /// The port is taken.
    Port,
    /// No usable GPU, or the driver does not fit the image.
    Gpu,
    /// GPUs or processes cannot talk to each other.
    Communication,
    /// The image or its file system.
    Image,
    /// An argument the engine does not take.
    Argument,
    /// The engine is asked for more than it takes.
    Overload,
    /// A part of the engine failed, and the log does not say why.
    Unknown,
}

/// What a log says went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The kind of failure.
    pub class: FailureClass,
    /// The line that says so, shortened, without control characters.
    pub line: String,
    /// What it means, a clause without a full stop.
    pub cause: &'static str,
    /// What to do, a clause without a full stop.
    pub remedy: &'static str,
}

/// The longest text of a line in a diagnosis, in characters.
const LONGEST: usize = 300;
/// Nothing beyond is looked at: causes stand at the beginning of a line.
const LOOKED_AT: usize = 4000;

/// All rules; the first that fits a line explains it.
fn rules() -> impl Iterator<Item = &'static Rule> {
    let tables = [
        arguments::RULES,
        memory::RULES,
        models::RULES,
        machine::RULES,
    ];
    tables.into_iter().flatten()
}

/// What a log says went wrong: the earliest cause, else the earliest line that wraps one, else
/// the earliest sign of overload. `None` where nothing in it is known.
pub fn diagnose<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Diagnosis> {
    let mut best: Option<(&'static Rule, &str)> = None;
    for line in lines {
        let Some(found) = explain(line) else { continue };
        if best.is_none_or(|(rule, _)| found.kind < rule.kind) {
            best = Some((found, line));
        }
        if found.kind == Kind::Cause {
            break;
        }
    }
    best.map(|(rule, line)| Diagnosis {
        class: rule.class,
        line: shown(line),
        cause: rule.cause,
        remedy: rule.remedy,
    })
}

/// Whether an engine that prints this line can never become ready, so that waiting for it is
/// pointless. Only what is certain: an engine that ends is noticed by its end.
pub fn is_fatal(line: &str) -> bool {
    let lower = lower(line);
    rules().any(|rule| rule.fatal && rule.fits(&lower))
}

fn explain(line: &str) -> Option<&'static Rule> {
    let lower = lower(line);
    rules().find(|rule| rule.fits(&lower))
}

/// In lower case: the same texts come from libraries that disagree about capitals.
fn lower(line: &str) -> String {
    line.chars()
        .take(LOOKED_AT)
        .flat_map(char::to_lowercase)
        .collect()
}

/// A line that may be shown anywhere: one line, no colours, not long.
fn shown(line: &str) -> String {
    let mut text = String::new();
    let mut letters = line.trim().chars().take(LOOKED_AT).peekable();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' && letters.next_if_eq(&'[').is_some() {
            // A colour: parameters up to a letter.
            while letters.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
            letters.next();
        } else if letter.is_control() {
            text.push(' ');
        } else {
            text.push(letter);
        }
    }
    let text = text.trim();
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some(_) => text.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(lines: &[&str]) -> Diagnosis {
        diagnose(lines.iter().copied()).unwrap()
    }

    #[test]
    fn the_earliest_cause_wins_over_what_wraps_it_and_what_follows() {
        let log = [
            "INFO loading weights",
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
            "OSError: [Errno 98] address already in use",
        ];
        assert_eq!(of(&log).class, FailureClass::GpuMemory);
        assert!(of(&log[..2]).cause.contains("vLLM"));
    }

    #[test]
    fn overload_is_told_only_when_nothing_broke() {
        let busy = "server busy, please try again.  maximum pending requests exceeded";
        assert_eq!(of(&[busy]).class, FailureClass::Overload);
        let both = [busy, "NCCL error: unhandled system error"];
        assert_eq!(of(&both).class, FailureClass::Communication);
    }

    #[test]
    fn a_quiet_log_says_nothing() {
        assert_eq!(diagnose(["INFO ready", "warmup done", ""]), None);
        assert_eq!(diagnose([]), None);
    }

    #[test]
    fn only_hopeless_lines_are_fatal() {
        for line in [
            "warning: no usable GPU found, --gpu-layers option will be ignored",
            "vllm: error: unrecognized arguments: --foo",
            "error: invalid argument: --foo",
            "RuntimeError: Engine core initialization failed. See root cause above.",
            "error loading model architecture: unknown model architecture: 'x'",
        ] {
            assert!(is_fatal(line), "{line}");
        }
        for line in [
            "INFO: model loaded",
            "torch.OutOfMemoryError: CUDA out of memory.",
            "server busy, please try again.  maximum pending requests exceeded",
            "WARNING: 404 Client Error for optional adapter_config.json",
            "",
        ] {
            assert!(!is_fatal(line), "{line}");
        }
    }

    #[test]
    fn a_shown_line_is_short_and_plain() {
        assert_eq!(shown("\u{1b}[1;31mError:\u{1b}[0m\tx\n"), "Error: x");
        let long = shown(&"ä".repeat(900));
        assert_eq!(long.chars().count(), LONGEST);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn every_rule_can_match_and_tells_what_to_do() {
        for rule in rules() {
            let whole = rule.texts.join(" … ");
            assert!(rule.fits(&whole), "{whole}");
            for text in rule.texts {
                assert_eq!(*text, lower(text), "texts are compared in lower case");
                assert!(text.len() >= 6, "`{text}` is in many lines");
            }
            for clause in [rule.cause, rule.remedy] {
                assert!(!clause.is_empty() && !clause.ends_with('.'), "{clause}");
            }
        }
    }

    #[test]
    fn every_rule_is_reached() {
        for rule in rules() {
            let whole = rule.texts.join(" … ");
            let first = rules().find(|other| other.fits(&whole)).unwrap();
            assert!(std::ptr::eq(first, rule), "an earlier rule hides `{whole}`");
        }
    }

    proptest! {
        #[test]
        fn any_log_is_read(lines in proptest::collection::vec("\\PC{0,400}|.{0,80}", 0..20)) {
            if let Some(found) = diagnose(lines.iter().map(String::as_str)) {
                prop_assert!(found.line.chars().count() <= LONGEST);
            }
        }

        #[test]
        fn any_line_around_a_cause_is_shown_plainly(before in ".{0,400}", after in "\\PC{0,400}") {
            let line = format!("{before}CUDA out of memory{after}");
            let found = diagnose([line.as_str()]).unwrap();
            prop_assert!(found.line.chars().count() <= LONGEST);
            prop_assert!(!found.line.chars().any(char::is_control));
        }
    }
}
