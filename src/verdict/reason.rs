//! One sentence per verdict, in words for a tired reader: which number, by how much, how sure,
//! and for an unsure one what would settle it.

use super::{Remedy, Verdict, Zone, rule::Ruling};
use crate::{
    compare::{Change, Counts, Design, Estimate, ItemChanges, Obstacle, Shift, is_of_requests},
    metric::{Metric, Unit},
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
    zone: Zone,
    ruling: &Ruling,
    remedy: Option<Remedy>,
) -> String {
    let metric = &change.metric;
    let label = &metric.label;
    let moved = moved(metric, estimate.log_ratio.exp_m1());
    let basis = format!(
        "{} interval {} to {}{}",
        confidence(ruling.confidence),
        signed(ruling.interval.0),
        signed(ruling.interval.1),
        rests_on(estimate),
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
        Verdict::Inconclusive | Verdict::Missing | Verdict::Incomparable | Verdict::New => {
            let remedy =
                remedy.map_or_else(String::new, |remedy| format!(": {}", remedy.sentence()));
            format!("{label} looks {moved}, not proven ({basis}){remedy}")
        }
    }
}

/// What an estimate rests on: `, 5 pairs`.
fn rests_on(estimate: &Estimate) -> String {
    match estimate.design {
        Design::Paired => format!(", {} pairs", estimate.runs.0),
        Design::History => format!(", {} earlier jobs", estimate.runs.0),
        Design::Single => ", one job against one".to_owned(),
        Design::Exact => String::new(),
    }
}

/// The reason for a ruling on a deterministic quantity.
pub(super) fn of_exact(change: &Change, ruling: &Ruling, zone: Zone) -> String {
    let label = &change.metric.label;
    let mean = change
        .estimate
        .map_or(ruling.interval.0, |all| all.log_ratio.exp_m1());
    let moved = moved(&change.metric, mean);
    let tolerance = percent(zone.min_effect);
    match ruling.verdict {
        Verdict::Regressed | Verdict::Improved => {
            format!("{label} is {moved}; it repeats exactly, so more than {tolerance} is real")
        }
        Verdict::Inconclusive => {
            let other = signed(ruling.interval.1);
            let one = signed(ruling.interval.0);
            format!(
                "{label} changed by {one} to {other}, by more than {tolerance} in some pairs and \
                 less in others"
            )
        }
        Verdict::Unchanged | Verdict::Missing | Verdict::Incomparable | Verdict::New => {
            format!("{label} is {moved}, within {tolerance}")
        }
    }
}

/// The reason for a ruling on counts.
pub(super) fn of_counts(
    change: &Change,
    (baseline, current): (Counts, Counts),
    zone: Zone,
    ruling: &Ruling,
    (nothing_failed, remedy): (bool, Option<Remedy>),
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
    let more = if is_of_requests(&change.metric.name) {
        "send more requests"
    } else {
        MORE_ITEMS
    };
    of_points(change, &sides, zone, ruling, (remedy, more))
}

/// What always helps where items are judged.
const MORE_ITEMS: &str = "evaluate more items";

/// The reason for a ruling on the same items.
pub(super) fn of_items(
    change: &Change,
    items: &ItemChanges,
    zone: Zone,
    ruling: &Ruling,
    remedy: Option<Remedy>,
) -> String {
    let sides = format!(
        "of {} items {} got worse and {} better",
        items.items, items.lost, items.gained
    );
    of_points(change, &sides, zone, ruling, (remedy, MORE_ITEMS))
}

/// The reason for a ruling on a difference that was estimated on the same items.
pub(super) fn of_shift(change: &Change, shift: &Shift, zone: Zone, ruling: &Ruling) -> String {
    let sides = format!("on {} items", shift.items);
    of_points(change, &sides, zone, ruling, (None, MORE_ITEMS))
}

/// A ruling in points, after what it rests on.
fn of_points(
    change: &Change,
    sides: &str,
    zone: Zone,
    ruling: &Ruling,
    (remedy, more): (Option<Remedy>, &str),
) -> String {
    let basis = format!(
        "{}: {sides}, {} points ({} interval {} to {})",
        change.metric.label,
        points(change.points().unwrap_or_default()),
        confidence(ruling.confidence),
        points(ruling.interval.0),
        points(ruling.interval.1),
    );
    let proven = |direction: &str| {
        if zone.min_effect > 0.0 {
            let least = limit_in_points(zone.min_effect);
            format!("{basis}: proven {direction} by more than {least}")
        } else {
            format!("{basis}: proven {direction}")
        }
    };
    match ruling.verdict {
        Verdict::Regressed => proven("worse"),
        Verdict::Improved => proven("better"),
        Verdict::Unchanged => {
            let limit = limit_in_points(zone.gate_effect);
            format!("{basis}: a worsening of {limit} is ruled out")
        }
        Verdict::Inconclusive | Verdict::Missing | Verdict::Incomparable | Verdict::New => {
            let more = remedy.map_or_else(|| more.to_owned(), Remedy::sentence);
            format!("{basis}, not proven: {more}")
        }
    }
}

/// Why a metric that does not gate is not called changed: so many were looked at.
pub(super) fn one_of_many(q: f64, tests: usize) -> String {
    format!(
        "; one of {tests} metrics that do not gate, and among so many chance gives as much (q = {})",
        percent(q)
    )
}

/// The reason why two present values were not compared.
pub(super) fn of_obstacle(change: &Change, obstacle: &Obstacle) -> String {
    let label = &change.metric.label;
    match obstacle {
        Obstacle::NotPositive => format!(
            "{label} is zero or no number on a side, so it has no ratio: see what the run measured"
        ),
        Obstacle::ItemsDiffer { gone, new } => format!(
            "{label} is not that of the same items: {gone} of the baseline were not answered and \
             {new} are new, so evaluate the same items"
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
        Obstacle::TooFewItems { needed } => {
            let have = change.requests.unwrap_or_default();
            format!("{label} rests on {have} items and needs {needed}: evaluate more")
        }
        Obstacle::TooFewPairs { have, needed } => format!(
            "{label} was measured in {have} pairs that count, and {needed} are the fewest that are \
             judged: measure more pairs"
        ),
        Obstacle::NotInterleaved => format!(
            "{label} was measured on one side always before the other, so a drift of the machine \
             looks like a change: let the sides take turns"
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
