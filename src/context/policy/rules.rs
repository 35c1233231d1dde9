//! What a policy is made of: stages, rules on metrics, absolute limits, and what the gate does
//! about a result that proves nothing. These types are those of the config file.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::pattern::Pattern;
use crate::metric::Unit;

/// How far something may go. A check starts as `observe`, is watched, and is made to block once
/// it is trusted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Judged and shown; says nothing and stops nothing.
    Observe,
    /// Says so in an annotation; stops nothing.
    Warn,
    /// Closes the gate.
    #[default]
    Block,
}

impl Stage {
    /// Every stage, the mildest first.
    pub const ALL: [Self; 3] = [Self::Observe, Self::Warn, Self::Block];

    /// The word in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Warn => "warn",
            Self::Block => "block",
        }
    }
}

/// What the gate does about a result that proves nothing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Reaction {
    /// Nothing.
    Pass,
    /// It says so in an annotation.
    Warn,
    /// It closes.
    Fail,
}

impl Reaction {
    /// Every reaction, the mildest first.
    pub const ALL: [Self; 3] = [Self::Pass, Self::Warn, Self::Fail];

    /// The word in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// The stage at which it stands.
    pub const fn stage(self) -> Stage {
        match self {
            Self::Pass => Stage::Observe,
            Self::Warn => Stage::Warn,
            Self::Fail => Stage::Block,
        }
    }
}

/// What the gate does about each kind of result that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct On {
    /// Neither a change nor its absence is proven.
    pub inconclusive: Reaction,
    /// The sides were not measured alike.
    pub incomparable: Reaction,
    /// A gating metric that the baseline has is gone. `None`: it fails when both sides are known
    /// to have been measured under the same conditions, and passes otherwise.
    pub missing: Option<Reaction>,
    /// There is nothing to compare with.
    pub no_baseline: Reaction,
}

impl Default for On {
    fn default() -> Self {
        Self {
            inconclusive: Reaction::Pass,
            incomparable: Reaction::Pass,
            missing: None,
            no_baseline: Reaction::Pass,
        }
    }
}

impl On {
    /// What `strict` means: everything has to be proven.
    pub const STRICT: Self = Self {
        inconclusive: Reaction::Fail,
        incomparable: Reaction::Fail,
        missing: Some(Reaction::Fail),
        no_baseline: Reaction::Fail,
    };
}

/// `on` as written: what is absent stays as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct OnWritten {
    /// Neither a change nor its absence is proven; pass when nobody says otherwise.
    pub inconclusive: Option<Reaction>,
    /// The sides were not measured alike; pass when nobody says otherwise.
    pub incomparable: Option<Reaction>,
    /// A gating metric that the baseline has is gone. When nobody says otherwise: fail if both
    /// sides were measured under the same conditions, else pass.
    pub missing: Option<Reaction>,
    /// There is nothing to compare with; pass when nobody says otherwise.
    pub no_baseline: Option<Reaction>,
}

impl OnWritten {
    /// Each kind by name, with what is said of it.
    pub const fn given(self) -> [(&'static str, Option<Reaction>); 4] {
        [
            ("inconclusive", self.inconclusive),
            ("incomparable", self.incomparable),
            ("missing", self.missing),
            ("no-baseline", self.no_baseline),
        ]
    }

    /// Puts what is written over what stood.
    #[must_use]
    pub fn over(self, on: On) -> On {
        On {
            inconclusive: self.inconclusive.unwrap_or(on.inconclusive),
            incomparable: self.incomparable.unwrap_or(on.incomparable),
            missing: self.missing.or(on.missing),
            no_baseline: self.no_baseline.unwrap_or(on.no_baseline),
        }
    }
}

/// What holds for the metrics that a pattern matches. Of several rules that match, the later one
/// wins, value by value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MetricRule {
    /// Name of the metric, or a pattern such as `ttft_ms.*` or `{ttft,tpot}_ms.p50`. What it
    /// matches gates, unless its stage is observe.
    pub name: Pattern,
    /// Only in scenarios of this name or pattern; in all when absent.
    pub scenario: Option<Pattern>,
    /// A worsening proven to be above this is a regression: 0.01 is 1 %, or 1 point of a share.
    #[serde(default, deserialize_with = "effect")]
    pub min_effect: Option<f64>,
    /// A worsening proven to be below this is none: 0.05 is 5 %, or 5 points of a share.
    #[serde(default, deserialize_with = "effect")]
    pub gate_effect: Option<f64>,
    /// How far a regression of it may go: observe, warn or block.
    pub stage: Option<Stage>,
    /// Whether the rule only changes effects and puts nothing on the gating list.
    #[serde(skip)]
    pub effects_only: bool,
}

