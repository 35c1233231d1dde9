//! One sentence per verdict, in words for a tired reader: which number, by how much, how sure,
//! and for an unsure one what would settle it.

use super::{
    Verdict, Zone,
    rule::{Levels, MOST_RUNS, Ruling, runs_to_settle},
};
use crate::{
    compare::{Change, Counts, Design, Estimate, Obstacle},
    metric::{Better, Metric, Unit},
};

/// A relative number as per cent without a sign: 0.0812 is `8.1 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share.abs() * 100.0;
    if percent >= 1e6 {
        "over 1000000 %".to_owned()
    } else if percent >= 1000.0 {
        format!("{percent:.0} %")
    } else {
        // One decimal, and none where it is zero: the limits are 1 %, not 1.0 %.
        format!("{} %", (percent * 10.0).round() / 10.0)
    }
}

/// A value with its unit, to three decimals: `612.5 ms`.
pub(super) fn quantity(value: f64, unit: Unit) -> String {
    let symbol = match unit {
        Unit::Share => return percent(value),
        Unit::Milliseconds => " ms",
        Unit::Seconds => " s",
        Unit::TokensPerSecond => " tok/s",
        Unit::RequestsPerSecond => " req/s",
        Unit::Percent => " %",
        Unit::Gibibytes => " GiB",
        Unit::Watts => " W",
        Unit::Joules => " J",
        Unit::JoulesPerToken => " J/tok",
        Unit::JoulesPerRequest => " J/req",
        Unit::MoneyPerMillionTokens => "/1M tok",
        Unit::Megahertz => " MHz",
        Unit::Celsius => " °C",
        Unit::Count => "",
    };
    format!("{}{symbol}", (value * 1000.0).round() / 1000.0)
}

/// A measured change as per cent, below 1000 % always with one decimal: 0.08 is `8.0 %`.
fn measured(share: f64) -> String {
    let size = share.abs() * 100.0;
    if size < 1000.0 {
        format!("{size:.1} %")
    } else {
        percent(share)
    }
}

/// Whether a change is nothing to one decimal of a per cent.
fn is_nothing(share: f64) -> bool {
    (share * 1000.0).round() == 0.0
}

fn signed(share: f64) -> String {
    let sign = match share {
        // What rounds to nothing has no sign.
        share if is_nothing(share) => "",
        share if share > 0.0 => "+",
        _ => "−",
    };
    format!("{sign}{}", measured(share))
}

/// A difference of shares with its sign: 0.012 is `+1.2`.
fn points(share: f64) -> String {
    signed(share).replace(" %", "")
}

/// A limit on a difference of shares: `1 point`, `2 points`.
fn limit_in_points(share: f64) -> String {
    let number = percent(share).replace(" %", "");
    let noun = if number == "1" { "point" } else { "points" };
    format!("{number} {noun}")
}

fn confidence(level: f64) -> String {
    if level > 0.9999 {
        "over 99.99 %".to_owned()
    } else {
        format!("{} %", (level * 10_000.0).round() / 100.0)
    }
}

/// `8.1 % slower`, `7.4 % lower`, `the same`.
fn moved(metric: &Metric, relative: f64) -> String {
    if is_nothing(relative) {
        return "the same".to_owned();
    }
    let time = matches!(metric.unit, Unit::Milliseconds | Unit::Seconds);
    let word = match (time, relative > 0.0) {
        (true, true) => "slower",
        (true, false) => "faster",
        (false, true) => "higher",
        (false, false) => "lower",
    };
    format!("{} {word}", measured(relative))
}

/// The reason for a ruling on an estimate.
pub(super) fn of_estimate(
    change: &Change,
    estimate: &Estimate,
    better: Better,
    zone: Zone,
    levels: Levels,
    ruling: &Ruling,
) -> String {
    let metric = &change.metric;
    let label = &metric.label;
    let moved = moved(metric, estimate.log_ratio.exp_m1());
    let basis = format!(
        "{} interval {} to {}",
        confidence(ruling.confidence),
        signed(ruling.interval.0),
        signed(ruling.interval.1),
    );
    let (least, limit) = (percent(zone.min_effect), percent(zone.gate_effect));
    match ruling.verdict {
        Verdict::Regressed => {
            format!("{label} is {moved} ({basis}): proven worse by more than {least}")
        }
        Verdict::Improved => {
            format!("{label} is {moved} ({basis}): proven better by more than {least}")
        }
        Verdict::Unchanged => {
            format!("{label} is {moved} ({basis}): a worsening of {limit} is ruled out")
        }
        Verdict::Inconclusive | Verdict::Missing | Verdict::Incomparable | Verdict::New => format!(
            "{label} looks {moved}, not proven ({basis}): {}",
            remedy(estimate, better, zone, levels)
        ),
    }
}

fn remedy(estimate: &Estimate, better: Better, zone: Zone, levels: Levels) -> String {
    match estimate.design {
        Design::Welch => runs_to_settle(estimate, better, zone, levels).map_or_else(
            || {
                format!(
                    "not even {MOST_RUNS} runs a side would settle it; use a quieter runner \
                     (exclusive GPU, locked clocks) or a wider limit"
                )
            },
            |runs| format!("about {runs} runs a side would settle it"),
        ),
        Design::Single | Design::Exact => "measure at least 4 runs a side".to_owned(),
    }
}

