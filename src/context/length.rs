//! Lengths of prompts and answers, as they are written in settings.

use std::{fmt, num::NonZeroU32, str::FromStr};

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::text::{MAX_COUNT, positive};

/// How many standard deviations from the mean a length is cut where no limits are given: 99.7 %
/// of a normal distribution lies within.
const CUT_SD: f64 = 3.0;

/// How long prompts or answers are, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Length {
    /// Always the same.
    Fixed {
        /// Tokens.
        tokens: NonZeroU32,
    },
    /// Each length of a range equally likely, both ends included.
    Uniform {
        /// Shortest.
        min: NonZeroU32,
        /// Longest.
        max: NonZeroU32,
    },
    /// Normal, rounded, cut at `min` and `max`.
    Normal {
        /// Mean before cutting.
        mean: f64,
        /// Standard deviation before cutting.
        sd: f64,
        /// Shortest.
        min: NonZeroU32,
        /// Longest.
        max: NonZeroU32,
    },
    /// Lognormal with this mean and coefficient of variation, rounded, cut at `min` and `max`.
    LogNormal {
        /// Mean before cutting.
        mean: f64,
        /// Coefficient of variation before cutting.
        cv: f64,
        /// Shortest.
        min: NonZeroU32,
        /// Longest.
        max: NonZeroU32,
    },
}

impl Length {
    /// Always `tokens`.
    pub const fn fixed(tokens: NonZeroU32) -> Self {
        Self::Fixed { tokens }
    }

    /// The longest there can be.
    pub const fn longest(&self) -> NonZeroU32 {
        match self {
            Self::Fixed { tokens } => *tokens,
            Self::Uniform { max, .. } | Self::Normal { max, .. } | Self::LogNormal { max, .. } => {
                *max
            }
        }
    }

    /// Draws a length. What falls outside the limits becomes the limit, so that one draw is
    /// always enough.
    pub fn sample<R: Rng + ?Sized>(&self, random: &mut R) -> NonZeroU32 {
        match *self {
            Self::Fixed { tokens } => tokens,
            Self::Uniform { min, max } => {
                let tokens = random.random_range(min.get()..=max.get());
                NonZeroU32::new(tokens).unwrap_or(min)
            }
            Self::Normal { mean, sd, min, max } => {
                let deviate: f64 = StandardNormal.sample(random);
                whole(mean + sd * deviate).clamp(min, max)
            }
            Self::LogNormal { mean, cv, min, max } => {
                let (location, scale) = lognormal_parameters(mean, cv);
                let deviate: f64 = StandardNormal.sample(random);
                whole((location + scale * deviate).exp()).clamp(min, max)
            }
        }
    }
}

/// `(location, scale)` of the logarithm of a lognormal with this mean and coefficient of
/// variation: σ² = ln(1 + cv²), µ = ln(mean) − σ²/2 (Johnson, Kotz and Balakrishnan, Continuous
/// Univariate Distributions, vol. 1, ch. 14).
fn lognormal_parameters(mean: f64, cv: f64) -> (f64, f64) {
    let variance = (cv * cv).ln_1p();
    (mean.ln() - variance / 2.0, variance.sqrt())
}

/// Writes a length as it is read: `128`, `100..200`, `normal:512:64:320:704`.
impl fmt::Display for Length {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed { tokens } => write!(out, "{tokens}"),
            Self::Uniform { min, max } => write!(out, "{min}..{max}"),
            Self::Normal { mean, sd, min, max } => write!(out, "normal:{mean}:{sd}:{min}:{max}"),
            Self::LogNormal { mean, cv, min, max } => {
                write!(out, "lognormal:{mean}:{cv}:{min}:{max}")
            }
        }
    }
}

/// Why a text is no length; a sentence fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LengthError(String);

