//! How requests arrive, and how that is written in settings. Values only; the times are made
//! from them in `plan::schedule`.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize, Serializer};

use super::text;

/// How requests arrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Arrivals {
    /// Closed loop: as soon as one of `concurrency` requests ends, the next is sent.
    Closed {
        /// Requests kept in flight.
        concurrency: NonZeroU32,
    },
    /// Open loop: requests are due at times that do not depend on the server.
    Open {
        /// Requests per second over time.
        rate: Rate,
        /// How the times scatter around it.
        process: Process,
        /// Requests due while this many are in flight wait; `None` sends whatever is due.
        max_in_flight: Option<NonZeroU32>,
    },
    /// Open loop with the times and lengths of a recorded trace.
    Replay {
        /// The file. Written down without its folder: where it lies changes nothing.
        #[serde(serialize_with = "file_name")]
        path: PathBuf,
        /// SHA-256 of its content; empty until somebody has read it.
        digest: String,
        /// 2 replays twice as fast.
        speed: f64,
        /// As in an open loop.
        max_in_flight: Option<NonZeroU32>,
    },
}

/// Requests per second over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rate {
    /// Always the same.
    Constant {
        /// Requests per second.
        rps: f64,
    },
    /// Grows or falls linearly, then stays.
    Ramp {
        /// At the beginning.
        from_rps: f64,
        /// At the end.
        to_rps: f64,
        /// How long it takes.
        over: Duration,
    },
    /// One rate after the other; the last one stays.
    Steps {
        /// Rate in requests per second and how long it holds.
        steps: Vec<(f64, Duration)>,
    },
}

/// How arrival times scatter around the rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Process {
    /// Equal gaps.
    Constant,
    /// Exponential gaps: coefficient of variation 1.
    #[default]
    Poisson,
    /// Gamma gaps with this coefficient of variation: shape 1 / cv². Above 1 bursty, below 1
    /// more even than Poisson.
    Gamma {
        /// Coefficient of variation of the gaps, above 0.
        cv: f64,
    },
}

impl Arrivals {
    /// The concurrency of a closed loop.
    pub const fn concurrency(&self) -> Option<NonZeroU32> {
        match self {
            Self::Closed { concurrency } => Some(*concurrency),
            Self::Open { .. } | Self::Replay { .. } => None,
        }
    }
}

impl Rate {
    /// How long a schedule lasts until its rate stays the same; `None` for a constant rate.
    pub fn length(&self) -> Option<Duration> {
        match self {
            Self::Constant { .. } => None,
            Self::Ramp { over, .. } => Some(*over),
            Self::Steps { steps } => Some(steps.iter().map(|(_, time)| *time).sum()),
        }
    }
}

/// Serialises a path as its last part.
///
/// # Errors
/// Those of the serialiser.
pub fn file_name<S: Serializer>(path: &Path, out: S) -> Result<S::Ok, S::Error> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    out.serialize_str(&name.to_string_lossy())
}

/// Why a text is no process or rate schedule; a sentence fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArrivalsError(String);

/// The range of a gamma process's coefficient of variation. At 10 the shape is 0.01 and nearly
/// every gap is far below a microsecond; below 0.05 the process cannot be told from equal gaps.
const CV_RANGE: std::ops::RangeInclusive<f64> = 0.05..=10.0;

impl FromStr for Process {
    type Err = ArrivalsError;

    /// `constant`, `poisson` or `gamma:CV`.
    fn from_str(text: &str) -> Result<Self, ArrivalsError> {
        let wrong = || {
            ArrivalsError(format!(
                "write constant, poisson or gamma:CV with a coefficient of variation from {} to {}",
                CV_RANGE.start(),
                CV_RANGE.end()
            ))
        };
        match text.trim().split_once(':') {
            None if text.trim() == "constant" => Ok(Self::Constant),
            None if text.trim() == "poisson" => Ok(Self::Poisson),
            Some(("gamma", cv)) => match cv.trim().parse::<f64>() {
                Ok(cv) if CV_RANGE.contains(&cv) => Ok(Self::Gamma { cv }),
                Ok(_) | Err(_) => Err(wrong()),
            },
            None | Some(_) => Err(wrong()),
        }
    }
}

/// More steps than this are a typing error.
const MAX_STEPS: usize = 1000;

impl FromStr for Rate {
    type Err = ArrivalsError;