/// The reason for a ruling on a deterministic quantity.
pub(super) fn of_exact(change: &Change, ruling: &Ruling, zone: Zone) -> String {
    let label = &change.metric.label;
    let moved = moved(&change.metric, ruling.interval.0);
    let tolerance = percent(zone.min_effect);
    match ruling.verdict {
        Verdict::Regressed | Verdict::Improved => {
            format!("{label} is {moved}; it repeats exactly, so more than {tolerance} is real")
        }
        Verdict::Unchanged
        | Verdict::Inconclusive
        | Verdict::Missing
        | Verdict::Incomparable
        | Verdict::New => format!("{label} is {moved}, within {tolerance}"),
    }
}

/// The reason for a ruling on counts.
pub(super) fn of_counts(
    change: &Change,
    (baseline, current): (Counts, Counts),
    zone: Zone,
    ruling: &Ruling,
    nothing_failed: bool,
) -> String {
    let label = &change.metric.label;
    let sides = format!(
        "{:.0} of {:.0} before, {:.0} of {:.0} now",
        baseline.events, baseline.trials, current.events, current.trials
    );
    if nothing_failed {
        // The largest rate that shows no failure with 5 % probability.
        let unseen = percent(1.0 - 0.05_f64.powf(1.0 / current.trials));
        return format!(
            "{label}: no request failed ({sides}); up to {unseen} could have gone unseen (95 %)"
        );
    }
    let basis = format!(
        "{label}: {sides}, {} points ({} interval {} to {})",
        points(current.share() - baseline.share()),
        confidence(ruling.confidence),
        points(ruling.interval.0),
        points(ruling.interval.1),
    );
    let least = limit_in_points(zone.min_effect);
    let limit = limit_in_points(zone.gate_effect);
    match ruling.verdict {
        Verdict::Regressed => format!("{basis}: proven worse by more than {least}"),
        Verdict::Improved => format!("{basis}: proven better by more than {least}"),
        Verdict::Unchanged => format!("{basis}: a worsening of {limit} is ruled out"),
        Verdict::Inconclusive | Verdict::Missing | Verdict::Incomparable | Verdict::New => {
            // More runs ask the same items again: only more of them tell more.
            let more = match change.metric.better {
                Some(Better::Higher) => "evaluate more items",
                Some(Better::Lower) | None => "send more requests",
            };
            format!("{basis}, not proven: {more}")
        }
    }
}

/// The reason why two present values were not compared.
pub(super) fn of_obstacle(change: &Change, obstacle: &Obstacle) -> String {
    let label = &change.metric.label;
    match obstacle {
        Obstacle::NotPositive => format!(
            "{label} is zero or no number on a side, so it has no ratio: see what the run measured"
        ),
        Obstacle::Survivors => format!(
            "{label} is that of the survivors, since fewer requests succeeded than on the \
             baseline: look at the errors first"
        ),
        Obstacle::OutputLength => format!(
            "{label} depends on the length of the answers, which differs by more than 1 %: fix \
             the output length"
        ),
        Obstacle::Invalid => format!(
            "{label} says nothing about the engine, since a side's measurement is not valid: see \
             its notes and measure again"
        ),
        Obstacle::Unsettled => {
            format!("{label} was measured too briefly on a side: send more requests")
        }
        Obstacle::TooFewRequests { needed } => {
            let have = change.requests.map_or_else(
                || "too few".to_owned(),
                |requests| format!("only {requests}"),
            );
            format!(
                "{label} rests on {have} requests per run and needs {needed}: send more, or \
                 measure several runs a side with equally many"
            )
        }
    }
}

/// Why a judged metric does not gate although it is on the list.
pub(super) fn too_few_to_gate(change: &Change, needed: u64) -> String {
    if change.obstacle.is_some() {
        return "it does not gate until then".to_owned();
    }
    let requests = change.requests.unwrap_or_default();
    format!("it does not gate: {requests} requests per run, and it needs {needed}")
}

/// How many requests make a metric gate, for people; the numbers are those of
/// [`crate::compare::needed_requests`].
pub const REQUESTS_NEEDED: &str = "at least 20 requests per scenario for means and medians, 100 \
                                   for p90, 200 for p95, 1,000 for p99";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compare::needed_requests, metric::Statistic};

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(percent(0.0812), "8.1 %");
        assert_eq!(percent(0.05), "5 %");
        assert_eq!(percent(25.0), "2500 %");
        assert_eq!(percent(1e40), "over 1000000 %");
        assert_eq!(signed(-0.0004), "0.0 %");
        assert_eq!(signed(-0.004), "−0.4 %");
        assert_eq!(signed(0.02), "+2.0 %");
        assert_eq!(signed(1.5), "+150.0 %");
        assert_eq!(points(-0.012), "−1.2");
        assert_eq!(limit_in_points(0.01), "1 point");
        assert_eq!(limit_in_points(0.02), "2 points");
        assert_eq!(confidence(0.9992), "99.92 %");
        assert_eq!(confidence(0.9), "90 %");
        assert_eq!(confidence(0.99998), "over 99.99 %");
    }

    #[test]
    fn the_advice_on_requests_names_the_real_numbers() {
        let numbers: Vec<u64> = [
            Statistic::Mean,
            Statistic::P90,
            Statistic::P95,
            Statistic::P99,
        ]
        .map(needed_requests)
        .to_vec();
        assert_eq!(needed_requests(Statistic::P50), 20);
        let plain = REQUESTS_NEEDED.replace(',', "");
        let said: Vec<u64> = plain
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        assert_eq!(said, numbers);
    }
}