impl MetricRule {
    /// A rule that only names metrics.
    pub fn of(name: Pattern) -> Self {
        Self {
            name,
            scenario: None,
            min_effect: None,
            gate_effect: None,
            stage: None,
            effects_only: false,
        }
    }

    /// Whether it speaks of this metric in this scenario.
    pub fn matches(&self, metric: &str, scenario: &str) -> bool {
        self.name.matches(metric) && in_scenario(self.scenario.as_ref(), scenario)
    }

    /// What it sets, for people.
    pub fn values(&self) -> String {
        let effect = |name: &str, value: Option<f64>| value.map(|value| format!("{name} {value}"));
        let parts = [
            effect("min-effect", self.min_effect),
            effect("gate-effect", self.gate_effect),
            self.stage.map(|stage| format!("stage {}", stage.name())),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            "gates".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

pub(super) fn in_scenario(pattern: Option<&Pattern>, scenario: &str) -> bool {
    pattern.is_none_or(|pattern| pattern.matches(scenario))
}

/// An absolute limit on metrics of the current side, or on a number of a JSON file. Of several
/// that match a value, the later one wins, `max` and `min` each by themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitRule {
    /// Name of the metric or a pattern; with a file, what the number is called in reports.
    pub metric: Pattern,
    /// Only in scenarios of this name or pattern; in all when absent.
    pub scenario: Option<Pattern>,
    /// Largest allowed value.
    #[serde(default, deserialize_with = "finite")]
    pub max: Option<f64>,
    /// Smallest allowed value.
    #[serde(default, deserialize_with = "finite")]
    pub min: Option<f64>,
    /// JSON file that holds the number, relative to the workspace.
    pub file: Option<String>,
    /// Where in that file: a JSON pointer (`/calibration/ece`) or a dotted path
    /// (`calibration.ece`).
    pub path: Option<String>,
    /// Unit of a number from a file.
    pub unit: Option<Unit>,
    /// How far a broken limit may go: observe, warn or block.
    pub stage: Option<Stage>,
    /// The number of the file, or why there is none (a sentence fragment), once it was read.
    #[serde(skip)]
    pub read: Option<Result<f64, String>>,
}

impl LimitRule {
    /// A limit on a metric that as yet bounds nothing.
    pub fn of(metric: Pattern) -> Self {
        Self {
            metric,
            scenario: None,
            max: None,
            min: None,
            file: None,
            path: None,
            unit: None,
            stage: None,
            read: None,
        }
    }

    /// Whether it speaks of this metric in this scenario.
    pub fn matches(&self, metric: &str, scenario: &str) -> bool {
        self.metric.matches(metric) && in_scenario(self.scenario.as_ref(), scenario)
    }

    /// Whether both take their number from the same place, so that one can replace the other.
    pub fn same_source(&self, other: &Self) -> bool {
        (&self.file, &self.path) == (&other.file, &other.path)
    }

    /// What it asks for, for people.
    pub fn values(&self) -> String {
        let part = |name: &str, value: Option<f64>| value.map(|value| format!("{name} {value}"));
        let place = match (&self.file, &self.path) {
            (Some(file), Some(path)) => Some(format!("{path} in {file}")),
            _ => None,
        };
        let parts = [
            part("max", self.max),
            part("min", self.min),
            place,
            self.stage.map(|stage| format!("stage {}", stage.name())),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// What is wrong with it, if anything.
    pub(in crate::context) fn wrong(&self) -> Option<String> {
        let metric = &self.metric;
        let wrong = if self.max.is_none() && self.min.is_none() {
            "has neither max nor min".to_owned()
        } else if self.max.zip(self.min).is_some_and(|(max, min)| max < min) {
            "has a max below its min: no value holds it".to_owned()
        } else if self.file.is_some() != self.path.is_some() {
            "needs both file and path, or neither".to_owned()
        } else if self.file.is_none() && self.unit.is_some() {
            "has a unit: only a number from a file needs one".to_owned()
        } else if self.file.is_some() && (metric.name().is_none() || self.scenario.is_some()) {
            "takes a number from a file: give it a plain name and no scenario".to_owned()
        } else if let Some(file) = self.file.as_ref().filter(|file| leaves(file)) {
            format!("names the file {file}: write a path inside the workspace, without `..`")
        } else {
            return None;
        };
        Some(format!("the limit on `{metric}` {wrong}"))
    }
}

/// Whether a path leads out of the folder it is relative to.
fn leaves(path: &str) -> bool {
    use std::path::{Component, Path};
    // Windows' separators would hide a `..` from a look on Linux, and a drive is no folder.
    let odd = path.is_empty() || path.contains(['\\', ':', '\0']);
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    odd || !Path::new(path).components().all(inside)
}

fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match Option::<f64>::deserialize(deserializer)? {
        Some(number) if !number.is_finite() => Err(D::Error::custom("write a finite number")),
        number => Ok(number),
    }
}

/// Larger effects are typing errors: 10 is eleven times as slow.
const MOST_EFFECT: f64 = 10.0;

/// Whether a number can be an effect.
pub(super) fn is_effect(number: f64) -> bool {
    (0.0..=MOST_EFFECT).contains(&number)
}

/// What an effect looks like, for errors.
pub(super) const EFFECT: &str = "write an effect from 0 to 10; 0.05 is 5 %";

fn effect<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match Option::<f64>::deserialize(deserializer)? {
        Some(number) if !is_effect(number) => Err(D::Error::custom(EFFECT)),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_is_written_changes() {
        let written = OnWritten {
            missing: Some(Reaction::Warn),
            ..OnWritten::default()
        };
        let on = written.over(On::STRICT);
        assert_eq!(on.missing, Some(Reaction::Warn));
        assert_eq!(on.inconclusive, Reaction::Fail);
        assert_eq!(OnWritten::default().over(On::default()), On::default());
    }

    #[test]
    fn a_limit_that_cannot_be_meant_is_told() {
        let limit = |change: fn(&mut LimitRule)| {
            let mut rule = LimitRule {
                max: Some(1.0),
                ..LimitRule::of(Pattern::plain("quality.ece"))
            };
            change(&mut rule);
            rule.wrong().unwrap_or_default()
        };
        assert_eq!(limit(|_| {}), "");
        assert!(limit(|rule| rule.max = None).contains("neither max nor min"));
        assert!(limit(|rule| rule.min = Some(2.0)).contains("below its min"));
        assert!(limit(|rule| rule.path = Some("a".into())).contains("both file and path"));
        assert!(limit(|rule| rule.unit = Some(Unit::Share)).contains("unit"));
        let from = |file: &str| {
            let rule = LimitRule {
                max: Some(1.0),
                file: Some(file.to_owned()),
                path: Some("/a".to_owned()),
                ..LimitRule::of(Pattern::plain("quality.ece"))
            };
            rule.wrong()
        };
        assert_eq!(from("eval/quality.json"), None);
        assert_eq!(from("./q.json"), None);
        for file in [
            "/etc/passwd",
            "../q.json",
            "a/../../q",
            "",
            "C:q",
            "a\\..\\b",
        ] {
            assert!(
                from(file).unwrap().contains("inside the workspace"),
                "{file}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_path_that_is_accepted_leaves_its_folder(path in "[./a\\\\:]{0,12}|\\PC{0,20}") {
            if !leaves(&path) {
                prop_assert!(!path.split('/').any(|part| part == ".."), "{}", path);
                prop_assert!(!path.starts_with('/') && !path.is_empty());
            }
        }
    }
}
