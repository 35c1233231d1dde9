//! What else holds on a branch, for an event, with a label, or where certain paths change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    GatePolicy,
    pattern::{Glob, PathPattern, Pattern},
    rules::{LimitRule, MetricRule, On, OnWritten, Stage},
};
use crate::context::changed::Changed;

/// A part of the policy that holds under conditions: all that are given must be met, and one is
/// met by any of its entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ContextRule {
    /// What it is called in reports.
    pub name: String,
    /// Branches that the change goes to: a pull request's base, the branch of a push.
    pub branches: Vec<PathPattern>,
    /// Events that started the workflow, such as `pull_request` or `schedule`.
    pub events: Vec<Pattern>,
    /// Labels of the pull request.
    pub labels: Vec<Pattern>,
    /// Paths that change.
    pub paths: Vec<PathPattern>,
    /// How far anything may go here: observe, warn or block.
    pub stage: Option<Stage>,
    /// Whether everything has to be proven here.
    pub strict: Option<bool>,
    /// Metrics that gate here; they come after those of the policy.
    pub metrics: Vec<MetricRule>,
    /// Absolute limits that hold here; they come after those of the policy.
    pub limits: Vec<LimitRule>,
    /// What the gate does here about results that prove nothing.
    pub on: OnWritten,
}

/// Whether a context holds, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextOutcome {
    /// The context's name.
    pub name: String,
    /// Whether it holds.
    pub applies: bool,
    /// Why, as a sentence fragment.
    pub why: String,
}

/// Where kitt runs, as far as contexts ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) branch: Option<&'a str>,
    pub(super) event: Option<&'a str>,
    pub(super) labels: &'a [String],
    pub(super) changed: &'a Changed,
}

impl ContextRule {
    /// What is wrong with it, if anything.
    pub(super) fn wrong(&self) -> Option<String> {
        let no_condition = self.branches.is_empty()
            && self.events.is_empty()
            && self.labels.is_empty()
            && self.paths.is_empty();
        if self.name.trim().is_empty() {
            Some("it needs a name".to_owned())
        } else if no_condition {
            let ask = "it has no condition: give branches, events, labels or paths";
            Some(ask.to_owned())
        } else {
            None
        }
    }

    /// Whether it holds here, over a policy that stands so far.
    pub(super) fn outcome(&self, here: &Situation<'_>, standing: &GatePolicy) -> ContextOutcome {
        let said = |applies, why: Vec<String>| ContextOutcome {
            name: self.name.clone(),
            applies,
            why: why.join(", "),
        };
        let asked = [
            self.branch(here.branch),
            self.event(here.event),
            self.label(here.labels),
        ];
        let mut met = Vec::new();
        for answer in asked.into_iter().flatten() {
            match answer {
                Ok(why) => met.push(why),
                Err(why) => return said(false, vec![why]),
            }
        }
        if self.paths.is_empty() {
            return said(true, met);
        }
        match here.changed {
            Changed::Known(paths) => match first(&self.paths, paths.iter().map(String::as_str)) {
                Some((pattern, path)) => {
                    met.push(format!("{path} changes, which matches {pattern}"));
                    said(true, met)
                }
                None => said(false, vec!["no changed path matches".to_owned()]),
            },
            Changed::Cut(paths, reason) => {
                match first(&self.paths, paths.iter().map(String::as_str)) {
                    Some((pattern, path)) => {
                        met.push(format!("{path} changes, which matches {pattern}"));
                        said(true, met)
                    }
                    None => self.unsure(standing, met, &format!("not all known ({reason})")),
                }
            }
            Changed::Unknown(reason) => {
                self.unsure(standing, met, &format!("not known ({reason})"))
            }
        }
    }

    /// The outcome where the changed paths do not tell: on the safe side.
    fn unsure(&self, standing: &GatePolicy, mut met: Vec<String>, state: &str) -> ContextOutcome {
        let relaxes = self.could_relax(standing);
        let then = if relaxes {
            "and it could relax the gate: it is left out to be on the safe side"
        } else {
            "and it relaxes nothing: it holds to be on the safe side"
        };
        met.push(format!("the changed paths are {state}, {then}"));
        ContextOutcome {
            name: self.name.clone(),
            applies: !relaxes,
            why: met.join(", "),
        }
    }

    fn branch(&self, branch: Option<&str>) -> Option<Result<String, String>> {
        condition(&self.branches, branch.into_iter(), "branch")
    }

    fn event(&self, event: Option<&str>) -> Option<Result<String, String>> {
        condition(&self.events, event.into_iter(), "event")
    }

    fn label(&self, labels: &[String]) -> Option<Result<String, String>> {
        condition(&self.labels, labels.iter().map(String::as_str), "label")
    }

    /// Whether anything could pass with it that would not pass without.
    fn could_relax(&self, standing: &GatePolicy) -> bool {
        let milder = |rule: &MetricRule| {
            let effects = rule.min_effect.is_some() || rule.gate_effect.is_some();
            effects || rule.stage.is_some_and(|stage| stage < Stage::Block)
        };
        // A later limit replaces an earlier one that speaks of the same values; patterns may.
        let replaces = |rule: &LimitRule| {
            let overlap = |old: &LimitRule| {
                old.metric == rule.metric
                    || old
                        .metric
                        .name()
                        .is_none_or(|name| rule.metric.matches(name))
            };
            standing.limits.iter().any(overlap)
        };
        let on = self.on.over(standing.on);
        self.stage.is_some_and(|stage| stage < standing.stage)
            || (self.strict == Some(false) && standing.on != On::default())
            || is_milder(on, standing.on)
            || self.metrics.iter().any(milder)
            || self.limits.iter().any(replaces)
    }
}

