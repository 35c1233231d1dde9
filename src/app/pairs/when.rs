//! When pairs are measured, and when there are enough of them. Pure: a decision to a reason.

use std::time::Duration;

use crate::{
    compare::{Design, Obstacle},
    context::{Against, WhenUnsure},
    verdict::{Decision, Judged, Verdict},
};

/// What follows a comparison with stored results. Each says which rule hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The verdict stands.
    Stands(String),
    /// It is settled side by side.
    Pairs(&'static str),
}

/// What is known beside the verdict on stored results.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// Whether there are stored results to compare with.
    pub(super) baseline: bool,
    /// Whether the measurement says of itself that it tells nothing.
    pub(super) invalid: bool,
}

/// Whether a verdict on stored results is settled by pairs.
pub(super) fn after_stored(decision: &Decision, against: &Against, known: Known) -> Next {
    let stands = |why: &str| Next::Stands(why.to_owned());
    let gating: Vec<&Judged> = decision.metrics.iter().filter(|one| one.gating).collect();
    let any = |is: fn(&Judged) -> bool| gating.iter().any(|one| is(one));
    match against.on_unsure {
        WhenUnsure::Pair => {}
        WhenUnsure::Neutral => return stands("`on-unsure: neutral` asks for no pairs"),
        WhenUnsure::Fail => return stands("`on-unsure: fail` asks for no pairs"),
    }
    if known.invalid {
        return stands("this measurement is not valid, and pairs would be spoiled alike");
    }
    if !known.baseline && !against.is_given() {
        return stands("there is no baseline to measure beside");
    }
    if gating.is_empty() {
        return stands("no metric gates, with or without pairs");
    }
    if any(|one| one.verdict == Verdict::Regressed && is_exact(one)) {
        return stands("a deterministic quantity regressed");
    }
    if !known.baseline {
        return Next::Pairs("the baseline side was given and has no stored results");
    }
    if any(|one| one.verdict == Verdict::Incomparable) {
        return Next::Pairs("the stored baseline was measured under other conditions");
    }
    if any(|one| one.verdict == Verdict::Regressed) {
        return Next::Pairs("a regression against stored results blocks only when pairs prove it");
    }
    if any(|one| one.verdict == Verdict::Inconclusive) {
        return Next::Pairs("the verdict on stored results is open");
    }
    if any(|one| !is_settled(one)) {
        return Next::Pairs("one job against one is provisional");
    }
    stands("stored results settle it")
}

fn is_exact(judged: &Judged) -> bool {
    let design = judged.change.estimate.map(|estimate| estimate.design);
    design == Some(Design::Exact)
}

/// Whether stored results are enough for this verdict.
fn is_settled(judged: &Judged) -> bool {
    let design = judged.change.estimate.map(|estimate| estimate.design);
    match judged.verdict {
        Verdict::Missing | Verdict::New => true,
        // A proportion has no estimate: it is counted.
        Verdict::Improved | Verdict::Unchanged => {
            matches!(design, Some(Design::History | Design::Exact) | None)
        }
        Verdict::Regressed | Verdict::Incomparable | Verdict::Inconclusive => false,
    }
}

/// Why no further pair is needed; `None` while one may settle something.
pub(super) fn enough(decision: &Decision) -> Option<String> {
    let gating = || decision.metrics.iter().filter(|one| one.gating);
    let regressed = gating().find(|one| one.verdict == Verdict::Regressed);
    if let Some(one) = regressed {
        let change = &one.change;
        return Some(format!(
            "{} in {} regressed, and one regression is enough",
            change.metric.label, change.scenario
        ));
    }
    if gating().any(may_change) {
        return None;
    }
    let Some(first) = gating().find(|one| !is_decided(one)) else {
        return Some(if gating().next().is_none() {
            "no metric gates".to_owned()
        } else {
            "every gating metric is decided".to_owned()
        });
    };
    Some(format!("more pairs would change nothing: {}", first.reason))
}

const fn is_decided(judged: &Judged) -> bool {
    match judged.verdict {
        Verdict::Regressed
        | Verdict::Improved
        | Verdict::Unchanged
        | Verdict::New
        | Verdict::Missing => true,
        Verdict::Incomparable | Verdict::Inconclusive => false,
    }
}

/// Whether another pair could change what is said of a metric.
fn may_change(judged: &Judged) -> bool {
    // Items were evaluated elsewhere: no pair adds to them.
    if judged.change.items.is_some() || judged.change.shift.is_some() {
        return false;
    }
    match (judged.verdict, &judged.change.obstacle) {
        (Verdict::Inconclusive, None | Some(Obstacle::TooFewPairs { .. } | Obstacle::NotInterleaved))
        // Pairs that one run spoiled are outweighed by good ones.
        | (Verdict::Incomparable, Some(Obstacle::Invalid)) => true,
        (
            Verdict::Inconclusive
            | Verdict::Incomparable
            | Verdict::Regressed
            | Verdict::Missing
            | Verdict::Improved
            | Verdict::New
            | Verdict::Unchanged,
            _,
        ) => false,
    }
}

