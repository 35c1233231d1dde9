//! Rows of a report: counts, rates, and quantities with their statistics. Pure.

use super::{
    DialectMetric, Ours,
    samples::{Flavour, Samples, Stats},
};
use crate::metric::{self, Unit};

/// A quantity of a tool: its samples, how it prints them, and what we call it.
pub(super) struct Quantity<'a> {
    samples: &'a Samples,
    ours: Option<&'static str>,
    why: &'static str,
    flavour: Flavour,
    /// What is printed of no samples.
    empty: Option<Stats>,
    unit: Unit,
}

/// Statistics that tools print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statistic {
    Mean,
    Deviation,
    Median,
    P90,
    P99,
}

impl Statistic {
    const fn of(self, stats: &Stats) -> f64 {
        match self {
            Self::Mean => stats.mean,
            Self::Deviation => stats.deviation,
            Self::Median => stats.p50,
            Self::P90 => stats.p90,
            Self::P99 => stats.p99,
        }
    }

    const fn ours(self) -> Option<&'static str> {
        match self {
            Self::Mean => Some("mean"),
            Self::Deviation => None,
            Self::Median => Some("p50"),
            Self::P90 => Some("p90"),
            Self::P99 => Some("p99"),
        }
    }
}

impl<'a> Quantity<'a> {
    /// In milliseconds, with interpolated percentiles; no samples, no value. `ours` is our
    /// quantity, such as `ttft_ms`.
    pub(super) const fn new(
        samples: &'a Samples,
        ours: Option<&'static str>,
        why: &'static str,
    ) -> Self {
        Self {
            samples,
            ours,
            why,
            flavour: Flavour::Linear,
            empty: None,
            unit: Unit::Milliseconds,
        }
    }

    /// Printed in seconds.
    pub(super) const fn in_seconds(mut self) -> Self {
        self.unit = Unit::Seconds;
        self
    }

    /// With nearest-rank percentiles.
    pub(super) const fn nearest_rank(mut self) -> Self {
        self.flavour = Flavour::NearestRank;
        self
    }

    /// Printed as zeros when there are no samples.
    pub(super) const fn or_zero(mut self) -> Self {
        self.empty = Some(Stats::ZERO);
        self
    }

    /// One row per statistic; `name` makes the tool's key of its own word for the statistic.
    pub(super) fn rows(
        &self,
        statistics: &[(Statistic, &str)],
        name: impl Fn(&str) -> String,
    ) -> Vec<DialectMetric> {
        let factor = if self.unit == Unit::Seconds {
            1e-3
        } else {
            1.0
        };
        let stats = self.samples.stats(self.flavour).or(self.empty);
        let row = |(statistic, word): &(Statistic, &str)| DialectMetric {
            name: name(word),
            value: stats.map(|stats| statistic.of(&stats) * factor),
            unit: self.unit,
            ours: match (self.ours, statistic.ours()) {
                (Some(quantity), Some(statistic)) => Ours::Metric {
                    name: format!("{quantity}.{statistic}"),
                    factor,
                },
                (Some(_) | None, _) => Ours::None,
            },
            why: self.why,
        };
        statistics.iter().map(row).collect()
    }
}

/// So much per second over a span; `ours` is our name for the rate, such as `output_tps`.
pub(super) fn rate(
    name: impl Into<String>,
    (amount, seconds): (u64, Option<f64>),
    ours: Option<&str>,
    why: &'static str,
) -> DialectMetric {
    DialectMetric {
        name: name.into(),
        value: seconds.map(|seconds| amount as f64 / seconds),
        unit: ours.map_or(Unit::TokensPerSecond, |name| metric::describe(name).unit),
        ours: ours.map_or(Ours::None, |name| Ours::Metric {
            name: name.to_owned(),
            factor: 1.0,
        }),
        why,
    }
}

/// A length of time that we give no number for.
pub(super) fn duration(name: &str, seconds: Option<f64>, why: &'static str) -> DialectMetric {
    DialectMetric {
        name: name.to_owned(),
        value: seconds,
        unit: Unit::Seconds,
        ours: Ours::None,
        why,
    }
}

/// A count.
pub(super) fn count(
    name: impl Into<String>,
    value: u64,
    ours: Ours,
    why: &'static str,
) -> DialectMetric {
    DialectMetric {
        name: name.into(),
        value: Some(value as f64),
        unit: Unit::Count,
        ours,
        why,
    }
}
