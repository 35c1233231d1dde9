//! What to compare with, and how far to go for an answer.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use super::{ContextError, Layers, text};
use crate::ids::{ImageRef, ModelRef};

/// What the current side is held against.
#[derive(Debug, Clone)]
pub struct Against {
    /// Where the baseline comes from.
    pub baseline: BaselineMode,
    /// Name of the artifact with the stored baseline; `None`: the usual one.
    pub artifact: Option<String>,
    /// Branch that holds baselines.
    pub branch: Option<String>,
    /// Image of the baseline side of pairs; `None`: the stored baseline's.
    pub image: Option<ImageRef>,
    /// Engine arguments of the baseline side; `None`: the stored baseline's.
    pub args: Option<Vec<String>>,
    /// Model of the baseline side; `None`: the stored baseline's.
    pub model: Option<ModelRef>,
    /// Most pairs, 3 to 30.
    pub pairs: NonZeroU32,
    /// How long pairs may take.
    pub time_budget: Duration,
    /// What an open verdict on stored results leads to.
    pub on_unsure: WhenUnsure,
    /// Earlier jobs.
    pub history: Option<PathBuf>,
    /// Where the noise profile is kept.
    pub noise_profile: Option<PathBuf>,
    /// What the search for a stored baseline came to, once it was made.
    pub discovered: Discovered,
}

/// What the search for a stored baseline came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Name of the rule that found one.
    pub rule: Option<&'static str>,
    /// The rule in a few words.
    pub words: Option<&'static str>,
    /// Why there is none, in a sentence.
    pub none: Option<String>,
}

impl Against {
    /// Whether anything of the baseline side was typed.
    pub const fn is_given(&self) -> bool {
        self.image.is_some() || self.args.is_some() || self.model.is_some()
    }
}

/// Where the baseline comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaselineMode {
    /// Stored results, and pairs when they leave it open.
    Auto,
    /// Always pairs.
    Pairs,
    /// Stored results only.
    Stored,
}

/// What an open verdict on stored results leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnsure {
    /// Pairs are measured.
    Pair,
    /// It stands and does not block.
    Neutral,
    /// It stands and blocks.
    Fail,
}

/// Reads the settings.
///
/// # Errors
/// A value that does not parse.
pub(super) fn resolve(layers: &Layers) -> Result<Against, ContextError> {
    Ok(Against {
        baseline: layers
            .parse_with("baseline", mode)?
            .unwrap_or(BaselineMode::Auto),
        artifact: layers.text("baseline-artifact").map(str::to_owned),
        branch: layers.text("baseline-branch").map(str::to_owned),
        image: layers.parse("baseline-image")?,
        args: layers.parse_with("baseline-args", text::words)?,
        model: layers.parse("baseline-model")?,
        pairs: layers.parse_with("pairs", pairs)?.unwrap_or(MOST_PAIRS),
        time_budget: layers
            .parse_with("time-budget", text::long)?
            .unwrap_or(Duration::from_hours(1)),
        on_unsure: layers
            .parse_with("on-unsure", on_unsure)?
            .unwrap_or(WhenUnsure::Pair),
        history: layers.text("history").map(PathBuf::from),
        noise_profile: layers.text("noise-profile").map(PathBuf::from),
        discovered: Discovered::default(),
    })
}

const MOST_PAIRS: NonZeroU32 = NonZeroU32::MIN.saturating_add(11);

fn mode(text: &str) -> Result<BaselineMode, String> {
    match text.trim() {
        "auto" => Ok(BaselineMode::Auto),
        "ab" => Ok(BaselineMode::Pairs),
        "stored" => Ok(BaselineMode::Stored),
        _ => Err("write auto, ab or stored".to_owned()),
    }
}

fn on_unsure(text: &str) -> Result<WhenUnsure, String> {
    match text.trim() {
        "pair" => Ok(WhenUnsure::Pair),
        "neutral" => Ok(WhenUnsure::Neutral),
        "fail" => Ok(WhenUnsure::Fail),
        _ => Err("write pair, neutral or fail".to_owned()),
    }
}

fn pairs(text: &str) -> Result<NonZeroU32, String> {
    let count = text
        .trim()
        .parse()
        .ok()
        .filter(|count| (3..=30).contains(count));
    count
        .and_then(NonZeroU32::new)
        .ok_or_else(|| "write a number from 3 to 30".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_choices() {
        assert_eq!(mode("ab"), Ok(BaselineMode::Pairs));
        assert_eq!(on_unsure("neutral"), Ok(WhenUnsure::Neutral));
        assert_eq!(pairs("30").unwrap().get(), 30);
        for wrong in ["2", "31", "-1", "many", ""] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
        assert!(mode("pairs").is_err() && on_unsure("").is_err());
    }
}