    /// A schedule: a ramp as `5..50:60s`, or steps as `10:30s,20:30s`. A rate may be 0 (a pause)
    /// as long as another is not.
    fn from_str(text: &str) -> Result<Self, ArrivalsError> {
        let form = "write a ramp as 5..50:60s or steps as 10:30s,20:30s";
        let part = |text: &str| -> Result<(String, Duration), ArrivalsError> {
            let (rates, time) = text
                .split_once(':')
                .ok_or_else(|| ArrivalsError(format!("`{}`: {form}", text.trim())))?;
            let time = text::long(time).map_err(ArrivalsError)?;
            Ok((rates.to_owned(), time))
        };
        if let Some((from, rest)) = text.split_once("..") {
            let (to, over) = part(rest)?;
            let (from_rps, to_rps) = (pause_or_rate(from)?, pause_or_rate(&to)?);
            if from_rps + to_rps == 0.0 {
                return Err(ArrivalsError("a ramp from 0 to 0 sends nothing".to_owned()));
            }
            return Ok(Self::Ramp {
                from_rps,
                to_rps,
                over,
            });
        }
        let step = |text: &str| {
            let (rps, time) = part(text)?;
            Ok((pause_or_rate(&rps)?, time))
        };
        let steps = text
            .split(',')
            .map(step)
            .collect::<Result<Vec<_>, ArrivalsError>>()?;
        if steps.len() > MAX_STEPS || steps.iter().all(|(rps, _)| *rps == 0.0) {
            let why = format!("there must be at most {MAX_STEPS} steps, one of them above 0");
            return Err(ArrivalsError(why));
        }
        Ok(Self::Steps { steps })
    }
}

fn pause_or_rate(text: &str) -> Result<f64, ArrivalsError> {
    if text.trim().parse::<f64>() == Ok(0.0) {
        Ok(0.0)
    } else {
        text::rate(text).map_err(ArrivalsError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn processes_are_read() {
        assert_eq!("constant".parse(), Ok(Process::Constant));
        assert_eq!(" poisson ".parse(), Ok(Process::Poisson));
        assert_eq!("gamma:2".parse(), Ok(Process::Gamma { cv: 2.0 }));
        for text in [
            "gamma",
            "gamma:",
            "gamma:0",
            "gamma:NaN",
            "gamma:11",
            "poison",
        ] {
            let error = text.parse::<Process>().unwrap_err().to_string();
            assert!(error.contains("gamma:CV"), "{text}: {error}");
        }
    }

    #[test]
    fn ramps_and_steps_are_read() {
        let ramp: Rate = "5..50:60s".parse().unwrap();
        assert_eq!(
            ramp,
            Rate::Ramp {
                from_rps: 5.0,
                to_rps: 50.0,
                over: 60 * SECOND
            }
        );
        assert_eq!(ramp.length(), Some(60 * SECOND));
        let steps: Rate = "10:30s, 0:5, 20.5:1m".parse().unwrap();
        assert_eq!(
            steps,
            Rate::Steps {
                steps: vec![(10.0, 30 * SECOND), (0.0, 5 * SECOND), (20.5, 60 * SECOND)]
            }
        );
        assert_eq!(steps.length(), Some(95 * SECOND));
        assert_eq!(Rate::Constant { rps: 1.0 }.length(), None);
    }

    #[test]
    fn wrong_schedules_say_what_is_allowed() {
        for (text, says) in [
            ("", "5..50:60s"),
            ("10", "5..50:60s"),
            ("5..50", "5..50:60s"),
            ("5..50:0", "above 0"),
            ("0..0:10s", "sends nothing"),
            ("0:10s", "above 0"),
            ("10:30s,", "10:30s,20:30s"),
            ("-1:30s", "requests per second"),
            ("1..NaN:30s", "requests per second"),
        ] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_trace_is_the_same_wherever_it_lies() {
        let replay = |path: &str| Arrivals::Replay {
            path: path.into(),
            digest: "d".to_owned(),
            speed: 1.0,
            max_in_flight: None,
        };
        let json = |path| serde_json::to_string(&replay(path)).unwrap();
        assert_eq!(json("/a/trace.csv"), json("b/trace.csv"));
        assert!(json("/a/trace.csv").contains("\"path\":\"trace.csv\""));
    }

    proptest! {
        #[test]
        fn any_text_is_a_schedule_or_an_error(text in "[0-9.:,smhe \\-]{0,40}|\\PC{0,30}") {
            drop(text.parse::<Rate>());
            drop(text.parse::<Process>());
        }
    }
}
