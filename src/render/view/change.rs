//! A judged change in words. A share is counted, so it differs in points; everything else by a
//! ratio.

use crate::{
    compare::Design,
    render::number::{
        NOTHING, confidence, interval, points, points_interval, points_size, relative, share,
    },
    verdict::Judged,
};

/// `+10.7 %`, `+1.2 points`.
pub(super) fn delta(judged: &Judged) -> String {
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

/// Whether the change comes from a quantity that repeats exactly: there is no interval then.
pub(super) fn is_exact(judged: &Judged) -> bool {
    judged
        .change
        .estimate
        .is_some_and(|estimate| estimate.design == Design::Exact)
}

/// The interval below the change, whose unit it shares where that is points.
pub(super) fn cell(judged: &Judged) -> Option<String> {
    let limits = judged.interval?;
    Some(if is_exact(judged) {
        "exact".to_owned()
    } else if judged.change.counts.is_some() {
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
    let unit = if judged.change.counts.is_some() {
        "\u{a0}points"
    } else {
        ""
    };
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
    Some(if judged.change.counts.is_some() {
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
    let first = if judged.change.counts.is_some() {
        points_size(zone.min_effect)
    } else {
        share(zone.min_effect)
    };
    let second = if judged.change.counts.is_some() {
        in_points(zone.gate_effect)
    } else {
        share(zone.gate_effect)
    };
    format!("{first}\u{a0}/\u{a0}{second}")
}

/// The smallest worsening that could have been proven.
pub(super) fn detectable(judged: &Judged) -> String {
    match (judged.detectable, judged.change.counts) {
        (Some(size), Some(_)) => in_points(size),
        (Some(size), None) => share(size),
        (None, _) => NOTHING.to_owned(),
    }
}
