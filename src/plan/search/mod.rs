//! Searches over load points: which point to measure next, and what the points say together.
//!
//! A search keeps no state: what comes next follows from what was measured. The same results
//! give the same search, and a search that was cut off can be taken up again.

mod bracket;
mod grow;
mod knee;

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{Arrivals, PlanError, Scenario, Sweep, custom};
use crate::context::{GOODPUT_SHARE, Measure};

pub use knee::power;

/// Concurrency that a search for a container's knee does not exceed, unless `max-in-flight` says
/// otherwise: the engine is started for as many.
const STARTED_MOST: NonZeroU32 = NonZeroU32::MIN.saturating_add(63);
/// The same for a server that runs already.
const RUNNING_MOST: NonZeroU32 = NonZeroU32::MIN.saturating_add(1023);
/// No search measures more points than this.
pub(super) const MAX_POINTS: usize = 40;
/// A point at which more than this share of requests fails is beyond what the server bears.
const MAX_FAILED: f64 = 0.05;

/// A load level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// A closed loop.
    Concurrency(NonZeroU32),
    /// An open loop, in requests per second.
    Rate(f64),
}

impl Point {
    /// The concurrency or the rate.
    pub fn level(self) -> f64 {
        match self {
            Self::Concurrency(level) => f64::from(level.get()),
            Self::Rate(rps) => rps,
        }
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Concurrency(level) => write!(out, "concurrency {level}"),
            Self::Rate(rps) => write!(out, "{rps} requests/s"),
        }
    }
}

/// What was measured at a point. `None` is not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointResult {
    /// The point.
    pub point: Point,
    /// Output tokens per second.
    pub output_tps: Option<f64>,
    /// Finished requests per second.
    pub request_rps: Option<f64>,
    /// Median time to first token in milliseconds.
    pub ttft_p50_ms: Option<f64>,
    /// Median time per output token in milliseconds.
    pub tpot_p50_ms: Option<f64>,
    /// Median end-to-end latency in milliseconds.
    pub e2e_p50_ms: Option<f64>,
    /// Share of all sent requests that met every objective.
    pub slo_attainment: Option<f64>,
    /// Share of all sent requests that failed.
    pub error_rate: f64,
    /// Whether the queue only grew.
    pub saturated: bool,
    /// Whether the load generator was the limit: the point says nothing about the server.
    pub client_limited: bool,
}

