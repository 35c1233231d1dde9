//! `KITT_LIMIT_…`: values of the policy by environment, above the file.
//!
//! `KITT_LIMIT_TTFT_MS_P50_MAX=200` is the largest allowed `ttft_ms.p50` in all scenarios,
//! `KITT_LIMIT_TTFT_MS_P50__LATENCY_MAX=200` that of the scenario `latency`.

use super::{
    pattern::{Pattern, variable},
    rules::{EFFECT, Reaction, Stage, is_effect},
};
use crate::context::{ContextError, EnvSnapshot};

/// How the variables begin.
const PREFIX: &str = "KITT_LIMIT_";
/// How the kinds of `on` are written.
const KINDS: [&str; 4] = ["INCONCLUSIVE", "INCOMPARABLE", "MISSING", "NO_BASELINE"];
/// What a variable about a metric ends with; the longer ones first, since `_MIN` is no end of
/// `_MIN_EFFECT` but the other way round it would be.
const ENDS: [&str; 5] = ["_GATE_EFFECT", "_MIN_EFFECT", "_STAGE", "_MAX", "_MIN"];

/// One variable, understood.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Override {
    /// The variable.
    pub(super) variable: String,
    /// What it sets.
    pub(super) sets: Sets,
}

/// What a variable sets.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sets {
    /// How far anything may go.
    Stage(Stage),
    /// The reaction to a kind of result, by its index in `on`.
    On(usize, Reaction),
    /// A value of a metric.
    Metric {
        /// The metric's name.
        metric: String,
        /// Only in this scenario.
        scenario: Option<Pattern>,
        /// The value.
        value: Value,
    },
}

/// A value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Max(f64),
    Min(f64),
    MinEffect(f64),
    GateEffect(f64),
    Stage(Stage),
}

/// Reads every variable. `names` are the metrics that can be meant.
///
/// # Errors
/// A variable that means nothing, with the closest one, or whose value is none.
pub(super) fn overrides(
    env: &EnvSnapshot,
    names: &[String],
) -> Result<Vec<Override>, ContextError> {
    let one = |(variable, text): (&str, &str)| {
        let wrong = |detail| ContextError::Policy {
            place: format!("environment {variable}"),
            detail,
        };
        let rest = variable.strip_prefix(PREFIX).unwrap_or_default();
        match read(rest, text.trim(), names) {
            Some(Ok(sets)) => Ok(Override {
                variable: variable.to_owned(),
                sets,
            }),
            Some(Err(why)) => Err(wrong(format!("`{}`: {why}", shown(text)))),
            None => Err(wrong(unknown(rest, names))),
        }
    };
    env.starting_with(PREFIX).map(one).collect()
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// What the rest of a variable's name sets; `None` when it means nothing.
fn read(rest: &str, text: &str, names: &[String]) -> Option<Result<Sets, String>> {
    if rest == "STAGE" {
        return Some(stage(text).map(Sets::Stage));
    }
    if let Some(kind) = rest.strip_prefix("ON_") {
        let kind = KINDS.iter().position(|known| *known == kind)?;
        return Some(reaction(text).map(|reaction| Sets::On(kind, reaction)));
    }
    let (name, end) = ENDS
        .iter()
        .find_map(|end| Some((rest.strip_suffix(end)?, *end)))?;
    let (metric, scenario) = match name.split_once("__") {
        Some((metric, scenario)) if !scenario.is_empty() => {
            (metric, Some(Pattern::variable(scenario)))
        }
        Some(_) => return None,
        None => (name, None),
    };
    let metric = names.iter().find(|known| variable(known) == metric)?;
    let value = value(end, text)?;
    Some(value.map(|value| Sets::Metric {
        metric: metric.clone(),
        scenario,
        value,
    }))
}

fn value(end: &str, text: &str) -> Option<Result<Value, String>> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    let limit = || number.ok_or_else(|| "write a number, such as 200".to_owned());
    let effect = || {
        let number = number.filter(|number| is_effect(*number));
        number.ok_or_else(|| EFFECT.to_owned())
    };
    Some(match end {
        "_MAX" => limit().map(Value::Max),
        "_MIN" => limit().map(Value::Min),
        "_MIN_EFFECT" => effect().map(Value::MinEffect),
        "_GATE_EFFECT" => effect().map(Value::GateEffect),
        "_STAGE" => stage(text).map(Value::Stage),
        _ => return None,
    })
}