impl FromStr for Length {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        let text = text.trim();
        if let Some((min, max)) = text.split_once("..") {
            let (min, max) = (tokens(min)?, tokens(max)?);
            return ordered(min, max).map(|()| Self::Uniform { min, max });
        }
        match text.split_once(':') {
            Some(("normal", rest)) => spread(rest, "standard deviation", |mean, sd| {
                (mean - CUT_SD * sd, mean + CUT_SD * sd)
            })
            .map(|(mean, sd, min, max)| Self::Normal { mean, sd, min, max }),
            Some(("lognormal", rest)) => spread(rest, "coefficient of variation", |mean, cv| {
                let (location, scale) = lognormal_parameters(mean, cv);
                let at = |sds: f64| (location + sds * scale).exp();
                (at(-CUT_SD), at(CUT_SD))
            })
            .map(|(mean, cv, min, max)| Self::LogNormal { mean, cv, min, max }),
            Some(_) | None => tokens(text).map(Self::fixed),
        }
    }
}

fn wrong(why: impl Into<String>) -> LengthError {
    LengthError(why.into())
}

fn tokens(text: &str) -> Result<NonZeroU32, LengthError> {
    positive(text).map_err(|why| {
        wrong(format!(
            "{why}, a range as 100..200, or normal:MEAN:SD[:MIN:MAX] or \
             lognormal:MEAN:CV[:MIN:MAX]"
        ))
    })
}

fn ordered(min: NonZeroU32, max: NonZeroU32) -> Result<(), LengthError> {
    if min <= max {
        Ok(())
    } else {
        Err(wrong("the shortest is above the longest"))
    }
}

/// `MEAN:SPREAD[:MIN:MAX]`; `cut` gives the limits where there are none.
fn spread(
    text: &str,
    spread_name: &str,
    cut: impl FnOnce(f64, f64) -> (f64, f64),
) -> Result<(f64, f64, NonZeroU32, NonZeroU32), LengthError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (mean, spread, limits) = match parts.as_slice() {
        [mean, spread] => (mean, spread, None),
        [mean, spread, min, max] => (mean, spread, Some((min, max))),
        _ => {
            return Err(wrong(
                "write MEAN:SPREAD or MEAN:SPREAD:MIN:MAX behind the name",
            ));
        }
    };
    let number = |text: &str, name: &str, least: f64| match text.trim().parse::<f64>() {
        Ok(value) if value >= least && value <= f64::from(MAX_COUNT) => Ok(value),
        Ok(_) | Err(_) => Err(wrong(format!(
            "the {name} must be a number from {least} to {MAX_COUNT}"
        ))),
    };
    let mean = number(mean, "mean", 1.0)?;
    let spread = number(spread, spread_name, 0.0)?;
    let (min, max) = if let Some((min, max)) = limits {
        (tokens(min)?, tokens(max)?)
    } else {
        let (low, high) = cut(mean, spread);
        (whole(low.floor()), whole(high.ceil()))
    };
    ordered(min, max)?;
    Ok((mean, spread, min, max))
}