impl PointResult {
    /// Why a server does not bear this point; a sentence fragment.
    fn overload(&self) -> Option<String> {
        if self.client_limited {
            Some(format!(
                "at {} the load generator was the limit",
                self.point
            ))
        } else if self.saturated {
            Some(format!("at {} the queue only grew", self.point))
        } else if self.error_rate > MAX_FAILED {
            let percent = self.error_rate * 100.0;
            Some(format!(
                "at {} {percent:.1} % of the requests failed",
                self.point
            ))
        } else {
            None
        }
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchSummary {
    /// The point of highest power, output throughput over median end-to-end latency
    /// ([`power`]): below it latency is cheap, above it throughput is dear.
    pub knee: Option<Point>,
    /// The highest request rate at which enough requests met every objective; of a closed loop
    /// the request throughput. `None` without objectives or when no point did.
    pub max_goodput_rps: Option<f64>,
    /// The share that was enough.
    pub goodput_share: f64,
    /// The highest measured rate that the server kept up with. `None` for closed loops.
    pub max_sustained_rps: Option<f64>,
    /// Whether the search came to its end.
    pub complete: bool,
    /// Why it ended, or what it would measure next; a sentence fragment.
    pub reason: String,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Measure(Point),
    Done(String),
}

/// A search, with what its scenarios have in common.
#[derive(Debug, Clone)]
pub struct Search {
    sweep: Sweep,
    most: NonZeroU32,
    measure: Box<Measure>,
}

impl Search {
    /// The search that settings ask for.
    pub fn new(measure: &Measure) -> Option<Self> {
        let sweep = measure.load.sweep.clone()?;
        let default = if measure.endpoint.is_some() {
            RUNNING_MOST
        } else {
            STARTED_MOST
        };
        let listed = match &sweep {
            Sweep::Concurrency { levels } => levels.iter().max().copied(),
            Sweep::Rate { .. } | Sweep::Goodput { .. } => None,
        };
        Some(Self {
            most: listed.or(measure.load.max_in_flight).unwrap_or(default),
            measure: Box::new(measure.clone()),
            sweep,
        })
    }

    /// What is searched.
    pub const fn sweep(&self) -> &Sweep {
        &self.sweep
    }

    /// The most requests it keeps in flight.
    pub fn most(&self) -> u32 {
        self.most.get()
    }

    /// The point to measure next; `None` when the search is over. Never one that is in `done`.
    pub fn next(&self, done: &[PointResult]) -> Option<Point> {
        match self.step(done) {
            Step::Measure(point) => Some(point),
            Step::Done(_) => None,
        }
    }

    fn step(&self, done: &[PointResult]) -> Step {
        next(&self.sweep, self.most, done)
    }

    /// The scenario of a point.
    ///
    /// # Errors
    /// Its name breaks the rules of names, which no point of a search does.
    pub fn scenario(&self, point: Point) -> Result<Scenario, PlanError> {
        let arrivals = match point {
            Point::Concurrency(concurrency) => Arrivals::Closed { concurrency },
            Point::Rate(rps) => custom::open(
                rps,
                self.measure.load.process,
                self.measure.load.max_in_flight,
            ),
        };
        let mut scenario = custom::point(&self.measure, arrivals)?;
        // A search goes beyond what the server bears: it must not stay there for long.
        scenario.stop.over_saturation = matches!(point, Point::Rate(_));
        Ok(scenario)
    }

    /// The scenarios that are measured whatever comes out: all listed levels, or the first.
    ///
    /// # Errors
    /// As [`Search::scenario`].
    pub fn certain(&self) -> Result<Vec<Scenario>, PlanError> {
        let listed = listed(&self.sweep);
        let points = if listed.is_empty() {
            self.next(&[]).into_iter().collect()
        } else {
            listed
        };
        points
            .into_iter()
            .map(|point| self.scenario(point))
            .collect()
    }

    /// What the measured points say.
    pub fn summary(&self, done: &[PointResult]) -> SearchSummary {
        let share = match self.sweep {
            Sweep::Goodput { share } => share,
            Sweep::Concurrency { .. } | Sweep::Rate { .. } => GOODPUT_SHARE,
        };
        let (complete, reason) = match self.step(done) {
            Step::Done(reason) => (true, reason),
            Step::Measure(point) => (false, format!("{point} is still to be measured")),
        };
        SearchSummary {
            knee: knee::highest_power(done).map(|result| result.point),
            max_goodput_rps: bracket::max_goodput(done, share),
            goodput_share: share,
            max_sustained_rps: bracket::max_sustained(done),
            complete,
            reason,
        }
    }
}

/// The levels that are listed, none for a search.
fn listed(sweep: &Sweep) -> Vec<Point> {
    match sweep {
        Sweep::Concurrency { levels } => levels.iter().copied().map(Point::Concurrency).collect(),
        Sweep::Rate { levels } => levels.iter().copied().map(Point::Rate).collect(),
        Sweep::Goodput { .. } => Vec::new(),
    }
}

fn next(sweep: &Sweep, most: NonZeroU32, done: &[PointResult]) -> Step {
    let levels = listed(sweep);
    if !levels.is_empty() {
        let open = levels.iter().find(|point| !measured(done, **point));
        return open.map_or_else(
            || Step::Done(format!("all {} listed levels were measured", levels.len())),
            |point| Step::Measure(*point),
        );
    }
    let step = match sweep {
        Sweep::Concurrency { .. } => grow::next(most, done),
        Sweep::Rate { .. } => bracket::next(done, &bracket::sustained(done)),
        Sweep::Goodput { share } => bracket::next(done, &bracket::good(*share)),
    };
    match step {
        Step::Measure(_) if done.len() >= MAX_POINTS => {
            Step::Done(format!("{MAX_POINTS} points were measured"))
        }
        // Results that contradict each other must not make a search go in circles.
        Step::Measure(point) if measured(done, point) => {
            Step::Done(format!("{point} was measured already"))
        }
        Step::Measure(point) => Step::Measure(point),
        Step::Done(reason) => Step::Done(reason),
    }
}

fn measured(done: &[PointResult], point: Point) -> bool {
    done.iter().any(|result| result.point == point)
}

/// The results in order of their levels.
fn by_level(done: &[PointResult]) -> Vec<&PointResult> {
    let mut sorted: Vec<&PointResult> = done.iter().collect();
    sorted.sort_by(|left, right| left.point.level().total_cmp(&right.point.level()));
    sorted
}

#[cfg(test)]
mod tests;
