//! The policy out of its parts: defaults and settings, the file's `policy`, the contexts that
//! hold, the environment. Each value is written down with where it came from.

use super::{
    GatePolicy, On, Stage,
    accept::{Accept, clean_reason},
    contexts::{ContextOutcome, ContextRule, Situation},
    overrides::{Override, Sets, Value, overrides},
    pattern::{Pattern, list},
    rules::{LimitRule, MetricRule, OnWritten, Reaction},
    written::PolicyWritten,
};
use crate::{
    context::{ConfigFile, ContextError, EnvSnapshot, Layers, Trigger, changed::Changed, text},
    metric,
};

/// A line of `--print-config`: name, value, where it came from.
pub(in crate::context) type Row = (String, String, String);

/// The policy and how it came about.
#[derive(Debug, Clone)]
pub(in crate::context) struct Resolved {
    /// The policy.
    pub(in crate::context) policy: GatePolicy,
    /// Every context of the file, and whether it holds.
    pub(in crate::context) contexts: Vec<ContextOutcome>,
    /// Every value with its source.
    pub(in crate::context) rows: Vec<Row>,
}

/// Puts the policy together. `changed` is only asked where a context wants to know.
///
/// # Errors
/// A setting or variable that does not parse, or the list of changed paths cannot be read.
pub(in crate::context) fn resolve(
    layers: &Layers,
    file: &ConfigFile,
    place: &str,
    env: &EnvSnapshot,
    trigger: &Trigger,
    changed: impl FnOnce() -> Result<Changed, ContextError>,
) -> Result<Resolved, ContextError> {
    let mut standing = Standing::of_settings(layers, file, place)?;
    standing.of_policy(&file.policy, place);
    let contexts = &file.policy.contexts;
    let asked = contexts.iter().any(|context| !context.paths.is_empty());
    let changed = if asked {
        changed()?
    } else {
        Changed::Known(Vec::new())
    };
    let here = Situation {
        branch: trigger.base_branch.as_deref(),
        event: trigger.event.as_deref(),
        labels: &trigger.labels,
        changed: &changed,
    };
    for context in contexts {
        standing.of_context(context, &here, layers);
    }
    let names = standing.names();
    for one in overrides(env, &names)? {
        standing.of_variable(&one);
    }
    let rule = file.policy.accept.clone();
    standing.policy.accept =
        rule.map(|rule| Accept::of_event(rule, layers.text("accept-reason"), trigger));
    standing.say_accept(layers, place);
    Ok(Resolved {
        policy: standing.policy,
        contexts: standing.contexts,
        rows: standing.rows,
    })
}

/// The policy as far as it has come.
struct Standing {
    policy: GatePolicy,
    strict: bool,
    /// What stands without `strict`.
    on: On,
    contexts: Vec<ContextOutcome>,
    rows: Vec<Row>,
}

impl Standing {
    fn of_settings(layers: &Layers, file: &ConfigFile, place: &str) -> Result<Self, ContextError> {
        let default = GatePolicy::default();
        let mut on = default.on;
        let unsure = layers.text("on-unsure") == Some("fail");
        if unsure {
            on.inconclusive = Reaction::Fail;
        }
        let (gating, metrics) = match layers.parse_with("metrics", chosen)? {
            Some(chosen) => chosen,
            None => (default.gating.clone(), Vec::new()),
        };
        let mut standing = Self {
            policy: GatePolicy {
                gate: layers.switch("gate")? || layers.switch("fail-on-regression")?,
                gating,
                metrics,
                run_cv: layers.parse_with("run-cv", text::fraction)?,
                ..default
            },
            strict: layers.switch("strict")?,
            on,
            contexts: Vec::new(),
            rows: Vec::new(),
        };
        standing.set("policy.stage", Stage::Block.name(), "default");
        for (kind, reaction) in kinds(on) {
            let from = if unsure && kind == "inconclusive" {
                "setting on-unsure"
            } else {
                "default"
            };
            standing.set(&format!("policy.on.{kind}"), reaction, from);
        }
        standing.enforce("setting strict");
        for limit in &file.limits {
            standing.limit(limit.clone(), place);
        }
        Ok(standing)
    }