/// Why the next pair would not end in time; `None`: it would. The time of a pair is the mean of
/// those that were measured.
pub(super) fn late(spent: Duration, pair: Option<Duration>, budget: Duration) -> Option<String> {
    let whole = super::forecast::words(budget);
    match pair {
        _ if spent >= budget => Some(format!("the time budget of {whole} is used up")),
        Some(pair) if spent + pair > budget => Some(format!(
            "another pair takes {} and would not end in the time budget of {whole}",
            super::forecast::words(pair)
        )),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::Typed,
        compare::{Change, Estimate, Reference},
        context::{EnvSnapshot, resolve},
        metric::describe,
    };

    fn judged(verdict: Verdict, design: Option<Design>) -> Judged {
        let change = Change {
            baseline: Some(1.0),
            current: Some(1.0),
            requests: Some(100),
            estimate: design.map(|design| Estimate {
                log_ratio: 0.0,
                standard_error: 0.1,
                reference: Reference::Normal,
                design,
                runs: (1, 1),
            }),
            ..Change::new("throughput", describe("tpot_ms.p50"))
        };
        Judged {
            gating: true,
            ..Judged::new(change, verdict, "because".to_owned())
        }
    }

    fn decision(metrics: Vec<Judged>) -> Decision {
        Decision::new(Verdict::Inconclusive, metrics)
    }

    fn next_with(metrics: Vec<Judged>, settings: &[(&'static str, &str)], known: Known) -> Next {
        let typed: Typed = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let inputs = resolve(&typed, &EnvSnapshot::default()).unwrap();
        after_stored(&decision(metrics), &inputs.against, known)
    }

    const GOOD: Known = Known {
        baseline: true,
        invalid: false,
    };

    fn next(metrics: Vec<Judged>) -> Next {
        next_with(metrics, &[], GOOD)
    }

    fn stands(next: &Next) -> bool {
        matches!(next, Next::Stands(_))
    }

    #[test]
    fn history_settles_what_it_passes_and_nothing_else() {
        use Verdict::{Improved, Inconclusive, Regressed, Unchanged};
        let one = |verdict, design| next(vec![judged(verdict, Some(design))]);
        assert!(stands(&one(Unchanged, Design::History)));
        assert!(stands(&one(Improved, Design::Exact)));
        for open in [
            one(Regressed, Design::History),
            one(Inconclusive, Design::History),
            one(Unchanged, Design::Single),
            one(Improved, Design::Single),
            one(Regressed, Design::Single),
        ] {
            assert!(!stands(&open), "{open:?}");
        }
        // One open metric is enough, unless what is exact has regressed already.
        let open = judged(Inconclusive, Some(Design::History));
        let settled = judged(Unchanged, Some(Design::History));
        assert!(!stands(&next(vec![settled, open.clone()])));
        let exact = judged(Regressed, Some(Design::Exact));
        assert!(stands(&next(vec![open, exact])));
    }

    #[test]
    fn other_conditions_are_a_reason_and_a_missing_metric_is_none() {
        let other = next(vec![judged(Verdict::Incomparable, None)]);
        assert!(
            matches!(other, Next::Pairs(why) if why.contains("other conditions")),
            "{other:?}"
        );
        assert!(stands(&next(vec![judged(Verdict::Missing, None)])));
        let mut informative = judged(Verdict::Inconclusive, None);
        informative.gating = false;
        assert!(stands(&next(vec![informative])));
    }

    #[test]
    fn settings_and_what_is_known_come_first() {
        let open = || vec![judged(Verdict::Inconclusive, Some(Design::Single))];
        for word in ["neutral", "fail"] {
            let next = next_with(open(), &[("on-unsure", word)], GOOD);
            assert!(matches!(next, Next::Stands(why) if why.contains(word)));
        }
        let invalid = Known {
            invalid: true,
            ..GOOD
        };
        assert!(stands(&next_with(open(), &[], invalid)));
        let none = Known {
            baseline: false,
            ..GOOD
        };
        let fresh = || vec![judged(Verdict::New, None)];
        assert!(stands(&next_with(fresh(), &[], none)));
        let given = [("baseline-args", "-t 1")];
        assert!(!stands(&next_with(fresh(), &given, none)));
    }

    #[test]
    fn pairs_end_when_all_is_decided_or_one_regressed() {
        let of = |metrics: Vec<Judged>| enough(&decision(metrics));
        let open = || judged(Verdict::Inconclusive, None);
        let passed = || judged(Verdict::Unchanged, None);
        assert_eq!(of(vec![open(), passed()]), None);
        let why = of(vec![passed(), passed()]).unwrap();
        assert_eq!(why, "every gating metric is decided");
        let why = of(vec![judged(Verdict::Regressed, None), open()]).unwrap();
        assert!(why.contains("TPOT p50 in throughput regressed"), "{why}");
        assert!(of(Vec::new()).is_some());
    }

    #[test]
    fn pairs_end_when_more_would_change_nothing() {
        use Verdict::{Incomparable, Inconclusive};
        let with = |verdict, obstacle| {
            let mut one = judged(verdict, None);
            one.change.obstacle = Some(obstacle);
            enough(&decision(vec![one]))
        };
        for healing in [
            with(Incomparable, Obstacle::Invalid),
            with(Inconclusive, Obstacle::TooFewPairs { have: 1, needed: 3 }),
            with(Inconclusive, Obstacle::NotInterleaved),
        ] {
            assert_eq!(healing, None);
        }
        for lasting in [
            with(Incomparable, Obstacle::OutputLength),
            with(Incomparable, Obstacle::Survivors),
            with(Inconclusive, Obstacle::Unsettled),
            with(Inconclusive, Obstacle::TooFewRequests { needed: 100 }),
        ] {
            let why = lasting.unwrap();
            assert_eq!(why, "more pairs would change nothing: because");
        }
    }

    #[test]
    fn a_pair_that_would_end_too_late_does_not_begin() {
        let minutes = Duration::from_mins;
        let of = |spent, pair| late(minutes(spent), Some(minutes(pair)), minutes(60));
        assert_eq!(of(50, 10), None);
        assert!(of(51, 10).unwrap().contains("time budget of 1 h"));
        assert!(late(minutes(60), None, minutes(60)).is_some());
        assert_eq!(late(minutes(59), None, minutes(60)), None);
    }
}