fn stage(text: &str) -> Result<Stage, String> {
    let found = Stage::ALL.into_iter().find(|stage| stage.name() == text);
    found.ok_or_else(|| "write observe, warn or block".to_owned())
}

fn reaction(text: &str) -> Result<Reaction, String> {
    let found = Reaction::ALL.into_iter().find(|word| word.name() == text);
    found.ok_or_else(|| "write pass, warn or fail".to_owned())
}

/// What is wrong with a name that means nothing.
fn unknown(rest: &str, names: &[String]) -> String {
    let of_metric = |name: &String| {
        let name = variable(name);
        ENDS.map(|end| format!("{name}{end}"))
    };
    let kinds = KINDS.map(|kind| format!("ON_{kind}"));
    let known: Vec<String> = names
        .iter()
        .flat_map(of_metric)
        .chain(kinds)
        .chain(["STAGE".to_owned()])
        .collect();
    // The scenario may be any: only the metric and the end can be misspelt.
    let scenario = rest.split_once("__").and_then(|(_, rest)| {
        let end = ENDS.iter().find(|end| rest.ends_with(**end))?;
        rest.strip_suffix(end)
    });
    let place = scenario.map(|name| format!("__{name}")).unwrap_or_default();
    let bare = rest.replacen(&place, "", usize::from(!place.is_empty()));
    let closest = crate::ids::closest(&bare, known.iter().map(String::as_str));
    let hint = closest.map_or_else(
        || {
            format!(
                "; write {PREFIX}<METRIC>_MAX, _MIN, _MIN_EFFECT, _GATE_EFFECT or _STAGE, \
                 {PREFIX}ON_<KIND> or {PREFIX}STAGE"
            )
        },
        |closest| {
            let end = ENDS.iter().find(|end| closest.ends_with(**end));
            let (name, end) = end
                .and_then(|end| Some((closest.strip_suffix(end)?, *end)))
                .unwrap_or((closest, ""));
            format!("; did you mean {PREFIX}{name}{place}{end}?")
        },
    );
    format!("no value of the policy has this name{hint}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metric::known_names;

    fn one(name: &str, value: &str) -> Result<Sets, String> {
        let env: EnvSnapshot = [(name.to_owned(), value.to_owned())].into_iter().collect();
        let found = overrides(&env, &known_names()).map_err(|error| error.to_string())?;
        Ok(found.into_iter().next().expect("a variable").sets)
    }

    #[expect(clippy::unnecessary_wraps, reason = "held against what `one` gives")]
    fn metric(name: &str, scenario: Option<&str>, value: Value) -> Result<Sets, String> {
        Ok(Sets::Metric {
            metric: name.to_owned(),
            scenario: scenario.map(Pattern::variable),
            value,
        })
    }

    #[test]
    fn names_say_what_they_set() {
        for (name, text, expected) in [
            (
                "TTFT_MS_P50_MAX",
                "200",
                metric("ttft_ms.p50", None, Value::Max(200.0)),
            ),
            (
                "TTFT_MS_MAX_MAX",
                "1e3",
                metric("ttft_ms.max", None, Value::Max(1000.0)),
            ),
            (
                "OUTPUT_TPS_MIN",
                " 5 ",
                metric("output_tps", None, Value::Min(5.0)),
            ),
            (
                "OUTPUT_TPS_MIN_EFFECT",
                "0.02",
                metric("output_tps", None, Value::MinEffect(0.02)),
            ),
            (
                "OUTPUT_TPS_GATE_EFFECT",
                "0.1",
                metric("output_tps", None, Value::GateEffect(0.1)),
            ),
            (
                "TTFT_MS_P50__LATENCY_MAX",
                "1",
                metric("ttft_ms.p50", Some("LATENCY"), Value::Max(1.0)),
            ),
            (
                "TTFT_MS_P50__BATCH_C32_MIN_EFFECT",
                "0",
                metric("ttft_ms.p50", Some("BATCH_C32"), Value::MinEffect(0.0)),
            ),
            (
                "OUTPUT_TPS_STAGE",
                "warn",
                metric("output_tps", None, Value::Stage(Stage::Warn)),
            ),
            ("STAGE", "observe", Ok(Sets::Stage(Stage::Observe))),
            ("ON_NO_BASELINE", "fail", Ok(Sets::On(3, Reaction::Fail))),
        ] {
            assert_eq!(one(&format!("KITT_LIMIT_{name}"), text), expected, "{name}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_the_closest() {
        for (name, text, says) in [
            (
                "TTTF_MS_P50_MAX",
                "1",
                "did you mean KITT_LIMIT_TTFT_MS_P50_MAX?",
            ),
            (
                "TTFT_MS_P5__LATENCY_MAX",
                "1",
                "did you mean KITT_LIMIT_TTFT_MS_P50__LATENCY_MAX?",
            ),
            (
                "OUTPUT_TPS_MAXX",
                "1",
                "did you mean KITT_LIMIT_OUTPUT_TPS_MAX?",
            ),
            (
                "ON_INCONCLUSIV",
                "fail",
                "did you mean KITT_LIMIT_ON_INCONCLUSIVE?",
            ),
            ("QQQQQQQQQQQQ", "1", "write KITT_LIMIT_<METRIC>_MAX"),
            ("OUTPUT_TPS___MAX", "1", "no value of the policy"),
            ("", "1", "no value of the policy"),
        ] {
            let error = one(&format!("KITT_LIMIT_{name}"), text).unwrap_err();
            let named = format!("environment KITT_LIMIT_{name}: ");
            assert!(error.starts_with(&named) && error.contains(says), "{error}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for (name, text, says) in [
            ("OUTPUT_TPS_MIN", "fast", "write a number"),
            ("OUTPUT_TPS_MIN", "NaN", "write a number"),
            ("OUTPUT_TPS_MIN", "inf", "write a number"),
            ("OUTPUT_TPS_MIN_EFFECT", "5 %", "0.05 is 5 %"),
            ("OUTPUT_TPS_MIN_EFFECT", "-0.1", "0.05 is 5 %"),
            ("STAGE", "loud", "observe, warn or block"),
            ("ON_MISSING", "yes", "pass, warn or fail"),
        ] {
            let error = one(&format!("KITT_LIMIT_{name}"), text).unwrap_err();
            assert!(error.contains(text) && error.contains(says), "{error}");
        }
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        let env = [("KITT_LIMIT_NONSENSE".to_owned(), String::new())];
        let env: EnvSnapshot = env.into_iter().collect();
        assert_eq!(overrides(&env, &known_names()).unwrap(), []);
    }

    proptest! {
        #[test]
        fn any_variable_is_understood_or_refused(
            name in "(ON_|STAGE|TTFT_MS|_P50|_MAX|_MIN|_EFFECT|__|[A-Z_]|\\PC){0,8}", text in "\\PC{1,12}",
        ) {
            drop(one(&format!("KITT_LIMIT_{name}"), &text));
        }

        #[test]
        fn every_metric_can_be_limited(index in 0..500_usize, number in -1e6..1e6_f64) {
            let names = known_names();
            let name = &names[index % names.len()];
            let found = one(&format!("KITT_LIMIT_{}_MAX", variable(name)), &number.to_string());
            prop_assert_eq!(found, metric(name, None, Value::Max(number)));
        }
    }
}