fn is_milder(new: On, old: On) -> bool {
    // What is decided by the fingerprints is the milder of fail and as strict as fail.
    let missing = match (new.missing, old.missing) {
        (Some(new), Some(old)) => new < old,
        (Some(new), None) => new < super::Reaction::Fail,
        (None, _) => false,
    };
    missing
        || new.inconclusive < old.inconclusive
        || new.incomparable < old.incomparable
        || new.no_baseline < old.no_baseline
}

/// A condition's answer: `None` when it is not given, else why it is met or is not.
fn condition<'a, const SLASH: bool>(
    patterns: &[Glob<SLASH>],
    values: impl Iterator<Item = &'a str> + Clone,
    what: &str,
) -> Option<Result<String, String>> {
    if patterns.is_empty() {
        return None;
    }
    Some(match first(patterns, values.clone()) {
        Some((pattern, value)) if pattern == value => Ok(format!("{what} {value}")),
        Some((pattern, value)) => Ok(format!("{what} {value} matches {pattern}")),
        None => {
            let have: Vec<&str> = values.take(5).collect();
            let have = match have.as_slice() {
                [] => format!("no {what} is known"),
                some => format!("{what} {} does not match", some.join(", ")),
            };
            Err(have)
        }
    })
}

fn first<'a, 'b, const SLASH: bool>(
    patterns: &'b [Glob<SLASH>],
    mut values: impl Iterator<Item = &'a str>,
) -> Option<(&'b str, &'a str)> {
    values.find_map(|value| {
        let pattern = patterns.iter().find(|pattern| pattern.matches(value))?;
        Some((pattern.as_str(), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(yaml: &str) -> ContextRule {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn outcome(yaml: &str, changed: &Changed, standing: &GatePolicy) -> (bool, String) {
        let labels = ["perf".to_owned(), "kitt/full".to_owned()];
        let here = Situation {
            branch: Some("release/1.2"),
            event: Some("pull_request"),
            labels: &labels,
            changed,
        };
        let outcome = context(yaml).outcome(&here, standing);
        (outcome.applies, outcome.why)
    }

    fn applies(yaml: &str) -> (bool, String) {
        let changed = Changed::Known(vec!["docs/a.md".to_owned(), "src/x.rs".to_owned()]);
        outcome(yaml, &changed, &GatePolicy::default())
    }

    #[test]
    fn every_condition_must_be_met_by_one_of_its_entries() {
        for (yaml, expected, why) in [
            (
                "name: a\nbranches: [main, 'release/*']",
                true,
                "branch release/1.2 matches release/*",
            ),
            (
                "name: a\nbranches: [main]",
                false,
                "branch release/1.2 does not match",
            ),
            (
                "name: a\nevents: [push, pull_request]",
                true,
                "event pull_request",
            ),
            (
                "name: a\nevents: [schedule]",
                false,
                "event pull_request does not match",
            ),
            (
                "name: a\nlabels: ['kitt/*']",
                true,
                "label kitt/full matches kitt/*",
            ),
            (
                "name: a\nlabels: [x]",
                false,
                "label perf, kitt/full does not match",
            ),
            (
                "name: a\npaths: ['src/**']",
                true,
                "src/x.rs changes, which matches src/**",
            ),
            ("name: a\npaths: ['*.md']", false, "no changed path matches"),
            (
                "name: a\nbranches: ['release/*']\nevents: [schedule]",
                false,
                "event",
            ),
            (
                "name: a\nlabels: [perf]\nevents: ['pull_*']",
                true,
                "event pull_request matches pull_*, label perf",
            ),
        ] {
            let (applied, said) = applies(yaml);
            assert_eq!(applied, expected, "{yaml}: {said}");
            assert!(said.contains(why), "{yaml}: {said}");
        }
    }

    #[test]
    fn unknown_paths_never_relax_the_gate() {
        let unknown = Changed::Unknown("git is not here".to_owned());
        let observed = GatePolicy {
            stage: Stage::Observe,
            ..GatePolicy::default()
        };
        let strict = GatePolicy {
            on: On::STRICT,
            limits: vec![LimitRule::of("ttft_ms.*".parse().unwrap())],
            ..GatePolicy::default()
        };
        for (yaml, standing, expected) in [
            ("stage: block", &observed, true),
            ("stage: warn", &observed, true),
            ("stage: warn", &strict, false),
            ("strict: true", &strict, true),
            ("strict: false", &strict, false),
            ("on: {inconclusive: warn}", &strict, false),
            ("on: {inconclusive: warn}", &observed, true),
            ("on: {missing: pass}", &observed, false),
            ("metrics: [{name: x}]", &observed, true),
            ("metrics: [{name: x, stage: warn}]", &observed, false),
            ("metrics: [{name: x, gate-effect: 0.2}]", &observed, false),
            ("limits: [{metric: output_tps, min: 1}]", &observed, true),
            ("limits: [{metric: 'ttft_ms.*', max: 1}]", &strict, false),
        ] {
            let yaml = format!("name: a\npaths: [x]\n{yaml}");
            let (applied, why) = outcome(&yaml, &unknown, standing);
            assert_eq!(applied, expected, "{yaml}: {why}");
            assert!(
                why.contains("git is not here") && why.contains("safe side"),
                "{why}"
            );
        }
    }

    #[test]
    fn a_context_has_a_name_and_a_condition() {
        assert!(context("stage: warn").wrong().unwrap().contains("name"));
        assert!(context("name: a").wrong().unwrap().contains("no condition"));
        assert_eq!(context("name: a\nlabels: [x]").wrong(), None);
    }
}