/// A number of tokens within what a setting can ask for.
fn whole(tokens: f64) -> NonZeroU32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 1 to a million; NaN becomes 0 and then 1"
    )]
    let tokens = tokens.round().clamp(1.0, f64::from(MAX_COUNT)) as u32;
    NonZeroU32::new(tokens).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn count(tokens: u32) -> NonZeroU32 {
        NonZeroU32::new(tokens).unwrap()
    }

    #[test]
    fn each_form_is_read() {
        assert_eq!("512".parse(), Ok(Length::fixed(count(512))));
        assert_eq!(
            "100..200".parse(),
            Ok(Length::Uniform {
                min: count(100),
                max: count(200)
            })
        );
        // 512 ± 3 · 64.
        assert_eq!(
            "normal:512:64".parse(),
            Ok(Length::Normal {
                mean: 512.0,
                sd: 64.0,
                min: count(320),
                max: count(704)
            })
        );
        assert_eq!(
            "lognormal:512:0.5:16:4096".parse(),
            Ok(Length::LogNormal {
                mean: 512.0,
                cv: 0.5,
                min: count(16),
                max: count(4096)
            })
        );
    }

    #[test]
    fn a_lognormal_without_limits_is_cut_at_three_deviations() {
        // σ² = ln 1.25 = 0.22314, σ = 0.47238; median 512 / √1.25 = 457.95;
        // 457.95 · e^±1.41714 = 111.0 and 1889.1.
        let Length::LogNormal { min, max, .. } = "lognormal:512:0.5".parse().unwrap() else {
            panic!("another length")
        };
        assert_eq!((min.get(), max.get()), (111, 1890));
    }

    /// Mean and standard deviation of 20,000 draws.
    fn moments(text: &str) -> (f64, f64) {
        let length: Length = text.parse().unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<f64> = (0..20_000)
            .map(|_| f64::from(length.sample(&mut random).get()))
            .collect();
        let mean = draws.iter().sum::<f64>() / 2e4;
        let squares: f64 = draws.iter().map(|draw| (draw - mean).powi(2)).sum();
        (mean, (squares / 2e4).sqrt())
    }

    #[test]
    fn draws_have_the_moments_that_were_asked_for() {
        let near = |got: (f64, f64), want: (f64, f64)| {
            // Four standard errors of a mean are 2.8 % of the deviation at 20,000 draws.
            let ok = (got.0 - want.0).abs() < 0.03 * want.1 && (got.1 / want.1 - 1.0).abs() < 0.05;
            assert!(ok, "{got:?} instead of {want:?}");
        };
        // Discrete uniform: variance (101² − 1) / 12 = 850.
        near(moments("100..200"), (150.0, 850_f64.sqrt()));
        // Cutting at three deviations takes 1.3 % off the standard deviation.
        near(moments("normal:512:64"), (512.0, 63.2));
        near(moments("lognormal:512:0.5:1:1000000"), (512.0, 256.0));
        assert_eq!(moments("77"), (77.0, 0.0));
    }

    #[test]
    fn no_draw_leaves_its_limits() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        for text in ["3..5", "normal:100:500:90:110", "lognormal:100:3:50:60"] {
            let length: Length = text.parse().unwrap();
            let draws: Vec<u32> = (0..2_000)
                .map(|_| length.sample(&mut random).get())
                .collect();
            let (min, max) = (draws.iter().min().unwrap(), draws.iter().max().unwrap());
            assert_eq!(*max, length.longest().get(), "{text}");
            assert!([3, 90, 50].contains(min), "{text}: {min}");
        }
    }

    #[test]
    fn a_cut_below_one_token_is_one() {
        let length: Length = "normal:10:20".parse().unwrap();
        let Length::Normal { min, .. } = length else {
            panic!("another length")
        };
        assert_eq!((min.get(), length.longest().get()), (1, 70));
    }

    #[test]
    fn wrong_lengths_say_what_is_allowed() {
        for (text, says) in [
            ("", "100..200"),
            ("0", "from 1"),
            ("200..100", "above the longest"),
            ("..5", "from 1"),
            ("normal:512", "MEAN:SPREAD"),
            ("normal:512:64:1", "MEAN:SPREAD"),
            ("normal:0:64", "mean"),
            ("normal:512:-1", "standard deviation"),
            ("lognormal:512:NaN", "coefficient of variation"),
            ("gauss:1:2", "normal:"),
            ("2000000", "1000000"),
        ] {
            let error = text.parse::<Length>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_length_or_an_error(text in "\\PC{0,40}") {
            drop(text.parse::<Length>());
        }

        #[test]
        fn what_is_written_is_read_back(
            text in "[1-9][0-9]{0,3}|[1-9]\\.\\.[1-9][0-9]{1,4}|(normal|lognormal):[1-9][0-9]{0,3}\\.[0-9]:[0-9]\\.[0-9]{2}"
        ) {
            let length: Length = text.parse().unwrap();
            prop_assert_eq!(length.to_string().parse(), Ok(length));
        }
    }
}
