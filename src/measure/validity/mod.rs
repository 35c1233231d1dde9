//! Whether a measurement can be trusted, and why not (design §5.6). Pure.
//!
//! Each rule is a function of what was found. It says nothing, or a sentence with or without a
//! verdict; the worst verdict counts. A rule's limits are constants in its file.

mod client;
mod gpu;
mod outcome;
mod schedule;

use std::time::Duration;

use super::{
    Validity,
    audit::Audit,
    gpu_findings::GpuFindings,
    spec::{Load, MeasureSpec},
    window::Window,
};
use crate::load::Stopped;

/// What the judgement rests on.
#[derive(Debug)]
pub(in crate::measure) struct Findings<'a> {
    pub(in crate::measure) spec: &'a MeasureSpec,
    pub(in crate::measure) sent: u64,
    pub(in crate::measure) ok: u64,
    pub(in crate::measure) cancelled: u64,
    pub(in crate::measure) error_rate: Option<f64>,
    /// The first failure, in words.
    pub(in crate::measure) first_error: Option<&'a str>,
    pub(in crate::measure) window: Option<&'a Window>,
    /// When load began and ended, on the traces' clock.
    pub(in crate::measure) began: Duration,
    pub(in crate::measure) ended: Duration,
    /// Why no further request was sent.
    pub(in crate::measure) stopped: &'a Stopped,
    pub(in crate::measure) audit: &'a Audit,
    /// Requests per second: due, and sent.
    pub(in crate::measure) offered_rps: Option<f64>,
    pub(in crate::measure) sent_rps: Option<f64>,
    /// Whether the number of requests under way only grew.
    pub(in crate::measure) saturated: bool,
    /// Why the server's own counters make the measurement void.
    pub(in crate::measure) server_invalid: Option<&'a str>,
    /// What the GPUs' readings say, where they were watched.
    pub(in crate::measure) gpu: Option<&'a GpuFindings>,
}

/// What one rule says.
type Said = Option<(Option<Validity>, String)>;

/// All rules, in the order their sentences are told.
const RULES: [fn(&Findings<'_>) -> Said; 35] = [
    gpu::lost,
    gpu::fatal_errors,
    gpu::memory_errors,
    gpu::foreign,
    gpu::hardware_thermal,
    gpu::power_brake,
    gpu::unbracketed,
    gpu::counter_backwards,
    outcome::server_errors,
    outcome::no_success,
    outcome::stopped_early,
    outcome::asked_to_stop,
    outcome::never_reached,
    outcome::shortly_reached,
    outcome::server_counters,
    client::deficit,
    client::processor_full,
    client::throttled,
    client::stolen,
    client::uncertain_gaps,
    client::uncertain_first,
    client::stalls,
    client::lag,
    schedule::held_back,
    schedule::late_sends,
    schedule::rate_missed,
    outcome::saturated,
    outcome::level_changed,
    gpu::hole,
    gpu::software_thermal,
    gpu::clock,
    gpu::energy,
    gpu::unsettled,
    gpu::errors,
    gpu::power_capped,
];

/// The worst thing that can be said, and everything that is worth saying. `more`: notes of
/// other origins, told last.
pub(in crate::measure) fn judge(
    findings: &Findings<'_>,
    more: Vec<String>,
) -> (Validity, Vec<String>) {
    let mut worst = Validity::Valid;
    let mut notes = Vec::new();
    for rule in RULES {
        if let Some((verdict, note)) = rule(findings) {
            worst = worst.max(verdict.unwrap_or(Validity::Valid));
            notes.push(note);
        }
    }
    notes.extend(outcome::warm_up_cut(findings));
    notes.extend(outcome::coalesced(findings));
    notes.extend(more);
    (worst, notes)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn open(found: &Findings<'_>) -> bool {
    found.spec.load == Load::Open
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{load::StampSource, measure::audit::Spread};

    pub(super) fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    pub(super) fn steady() -> Window {
        Window {
            start: ms(0),
            end: ms(10_000),
            bins: 0..10_000,
            fallback: None,
            deficit: Some(0.0),
            cut: Duration::ZERO,
            change: None,
        }
    }

    pub(super) fn closed() -> MeasureSpec {
        MeasureSpec::closed(NonZeroU32::new(4).unwrap(), Some(100))
    }

    pub(super) fn open_loop() -> MeasureSpec {
        MeasureSpec {
            load: Load::Open,
            ..closed()
        }
    }

    pub(super) fn kernel() -> Audit {
        Audit {
            threads: 1,
            stamps: StampSource::Kernel,
            ..Audit::default()
        }
    }

    /// Judges 100 good requests in 10 s at 10 a second, changed as wanted.
    pub(super) fn judged<'a>(
        spec: &'a MeasureSpec,
        audit: &'a Audit,
        window: &'a Window,
        change: impl FnOnce(&mut Findings<'a>),
    ) -> (Validity, String) {
        let mut findings = Findings {
            spec,
            sent: 100,
            ok: 100,
            cancelled: 0,
            error_rate: Some(0.0),
            first_error: None,
            window: Some(window),
            began: ms(0),
            ended: ms(10_000),
            stopped: &Stopped::Exhausted,
            audit,
            offered_rps: Some(10.0),
            sent_rps: Some(10.0),
            saturated: false,
            server_invalid: None,
            gpu: None,
        };
        change(&mut findings);
        let (validity, notes) = judge(&findings, vec!["from elsewhere".to_owned()]);
        let mut notes = notes.join("\n");
        assert!(notes.ends_with("from elsewhere"));
        notes.truncate(notes.len() - "from elsewhere".len());
        (validity, notes.trim_end().to_owned())
    }

    pub(super) fn by(change: impl FnOnce(&mut Findings<'_>)) -> (Validity, String) {
        judged(&closed(), &kernel(), &steady(), change)
    }

    pub(super) fn client(audit: &Audit) -> (Validity, String) {
        judged(&closed(), audit, &steady(), |_| ())
    }

    pub(super) fn schedule(
        audit: &Audit,
        change: impl FnOnce(&mut Findings<'_>),
    ) -> (Validity, String) {
        judged(&open_loop(), audit, &steady(), change)
    }

    pub(super) fn silent(found: &(Validity, String)) {
        assert_eq!(*found, (Validity::Valid, String::new()));
    }

    pub(super) fn says(found: &(Validity, String), validity: Validity, part: &str) {
        assert_eq!(found.0, validity, "{}", found.1);
        assert!(found.1.contains(part), "`{}` lacks `{part}`", found.1);
    }

    pub(super) fn late(p99: f64, max: f64) -> Audit {
        Audit {
            late_send_ms: Spread {
                p99: Some(p99),
                max: Some(max),
                ..Spread::default()
            },
            ..kernel()
        }
    }

    #[test]
    fn a_good_run_is_valid_without_a_word() {
        silent(&by(|_| ()));
        silent(&schedule(&kernel(), |_| ()));
    }

    #[test]
    fn the_worst_verdict_counts_and_all_is_said() {
        let audit = Audit {
            in_flight_deficit: Some(0.5),
            ..late(500.0, 500.0)
        };
        let found = schedule(&audit, |_| ());
        assert_eq!(found.0, Validity::ClientLimited);
        assert_eq!(found.1.lines().count(), 2);
        let found = schedule(&audit, |found| found.error_rate = Some(0.5));
        assert_eq!(found.0, Validity::ServerErrored);
    }
}