    fn of_policy(&mut self, written: &PolicyWritten, place: &str) {
        if let Some(stage) = written.stage {
            self.stage(stage, place);
        }
        self.on(written.on, place);
        self.enforce("setting strict");
        for rule in &written.metrics {
            self.metric(rule.clone(), place);
        }
        for limit in &written.limits {
            self.limit(limit.clone(), place);
        }
    }

    fn of_context(&mut self, context: &ContextRule, here: &Situation<'_>, layers: &Layers) {
        let outcome = context.outcome(here, &self.policy);
        let from = format!("context {}", context.name);
        let word = if outcome.applies {
            "applies"
        } else {
            "does not apply"
        };
        self.rows
            .push((from.clone(), word.to_owned(), outcome.why.clone()));
        let applies = outcome.applies;
        self.contexts.push(outcome);
        if !applies {
            return;
        }
        if let Some(stage) = context.stage {
            self.stage(stage, &from);
        }
        self.on(context.on, &from);
        // What was asked of this very run stands above the file, and so above its contexts.
        let strict = context.strict.filter(|_| !layers.above_file("strict"));
        if let Some(strict) = strict {
            self.strict = strict;
            for (kind, reaction) in kinds(self.on) {
                self.set(&format!("policy.on.{kind}"), reaction, &from);
            }
        }
        self.enforce(&from);
        for rule in &context.metrics {
            self.metric(rule.clone(), &from);
        }
        for limit in &context.limits {
            self.limit(limit.clone(), &from);
        }
    }

    fn of_variable(&mut self, one: &Override) {
        let from = format!("environment {}", one.variable);
        match &one.sets {
            Sets::Stage(stage) => self.stage(*stage, &from),
            Sets::On(kind, reaction) => self.react(*kind, *reaction, &from),
            Sets::Metric {
                metric,
                scenario,
                value,
            } => self.value(metric, scenario.clone(), *value, &from),
        }
    }

    fn react(&mut self, kind: usize, reaction: Reaction, from: &str) {
        let on = &mut self.policy.on;
        match kind {
            0 => on.inconclusive = reaction,
            1 => on.incomparable = reaction,
            2 => on.missing = Some(reaction),
            _ => on.no_baseline = reaction,
        }
        let name = OnWritten::default()
            .given()
            .get(kind)
            .map(|(name, _)| *name);
        let name = name.unwrap_or_default();
        self.set(&format!("policy.on.{name}"), reaction.name(), from);
    }

    fn value(&mut self, metric: &str, scenario: Option<Pattern>, value: Value, from: &str) {
        let rule = MetricRule {
            scenario: scenario.clone(),
            effects_only: true,
            ..MetricRule::of(Pattern::plain(metric))
        };
        let (max, min) = match value {
            Value::Max(max) => (Some(max), None),
            Value::Min(min) => (None, Some(min)),
            Value::MinEffect(effect) => {
                let min_effect = Some(effect);
                return self.metric(MetricRule { min_effect, ..rule }, from);
            }
            Value::GateEffect(effect) => {
                let gate_effect = Some(effect);
                return self.metric(
                    MetricRule {
                        gate_effect,
                        ..rule
                    },
                    from,
                );
            }
            Value::Stage(stage) => {
                let rule = MetricRule {
                    stage: Some(stage),
                    effects_only: false,
                    ..rule
                };
                return self.metric(rule, from);
            }
        };
        // The new bound is one of the number that the file limits, at the stage it has there.
        let earlier = self.policy.limits.iter().rev();
        let named = |limit: &&LimitRule| limit.metric.matches(metric);
        let earlier = earlier.into_iter().find(named).cloned();
        let limit = earlier.unwrap_or_else(|| LimitRule::of(Pattern::plain(metric)));
        let limit = LimitRule {
            metric: Pattern::plain(metric),
            scenario,
            max,
            min,
            ..limit
        };
        self.limit(limit, from);
    }

