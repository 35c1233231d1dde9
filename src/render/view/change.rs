//! A judged change in words. A share is counted, so it differs in points; everything else by a
//! ratio.

use crate::{
    compare::Design,
    render::number::{
        NOTHING, confidence, count, interval, plural, points, points_interval, points_size,
        relative, share, share_fine,
    },
    verdict::{Judged, Verdict},
};

/// `+10.7 %`, `+1.2 points`; nothing where the conditions differ, since the change is not one of
/// the code.
pub(super) fn delta(judged: &Judged) -> String {
    if !is_comparable(judged) {
        return NOTHING.to_owned();
    }
    match (judged.points(), judged.relative()) {
        (Some(difference), _) => points(difference),
        (None, Some(change)) => relative(change),
        (None, None) => NOTHING.to_owned(),
    }
}

/// The size of the change, without a sign: `10.7 %`, `1.2 points`.
pub(super) fn size(judged: &Judged) -> String {
    judged
        .points()
        .map_or_else(|| share(judged.relative().unwrap_or(0.0)), in_points)
}

/// Whether a difference may be one of the code.
pub(super) fn is_comparable(judged: &Judged) -> bool {
    judged.verdict != Verdict::Incomparable
}

/// Whether it is counted or judged on items, so that it differs in points.
pub(super) const fn is_share(judged: &Judged) -> bool {
    let of = &judged.change;
    of.counts.is_some() || of.items.is_some() || of.shift.is_some()
}

/// What the change rests on: `5 pairs`, `23 jobs`, `1 v 1`.
pub(super) fn rests(judged: &Judged) -> String {
    let of = &judged.change;
    let items = of.items.map(|items| items.items);
    if let Some(items) = items.or_else(|| of.shift.map(|shift| shift.items)) {
        let noun = if items == 1 { "item" } else { "items" };
        return format!("{} {noun}", count(items));
    }
    if is_share(judged) {
        return "counted".to_owned();
    }
    match (of.estimate, &of.pairs) {
        (Some(estimate), _) => match estimate.design {
            Design::Paired => plural(estimate.runs.0, "pair", "pairs"),
            Design::History => plural(estimate.runs.0, "job", "jobs"),
            Design::Single => "1\u{a0}v\u{a0}1".to_owned(),
            Design::Exact => "exact".to_owned(),
        },
        (None, Some(pairs)) => plural(pairs.len(), "pair", "pairs"),
        (None, None) => NOTHING.to_owned(),
    }
}

/// How much one run differs from the next by itself: `0.6 %`.
pub(super) fn spread(judged: &Judged) -> String {
    let spread = judged.change.spread.filter(|spread| spread.is_finite());
    spread.map_or_else(|| NOTHING.to_owned(), spread_size)
}

/// A standard deviation with the digits a quiet runner needs: `0.26 %`, `3.1 %`.
pub(super) fn spread_size(spread: f64) -> String {
    if spread < 0.01 {
        share_fine(spread)
    } else {
        share(spread)
    }
}

/// Whether the change comes from a quantity that repeats exactly: there is no interval then.
pub(super) fn is_exact(judged: &Judged) -> bool {
    judged
        .change
        .estimate
        .is_some_and(|estimate| estimate.design == Design::Exact)
}

/// The interval below the change, whose unit it shares where that is points.
pub(super) fn cell(judged: &Judged) -> Option<String> {
    let limits = judged.interval.filter(|_| is_comparable(judged))?;
    Some(if is_exact(judged) {
        "exact".to_owned()
    } else if is_share(judged) {
        points_interval(limits)
    } else {
        interval(limits)
    })
}

/// `98 % interval +8.9 … +12.6 %`.
pub(super) fn spoken_interval(judged: &Judged) -> Option<String> {
    if is_exact(judged) {
        return None;
    }
    let unit = if is_share(judged) { "\u{a0}points" } else { "" };
    let level = confidence(judged.confidence?);
    Some(format!("{level} interval {}{unit}", cell(judged)?))
}

fn in_points(size: f64) -> String {
    let number = points_size(size);
    let noun = if number == "1" { "point" } else { "points" };
    format!("{number}\u{a0}{noun}")
}

/// From which size on a proven worsening is a regression: `1 %`, `1 point`.
pub(super) fn least(judged: &Judged) -> Option<String> {
    let least = judged.zone?.min_effect;
    Some(if is_share(judged) {
        in_points(least)
    } else {
        share(least)
    })
}

/// Both limits: `1 % / 5 %`, `1 / 2 points`.
pub(super) fn limits(judged: &Judged) -> String {
    let Some(zone) = judged.zone else {
        return NOTHING.to_owned();
    };
    let first = if is_share(judged) {
        points_size(zone.min_effect)
    } else {
        share(zone.min_effect)
    };
    let second = if is_share(judged) {
        in_points(zone.gate_effect)
    } else {
        share(zone.gate_effect)
    };
    format!("{first}\u{a0}/\u{a0}{second}")
}

/// The smallest worsening that could have been proven.
pub(super) fn detectable(judged: &Judged) -> String {
    match judged.detectable {
        Some(size) if is_share(judged) => in_points(size),
        Some(size) => share(size),
        None => NOTHING.to_owned(),
    }
}
