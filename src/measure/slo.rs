//! Whether a request met its objectives: what goodput counts. Pure.

use super::request::RequestTimes;
use crate::{
    load::RequestTrace,
    plan::{Objective, Quantity},
};

/// Whether one request met all objectives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Yes,
    No,
    /// A quantity was not measured, for want of usage.
    Unknown,
}

/// Judges a request. One that did not end well (`times` absent) met nothing. A quantity that the
/// answer cannot have (TPOT of one token, the gap of one chunk) breaks no limit. An uncertain
/// TTFT counts with its upper bound.
pub(super) fn met(
    objectives: &[Objective],
    trace: &RequestTrace,
    times: Option<&RequestTimes>,
) -> Met {
    let Some(times) = times else {
        return Met::No;
    };
    let mut all = Met::Yes;
    for objective in objectives {
        match value(objective.quantity, trace, times) {
            Value::Measured(value) if value > objective.limit_ms => return Met::No,
            Value::Measured(_) | Value::Nothing => {}
            Value::Unknown => all = Met::Unknown,
        }
    }
    all
}

enum Value {
    Measured(f64),
    /// The answer has no such quantity.
    Nothing,
    Unknown,
}

fn value(quantity: Quantity, trace: &RequestTrace, times: &RequestTimes) -> Value {
    let or_nothing = |value: Option<f64>| value.map_or(Value::Nothing, Value::Measured);
    match quantity {
        Quantity::Ttft => Value::Measured(times.ttft_ms),
        Quantity::E2e => Value::Measured(times.e2e_ms),
        Quantity::Itl => or_nothing(times.gaps.longest_ms()),
        Quantity::Tpot if trace.usage.is_some() => or_nothing(times.tpot_ms),
        Quantity::Tpot => Value::Unknown,
    }
}

/// Requests by whether they met their objectives.
#[derive(Debug, Default)]
pub(super) struct SloTally {
    judged: u64,
    good: u64,
    unknown: u64,
}

impl SloTally {
    pub(super) fn add(&mut self, met: Met) {
        self.judged += 1;
        match met {
            Met::Yes => self.good += 1,
            Met::No => {}
            Met::Unknown => self.unknown += 1,
        }
    }

    /// Share of all requests that met all objectives; `None` when one could not be judged.
    pub(super) fn attainment(&self) -> Option<f64> {
        (self.judged > 0 && self.unknown == 0).then(|| self.good as f64 / self.judged as f64)
    }

    /// What is to be said.
    pub(super) fn note(&self) -> Option<String> {
        (self.unknown > 0).then(|| {
            format!(
                "goodput is not reported: {} requests lack a quantity that has an objective",
                self.unknown
            )
        })
    }

    pub(super) const fn judged(&self) -> u64 {
        self.judged
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::request::{request_times, tests::trace},
        *,
    };

    const fn limit(quantity: Quantity, limit_ms: f64) -> Objective {
        Objective { quantity, limit_ms }
    }

    fn judged(objectives: &[Objective], trace: &RequestTrace) -> Met {
        met(objectives, trace, request_times(trace).as_ref())
    }

    #[test]
    fn every_objective_must_hold_and_a_limit_is_still_good() {
        // TTFT 50, E2E 100, TPOT 50 / 4 = 12.5, longest gap 30.
        let answer = trace(0, 0, &[50, 70, 100], 5);
        for (quantity, exact) in [
            (Quantity::Ttft, 50.0),
            (Quantity::E2e, 100.0),
            (Quantity::Tpot, 12.5),
            (Quantity::Itl, 30.0),
        ] {
            assert_eq!(judged(&[limit(quantity, exact)], &answer), Met::Yes);
            assert_eq!(judged(&[limit(quantity, exact - 0.01)], &answer), Met::No);
        }
        let both = [limit(Quantity::Ttft, 60.0), limit(Quantity::E2e, 99.0)];
        assert_eq!(judged(&both, &answer), Met::No);
    }

    #[test]
    fn without_usage_a_token_limit_cannot_be_judged() {
        let mut answer = trace(0, 0, &[50, 100], 5);
        answer.usage = None;
        let token = limit(Quantity::Tpot, 1e6);
        assert_eq!(judged(std::slice::from_ref(&token), &answer), Met::Unknown);
        // Another limit that is broken decides all the same.
        assert_eq!(
            judged(&[token, limit(Quantity::Ttft, 1.0)], &answer),
            Met::No
        );
    }

    #[test]
    fn one_token_has_no_time_between_tokens() {
        let answer = trace(0, 0, &[50], 1);
        assert_eq!(judged(&[limit(Quantity::Tpot, 0.0)], &answer), Met::Yes);
    }

    #[test]
    fn attainment_is_over_all_requests() {
        let mut tally = SloTally::default();
        assert_eq!(tally.attainment(), None);
        for met in [Met::Yes, Met::Yes, Met::Yes, Met::No] {
            tally.add(met);
        }
        assert_eq!((tally.attainment(), tally.note()), (Some(0.75), None));
        tally.add(Met::Unknown);
        assert_eq!(tally.attainment(), None);
        assert!(tally.note().unwrap().contains("1 requests"));
    }
}