    fn stage(&mut self, stage: Stage, from: &str) {
        self.policy.stage = stage;
        self.set("policy.stage", stage.name(), from);
    }

    fn on(&mut self, written: OnWritten, from: &str) {
        self.on = written.over(self.on);
        for (kind, reaction) in written.given() {
            if let Some(reaction) = reaction {
                self.set(&format!("policy.on.{kind}"), reaction.name(), from);
            }
        }
    }

    /// Lets `strict` have its way.
    fn enforce(&mut self, from: &str) {
        self.policy.on = if self.strict { On::STRICT } else { self.on };
        if self.strict {
            for (kind, reaction) in kinds(On::STRICT) {
                self.set(&format!("policy.on.{kind}"), reaction, from);
            }
        }
    }

    fn metric(&mut self, rule: MetricRule, from: &str) {
        let name = format!(
            "policy.metrics {}",
            placed(&rule.name, rule.scenario.as_ref())
        );
        self.rows.push((name, rule.values(), from.to_owned()));
        self.policy.metrics.push(rule);
    }

    fn limit(&mut self, limit: LimitRule, from: &str) {
        let name = format!("limits {}", placed(&limit.metric, limit.scenario.as_ref()));
        self.rows.push((name, limit.values(), from.to_owned()));
        self.policy.limits.push(limit);
    }

    fn set(&mut self, name: &str, value: &str, from: &str) {
        let row = (name.to_owned(), value.to_owned(), from.to_owned());
        match self.rows.iter_mut().find(|(known, ..)| known == name) {
            Some(known) => *known = row,
            None => self.rows.push(row),
        }
    }

    fn say_accept(&mut self, layers: &Layers, place: &str) {
        let Some(accept) = self.policy.accept.clone() else {
            return;
        };
        let label = format!("{}, which {}", accept.rule.label, accept.standing);
        self.set("policy.accept.label", &label, place);
        let set = layers.text("accept-reason").and_then(clean_reason);
        for (index, given) in accept.reasons.iter().enumerate() {
            let from = if index == 0 && set.is_some() {
                "setting accept-reason"
            } else {
                "the pull request's description"
            };
            let metrics = given.metrics.as_ref();
            let about = metrics.map_or_else(String::new, |metrics| format!(" ({metrics})"));
            let name = format!("policy.accept.reason{about}");
            self.rows.push((name, given.text.clone(), from.to_owned()));
        }
    }

    /// The metrics that a variable can mean.
    fn names(&self) -> Vec<String> {
        let rules = self.policy.metrics.iter().map(|rule| &rule.name);
        let limits = self.policy.limits.iter().map(|limit| &limit.metric);
        let written = rules.chain(limits).filter_map(Pattern::name);
        let mut names: Vec<String> = written.map(str::to_owned).collect();
        names.extend(self.policy.gating.iter().cloned());
        names.extend(super::KITT_GATING.iter().map(|name| (*name).to_owned()));
        names.extend(metric::known_names());
        names
    }
}

/// The list of gating metrics: names, and rules for the patterns among them.
fn chosen(text: &str) -> Result<(Vec<String>, Vec<MetricRule>), String> {
    let (mut names, mut rules) = (Vec::new(), Vec::new());
    for word in list(text) {
        let pattern: Pattern = word
            .parse()
            .map_err(|error: super::PatternError| error.to_string())?;
        match pattern.name() {
            Some(name) => names.push(name.to_owned()),
            None => rules.push(MetricRule::of(pattern)),
        }
    }
    Ok((names, rules))
}

fn kinds(on: On) -> [(&'static str, &'static str); 4] {
    let missing = on.missing.map_or(
        "fail if both sides were measured alike, else pass",
        Reaction::name,
    );
    [
        ("inconclusive", on.inconclusive.name()),
        ("incomparable", on.incomparable.name()),
        ("missing", missing),
        ("no-baseline", on.no_baseline.name()),
    ]
}

fn placed(name: &Pattern, scenario: Option<&Pattern>) -> String {
    match scenario {
        Some(scenario) => format!("{name} in {scenario}"),
        None => name.to_string(),
    }
}
