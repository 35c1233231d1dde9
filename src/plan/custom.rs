//! A load given by settings instead of a suite, and the settings that also refine a suite's
//! scenarios.

use std::{num::NonZeroU32, time::Duration};

use super::{
    Arrivals, Length, PlanError, Process, PromptSource, Rate, Scenario, StopRules, Test, Warmup,
};
use crate::{
    context::{LoadSettings, Measure, WarmupAsked},
    ids::ScenarioId,
};

/// Requests a median needs to gate (`research/regression-statistics.md` §6), and a few more.
pub(super) const REQUESTS: u32 = 24;
/// Closed loops are driven until each slot has been used this often.
pub(super) const ROUNDS: u32 = 6;
/// How long an open loop lasts when nothing else ends it.
const OPEN_LOOP: Duration = Duration::from_mins(1);
/// Prompt and answer tokens when nothing else is asked for.
const TOKENS: Length = Length::fixed(NonZeroU32::MIN.saturating_add(127));
/// The least warm-up of a closed loop: a median of fewer says nothing.
const LEAST_WARMUP: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
/// The waves of an open loop's warm-up, whose concurrency is not known beforehand.
const OPEN_WARMUP: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);

/// Requests of a closed loop that nothing else ends.
pub(super) const fn rounds(concurrency: NonZeroU32) -> NonZeroU32 {
    let all = concurrency.get().saturating_mul(ROUNDS);
    let requests = if all < REQUESTS { REQUESTS } else { all };
    NonZeroU32::MIN.saturating_add(requests - 1)
}

/// Applies the settings that a suite's scenarios and custom ones have in common.
pub(super) fn refined(measure: &Measure, mut scenario: Scenario) -> Scenario {
    let load = &measure.load;
    scenario.stop = StopRules {
        requests: measure.requests.or(scenario.stop.requests),
        max_error_rate: load.max_error_rate,
        ci_width: load.ci_width,
        over_saturation: scenario.stop.over_saturation || load.stop_when_saturated,
        ..scenario.stop
    };
    scenario.warmup = warmup(measure, scenario.warmup);
    scenario.input_tokens = measure.input_tokens.unwrap_or(scenario.input_tokens);
    scenario.output_tokens = measure.output_tokens.unwrap_or(scenario.output_tokens);
    scenario.prompts = prompts(load);
    scenario.turns = load.turns.unwrap_or(NonZeroU32::MIN);
    scenario.think = load.think_time;
    scenario
}

/// A scenario that is not to be warmed up stays so: it looks at the warming up.
fn warmup(measure: &Measure, own: Warmup) -> Warmup {
    if measure.skip_warmup || own == Warmup::Off {
        return Warmup::Off;
    }
    match measure.load.warmup {
        None | Some(WarmupAsked::Auto) => own,
        Some(WarmupAsked::Requests(count)) => Warmup::requests(count),
    }
}

fn prompts(load: &LoadSettings) -> PromptSource {
    match &load.dataset {
        Some(path) => PromptSource::Dataset {
            path: path.clone(),
            digest: String::new(),
        },
        None => PromptSource::Synthetic {
            shared_prefix: load.shared_prefix,
        },
    }
}

/// The one scenario of a load without a suite.
///
/// # Errors
/// The scenario's name breaks the rules of names.
pub(super) fn scenario(measure: &Measure) -> Result<Scenario, PlanError> {
    // A duration alone is a closed loop of single requests.
    let arrivals = measure.load.arrivals.clone().unwrap_or(Arrivals::Closed {
        concurrency: NonZeroU32::MIN,
    });
    point(measure, arrivals)
}

/// A scenario of this load.
///
/// # Errors
/// As [`scenario`].
pub(super) fn point(measure: &Measure, arrivals: Arrivals) -> Result<Scenario, PlanError> {
    let duration = measure.load.duration;
    let endless = measure.requests.is_none() && duration.is_none();
    let (requests, duration) = match &arrivals {
        Arrivals::Closed { concurrency } => (endless.then(|| rounds(*concurrency)), duration),
        Arrivals::Open { rate, .. } if endless => (None, Some(rate.length().unwrap_or(OPEN_LOOP))),
        Arrivals::Open { .. } | Arrivals::Replay { .. } => (None, duration),
    };
    let wave = match &arrivals {
        Arrivals::Closed { concurrency } => (*concurrency).max(LEAST_WARMUP),
        Arrivals::Open { .. } | Arrivals::Replay { .. } => OPEN_WARMUP,
    };
    let scenario = Scenario {
        id: id(&arrivals)?,
        test: Test::Custom,
        arrivals,
        stop: StopRules {
            requests,
            duration,
            ..StopRules::default()
        },
        warmup: Warmup::until_stable(wave),
        input_tokens: TOKENS,
        output_tokens: TOKENS,
        prompts: PromptSource::Synthetic { shared_prefix: 0.0 },
        turns: NonZeroU32::MIN,
        think: Duration::ZERO,
    };
    Ok(refined(measure, scenario))
}

/// `custom/c8`, `custom/r2.5`, `custom/ramp`, `custom/steps` or `custom/trace`. A baseline finds
/// its scenario by this name; what else differs is in the workload's digest.
fn id(arrivals: &Arrivals) -> Result<ScenarioId, PlanError> {
    let name = match arrivals {
        Arrivals::Closed { concurrency } => format!("c{concurrency}"),
        Arrivals::Open { rate, .. } => match rate {
            Rate::Constant { rps } => format!("r{rps}"),
            Rate::Ramp { .. } => "ramp".to_owned(),
            Rate::Steps { .. } => "steps".to_owned(),
        },
        Arrivals::Replay { .. } => "trace".to_owned(),
    };
    let test = Test::Custom.name();
    format!("{test}/{name}").parse().map_err(PlanError::Name)
}

