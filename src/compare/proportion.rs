//! Shares of requests or items: counts, and limits for their difference.
//!
//! A share may be zero on a healthy side, so it has no log-ratio; its difference is judged in
//! points instead. Limits are Newcombe's hybrid score limits (Newcombe 1998, *Statistics in
//! Medicine* 17, 873–890, method 10), built from Wilson's score limits of each side: they stay
//! inside ±1 and do not collapse to nothing when nothing failed.

use crate::results::ScenarioRecord;

/// Events among trials. Not whole where they are averages over runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    /// What is counted: failed requests, correct answers.
    pub events: f64,
    /// Out of how many; positive.
    pub trials: f64,
}

impl Counts {
    /// Events per trial, 0 to 1.
    pub fn share(self) -> f64 {
        self.events / self.trials
    }

    /// Wilson's score limits of the share at `z` standard errors (Wilson 1927).
    fn wilson(self, z: f64) -> (f64, f64) {
        let (n, p, z2) = (self.trials, self.share(), z * z);
        let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        ((centre - half).max(0.0), (centre + half).min(1.0))
    }
}

/// Lower and upper limit of `current`'s share minus `baseline`'s, each at `z` standard errors.
pub fn difference_limits(baseline: Counts, current: Counts, z: f64) -> (f64, f64) {
    let (b, c) = (baseline.share(), current.share());
    let (b_low, b_high) = baseline.wilson(z);
    let (c_low, c_high) = current.wilson(z);
    let difference = c - b;
    (
        difference - (c - c_low).hypot(b_high - b),
        difference + (c_high - c).hypot(b - b_low),
    )
}

/// What was counted for a proportion over all runs of a side; `None` when a run does not tell.
///
/// Requests are added up: each run sent its own. Answers are averaged: every run answers
/// the same items, and asking them again does not make more of them.
pub(super) fn counts(side: &[&ScenarioRecord], metric: &str) -> Option<Counts> {
    let mut total = Counts {
        events: 0.0,
        trials: 0.0,
    };
    let mut runs = 0.0;
    for record in side
        .iter()
        .filter(|record| record.metrics.contains_key(metric))
    {
        let counts = of_record(record, metric)?;
        total.events += counts.events;
        total.trials += counts.trials;
        runs += 1.0;
    }
    if !is_of_requests(metric) {
        total.events /= runs;
        total.trials /= runs;
    }
    let sane = total.trials >= 1.0 && (0.0..=total.trials).contains(&total.events);
    (sane && total.trials.is_finite()).then_some(total)
}

/// Whether a share is one of requests, not of evaluated items.
pub fn is_of_requests(metric: &str) -> bool {
    matches!(metric, "error_rate" | "slo_attainment")
}

fn of_record(record: &ScenarioRecord, metric: &str) -> Option<Counts> {
    let pair = |events: &str, trials: &str| {
        Some(Counts {
            events: record.metrics.get(events).copied()?,
            trials: record.metrics.get(trials).copied()?,
        })
    };
    match metric {
        "error_rate" => {
            let (sent, ok) = (record.sent?, record.ok?);
            Some(Counts {
                events: sent.checked_sub(ok)? as f64,
                trials: sent as f64,
            })
        }
        // Good ones of all that were judged, which are all that were sent.
        "slo_attainment" => {
            let judged = record.samples.get(metric).copied().or(record.sent)? as f64;
            Some(Counts {
                events: record.metrics.get(metric).copied()? * judged,
                trials: judged,
            })
        }
        // KITT's names (`research/kitt-and-engines.md` §1.4).
        "accuracy" | "answer_accuracy" => pair("correct", "total"),
        "overall_accuracy" => pair("needles_found", "total_tests"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 6e-5, "{found} is not {expected}");
    }

    /// Newcombe 1998, table II, method 10: 56/70 − 48/80 has limits 0.0524 and 0.3339;
    /// 10/10 − 0/20 has 0.6791 and 1.0000; 0/10 − 0/20 has −0.1611 and 0.2775.
    #[test]
    fn limits_agree_with_newcombes_table() {
        let z = 1.959_964;
        for (current, baseline, low, high) in [
            ((56.0, 70.0), (48.0, 80.0), 0.0524, 0.3339),
            ((10.0, 10.0), (0.0, 20.0), 0.6791, 1.0),
            ((0.0, 10.0), (0.0, 20.0), -0.1611, 0.2775),
        ] {
            let counts = |(events, trials)| Counts { events, trials };
            let found = difference_limits(counts(baseline), counts(current), z);
            close(found.0, low);
            close(found.1, high);
        }
    }
}
