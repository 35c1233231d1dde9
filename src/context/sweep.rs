//! Which load points a search visits, as it is written in settings.

use std::{num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Serialize};

use super::text;

/// The share of requests that must meet every objective where a goodput search is not told
/// otherwise.
pub const GOODPUT_SHARE: f64 = 0.99;

/// A search over load points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Sweep {
    /// Closed loops; the levels are found when none are given.
    Concurrency {
        /// Concurrencies, in the order they are measured; empty searches.
        levels: Vec<NonZeroU32>,
    },
    /// Open loops; the rates are found when none are given.
    Rate {
        /// Requests per second, in the order they are measured; empty searches.
        levels: Vec<f64>,
    },
    /// The highest rate at which enough requests meet every objective.
    Goodput {
        /// The share that is enough, above 0 and at most 1.
        share: f64,
    },
}

impl Sweep {
    /// Whether its points are open loops.
    pub const fn is_open(&self) -> bool {
        match self {
            Self::Concurrency { .. } => false,
            Self::Rate { .. } | Self::Goodput { .. } => true,
        }
    }
}

/// Why a text is no sweep; a sentence fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SweepError(String);

/// More levels than this are a typing error.
const MAX_LEVELS: usize = 100;

impl FromStr for Sweep {
    type Err = SweepError;

    /// `concurrency`, `concurrency:1,2,4`, `rate`, `rate:1,2.5`, `goodput` or `goodput:0.95`.
    fn from_str(text: &str) -> Result<Self, SweepError> {
        let (name, rest) = text
            .trim()
            .split_once(':')
            .map_or((text.trim(), None), |(name, rest)| {
                (name.trim(), Some(rest))
            });
        match name {
            "concurrency" => Ok(Self::Concurrency {
                levels: levels(rest, text::positive)?,
            }),
            "rate" => Ok(Self::Rate {
                levels: levels(rest, text::rate)?,
            }),
            "goodput" => {
                let share = rest
                    .map_or(Ok(GOODPUT_SHARE), text::share)
                    .map_err(SweepError)?;
                if share > 0.0 {
                    Ok(Self::Goodput { share })
                } else {
                    Err(SweepError("a share of 0 is always met".to_owned()))
                }
            }
            _ => Err(SweepError(
                "write concurrency, rate or goodput, with levels as concurrency:1,2,4 or a share \
                 as goodput:0.95"
                    .to_owned(),
            )),
        }
    }
}

fn levels<T: PartialEq>(
    rest: Option<&str>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, SweepError> {
    let Some(rest) = rest else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for word in text::list(rest) {
        let level = read(&word).map_err(|why| SweepError(format!("`{word}`: {why}")))?;
        if found.contains(&level) {
            return Err(SweepError(format!("level {word} is given twice")));
        }
        found.push(level);
    }
    if found.is_empty() || found.len() > MAX_LEVELS {
        let why = format!("name 1 to {MAX_LEVELS} levels behind the colon, or leave it away");
        return Err(SweepError(why));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sweeps_are_read() {
        let level = |n| NonZeroU32::new(n).unwrap();
        assert_eq!(
            "concurrency".parse(),
            Ok(Sweep::Concurrency { levels: vec![] })
        );
        assert_eq!(
            "concurrency: 1,2, 4".parse(),
            Ok(Sweep::Concurrency {
                levels: vec![level(1), level(2), level(4)]
            })
        );
        assert_eq!(
            "rate:1,2.5".parse(),
            Ok(Sweep::Rate {
                levels: vec![1.0, 2.5]
            })
        );
        assert_eq!("goodput".parse(), Ok(Sweep::Goodput { share: 0.99 }));
        assert_eq!("goodput:0.9".parse(), Ok(Sweep::Goodput { share: 0.9 }));
    }

    #[test]
    fn wrong_sweeps_say_what_is_allowed() {
        for (text, says) in [
            ("", "write concurrency, rate or goodput"),
            ("batch", "write concurrency, rate or goodput"),
            ("concurrency:", "1 to 100 levels"),
            ("concurrency:1,1", "twice"),
            ("concurrency:1.5", "whole number"),
            ("rate:0", "requests per second"),
            ("goodput:0", "always met"),
            ("goodput:1.1", "from 0 to 1"),
        ] {
            let error = text.parse::<Sweep>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_sweep_or_an_error(
            text in "(concurrency|rate|goodput):[0-9.,\\- ]{0,20}|\\PC{0,30}"
        ) {
            drop(text.parse::<Sweep>());
        }
    }
}