/// The open loop of a sweep's rate.
pub(super) const fn open(
    rps: f64,
    process: Process,
    max_in_flight: Option<NonZeroU32>,
) -> Arrivals {
    Arrivals::Open {
        rate: Rate::Constant { rps },
        process,
        max_in_flight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{EnvSnapshot, resolve};

    fn one(pairs: &[(&'static str, &str)]) -> Scenario {
        let typed = pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        let inputs = resolve(&typed, &EnvSnapshot::default()).unwrap();
        let mut all = super::super::scenarios(&inputs.measure).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn count(number: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(number)
    }

    #[test]
    fn a_closed_loop_uses_every_slot_six_times() {
        let scenario = one(&[("concurrency", "8")]);
        assert_eq!(scenario.id.as_str(), "custom/c8");
        assert_eq!(scenario.test, Test::Custom);
        assert_eq!(scenario.stop.requests, count(48));
        assert_eq!(scenario.stop.duration, None);
        assert_eq!(scenario.input_tokens.longest().get(), 128);
        assert_eq!(
            scenario.warmup,
            Warmup::UntilStable {
                least: count(8).unwrap(),
                most: count(32).unwrap()
            }
        );
        let few = one(&[("concurrency", "2")]);
        assert_eq!(few.stop.requests, count(24));
        assert_eq!(
            few.warmup,
            Warmup::UntilStable {
                least: count(3).unwrap(),
                most: count(12).unwrap()
            }
        );
    }

    #[test]
    fn everything_typed_is_kept() {
        let scenario = one(&[
            ("concurrency", "4"),
            ("requests", "7"),
            ("input-tokens", "100..200"),
            ("output-tokens", "64"),
            ("warmup-requests", "5"),
            ("turns", "3"),
            ("think-time", "1s"),
            ("shared-prefix", "0.5"),
            ("max-error-rate", "0.1"),
            ("ci-width", "0.02"),
        ]);
        assert_eq!(scenario.stop.requests, count(7));
        assert_eq!(scenario.stop.max_error_rate, Some(0.1));
        assert_eq!(scenario.stop.ci_width, Some(0.02));
        assert_eq!(scenario.input_tokens, "100..200".parse().unwrap());
        assert_eq!(scenario.output_tokens, "64".parse().unwrap());
        assert_eq!(
            scenario.warmup,
            Warmup::Requests {
                count: count(5).unwrap()
            }
        );
        assert_eq!(
            (scenario.turns, scenario.think),
            (count(3).unwrap(), Duration::from_secs(1))
        );
        assert_eq!(
            scenario.prompts,
            PromptSource::Synthetic { shared_prefix: 0.5 }
        );
        assert_eq!(
            one(&[("concurrency", "4"), ("warmup-requests", "0")]).warmup,
            Warmup::Off
        );
        assert_eq!(
            one(&[("concurrency", "4"), ("skip-warmup", "true")]).warmup,
            Warmup::Off
        );
    }

    #[test]
    fn an_open_loop_lasts_a_minute_or_its_schedule() {
        let ends = |pairs: &[(&'static str, &str)]| {
            let stop = one(pairs).stop;
            (stop.requests, stop.duration.map(|time| time.as_secs()))
        };
        assert_eq!(ends(&[("request-rate", "2.5")]), (None, Some(60)));
        assert_eq!(
            ends(&[("request-rate", "2.5"), ("duration", "30s")]),
            (None, Some(30))
        );
        assert_eq!(
            ends(&[("request-rate", "2.5"), ("requests", "9")]),
            (count(9), None)
        );
        assert_eq!(ends(&[("rate-schedule", "1:10s,2:20s")]), (None, Some(30)));
        assert_eq!(ends(&[("trace", "t.csv")]), (None, None));
        assert_eq!(
            ends(&[("trace", "t.csv"), ("requests", "9")]),
            (count(9), None)
        );
        assert_eq!(ends(&[("duration", "5")]), (None, Some(5)));
    }

    #[test]
    fn names_say_what_the_load_is() {
        let name = |pairs: &[(&'static str, &str)]| one(pairs).id.to_string();
        assert_eq!(name(&[("request-rate", "2.50")]), "custom/r2.5");
        assert_eq!(name(&[("request-rate", "0.001")]), "custom/r0.001");
        assert_eq!(name(&[("request-rate", "1e6")]), "custom/r1000000");
        assert_eq!(name(&[("rate-schedule", "5..50:60s")]), "custom/ramp");
        assert_eq!(name(&[("rate-schedule", "5:60s")]), "custom/steps");
        assert_eq!(name(&[("trace", "/x/y.jsonl")]), "custom/trace");
        assert_eq!(name(&[("duration", "1m")]), "custom/c1");
    }

    #[test]
    fn files_get_their_digests_from_their_reader() {
        let scenario = one(&[("trace", "/x/t.csv"), ("dataset", "/x/d.jsonl")]);
        let files: Vec<_> = scenario.files().map(std::path::Path::to_owned).collect();
        assert_eq!(files.len(), 2);
        let known = scenario
            .with_digest(&files[0], "aa")
            .with_digest(&files[1], "bb");
        let json = serde_json::to_string(&known).unwrap();
        assert!(json.contains(r#""path":"t.csv","digest":"aa""#), "{json}");
        assert!(json.contains(r#""path":"d.jsonl","digest":"bb""#), "{json}");
    }
}
