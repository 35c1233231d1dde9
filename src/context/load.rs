//! Settings of the load: how requests arrive, what they ask, when to stop, what counts as good.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Arrivals, ContextError, Layers, Objective, Process, Rate, Sweep, objective, text};
use crate::secret::Secret;

/// What was asked about the load. Where `arrivals`, `sweep` and `duration` are all absent, a
/// suite brings its own.
#[derive(Debug, Clone, Default)]
pub struct LoadSettings {
    /// One load point instead of a suite's.
    pub arrivals: Option<Arrivals>,
    /// Many load points instead of a suite's.
    pub sweep: Option<Sweep>,
    /// How the arrivals of a sweep's open loops scatter.
    pub process: Process,
    /// The most requests in flight in an open loop or a sweep.
    pub max_in_flight: Option<NonZeroU32>,
    /// How long requests are sent.
    pub duration: Option<Duration>,
    /// Discarded requests before the measured ones.
    pub warmup: Option<WarmupAsked>,
    /// The share of failed requests that ends a scenario.
    pub max_error_rate: Option<f64>,
    /// The half-width of the confidence interval that ends a scenario.
    pub ci_width: Option<f64>,
    /// Whether a growing queue ends a scenario.
    pub stop_when_saturated: bool,
    /// The interface that is spoken.
    pub api: ApiPath,
    /// What counts tokens.
    pub tokenizer: Option<TokenizerSource>,
    /// Prompts from this file instead of synthetic ones.
    pub dataset: Option<PathBuf>,
    /// The share of each synthetic prompt that all have in common, 0 to 1.
    pub shared_prefix: f64,
    /// Turns of each conversation; `None` is one.
    pub turns: Option<NonZeroU32>,
    /// Pause between two turns.
    pub think_time: Duration,
    /// What a request has to meet to be good; empty when nothing was asked.
    pub objectives: Vec<Objective>,
    /// Threads of the load generator; `None` chooses.
    pub client_threads: Option<NonZeroUsize>,
    /// Key for the endpoint, sent as a bearer token.
    pub api_key: Option<Secret>,
}

/// Discarded requests, as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmupAsked {
    /// Until latencies are stable.
    Auto,
    /// Exactly this many; 0 is none.
    Requests(u32),
}

/// Which of the two OpenAI-compatible interfaces is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiPath {
    /// `/v1/chat/completions`.
    #[default]
    Chat,
    /// `/v1/completions`.
    Completions,
}

/// What counts tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerSource {
    /// A `tokenizer.json` on this host.
    Path(PathBuf),
    /// The server, where it has a way to ask.
    Server,
}

impl LoadSettings {
    /// Whether the load is described here and not by a suite.
    pub const fn is_custom(&self) -> bool {
        self.arrivals.is_some() || self.sweep.is_some() || self.duration.is_some()
    }
}

const ONE_LOAD: &str = "each describes the load by itself";
const SUITE: &str = "a suite's tests bring their own load; give one or the other";
const RECORDED: &str = "the trace brings its own";

/// Settings that exclude each other.
const EXCLUSIVE: &[(&str, &str, &str)] = &[
    ("concurrency", "request-rate", ONE_LOAD),
    ("concurrency", "rate-schedule", ONE_LOAD),
    ("concurrency", "trace", ONE_LOAD),
    ("concurrency", "sweep", ONE_LOAD),
    ("request-rate", "rate-schedule", ONE_LOAD),
    ("request-rate", "trace", ONE_LOAD),
    ("request-rate", "sweep", ONE_LOAD),
    ("rate-schedule", "trace", ONE_LOAD),
    ("rate-schedule", "sweep", ONE_LOAD),
    ("trace", "sweep", ONE_LOAD),
    (
        "concurrency",
        "arrivals",
        "a closed loop sends when a request ends",
    ),
    (
        "concurrency",
        "max-in-flight",
        "the concurrency is the limit already",
    ),
    ("trace", "arrivals", RECORDED),
    ("trace", "input-tokens", RECORDED),
    ("trace", "output-tokens", RECORDED),
    ("trace", "turns", RECORDED),
    (
        "dataset",
        "shared-prefix",
        "a dataset's prompts are sent as they are",
    ),
    ("suite", "concurrency", SUITE),
    ("suite", "request-rate", SUITE),
    ("suite", "rate-schedule", SUITE),
    ("suite", "trace", SUITE),
    ("suite", "duration", SUITE),
    ("suite", "sweep", SUITE),
    ("tests", "concurrency", SUITE),
    ("tests", "request-rate", SUITE),
    ("tests", "rate-schedule", SUITE),
    ("tests", "trace", SUITE),
    ("tests", "duration", SUITE),
    ("tests", "sweep", SUITE),
];

/// Reads the load's settings.
///
/// # Errors
/// A value that does not parse, settings that exclude each other, or one without the other that
/// it is about.
pub(super) fn resolve(layers: &Layers) -> Result<LoadSettings, ContextError> {
    exclusive(layers)?;
    let settings = LoadSettings {
        arrivals: arrivals(layers)?,
        sweep: layers.parse("sweep")?,
        process: layers.parse("arrivals")?.unwrap_or_default(),
        max_in_flight: layers.parse_with("max-in-flight", text::positive)?,
        duration: layers.parse_with("duration", text::long)?,
        warmup: layers.parse_with("warmup-requests", warmup)?,
        max_error_rate: layers.parse_with("max-error-rate", text::share)?,
        ci_width: layers.parse_with("ci-width", text::fraction)?,
        stop_when_saturated: layers.switch("stop-when-saturated")?,
        api: layers.parse("api")?.unwrap_or_default(),
        tokenizer: layers.text("tokenizer").map(tokenizer),
        dataset: layers.text("dataset").map(PathBuf::from),
        shared_prefix: layers
            .parse_with("shared-prefix", text::share)?
            .unwrap_or(0.0),
        turns: layers.parse_with("turns", text::positive)?,
        think_time: layers
            .parse_with("think-time", text::duration)?
            .unwrap_or_default(),
        objectives: layers
            .parse_with("slo", objective::objectives)?
            .unwrap_or_default(),
        client_threads: layers.parse_with("client-threads", threads)?.flatten(),
        api_key: layers.text("api-key").and_then(Secret::new),
    };
    complete(layers, &settings)?;
    Ok(settings)
}

fn exclusive(layers: &Layers) -> Result<(), ContextError> {
    let clash = EXCLUSIVE
        .iter()
        .find(|(left, right, _)| layers.given(left) && layers.given(right));
    if let Some(&(left, right, why)) = clash {
        return Err(ContextError::Conflict { left, right, why });
    }
    if layers.given("warmup-requests") && layers.switch("skip-warmup")? {
        return Err(ContextError::Conflict {
            left: "skip-warmup",
            right: "warmup-requests",
            why: "one asks for no warm-up, the other for some",
        });
    }
    Ok(())
}

fn arrivals(layers: &Layers) -> Result<Option<Arrivals>, ContextError> {
    let max_in_flight = layers.parse_with("max-in-flight", text::positive)?;
    if let Some(concurrency) = layers.parse_with("concurrency", text::positive)? {
        return Ok(Some(Arrivals::Closed { concurrency }));
    }
    if let Some(path) = layers.text("trace") {
        return Ok(Some(Arrivals::Replay {
            path: path.into(),
            digest: String::new(),
            speed: layers.parse_with("trace-speed", speed)?.unwrap_or(1.0),
            max_in_flight,
        }));
    }
    let rate = match layers.parse_with("request-rate", text::rate)? {
        Some(rps) => Some(Rate::Constant { rps }),
        None => layers.parse("rate-schedule")?,
    };
    let process: Process = layers.parse("arrivals")?.unwrap_or_default();
    Ok(rate.map(|rate| Arrivals::Open {
        rate,
        process,
        max_in_flight,
    }))
}

/// Refuses settings that say something about another one that is not there.
fn complete(layers: &Layers, settings: &LoadSettings) -> Result<(), ContextError> {
    let missing = |name, remedy: &str| {
        let remedy = remedy.to_owned();
        Err(ContextError::Missing { name, remedy })
    };
    let sweep = settings.sweep.as_ref();
    let open = match &settings.arrivals {
        Some(Arrivals::Open { .. } | Arrivals::Replay { .. }) => true,
        Some(Arrivals::Closed { .. }) | None => sweep.is_some_and(Sweep::is_open),
    };
    let conversation = settings.turns.is_some_and(|turns| turns.get() > 1);
    if layers.given("arrivals") && !open {
        return missing(
            "request-rate",
            "arrivals says how the requests of a rate scatter",
        );
    }
    if layers.given("max-in-flight") && !open && sweep.is_none() {
        return missing(
            "request-rate",
            "max-in-flight limits an open loop or a sweep",
        );
    }
    if settings.stop_when_saturated && !open {
        return missing(
            "request-rate",
            "stop-when-saturated watches whether the server keeps up with a rate",
        );
    }
    if layers.given("trace-speed") && !layers.given("trace") {
        return missing("trace", "trace-speed says how fast it is replayed");
    }
    if settings.think_time > Duration::ZERO && !conversation {
        return missing("turns", "think-time is the pause between two turns");
    }
    if matches!(sweep, Some(Sweep::Goodput { .. })) && settings.objectives.is_empty() {
        return missing(
            "slo",
            "a goodput search needs to know what is good, such as ttft_ms=200,tpot_ms=50",
        );
    }
    Ok(())
}

fn warmup(text: &str) -> Result<WarmupAsked, String> {
    let count = text.trim();
    match count.parse::<u32>() {
        Ok(number) if number <= text::MAX_COUNT => Ok(WarmupAsked::Requests(number)),
        Err(_) if count == "auto" => Ok(WarmupAsked::Auto),
        Ok(_) | Err(_) => Err(format!(
            "write auto or a whole number from 0 to {}",
            text::MAX_COUNT
        )),
    }
}

fn speed(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(speed) if (1e-3..=1e6).contains(&speed) => Ok(speed),
        Ok(_) | Err(_) => {
            Err("write a factor from 0.001 to 1000000; 2 is twice as fast".to_owned())
        }
    }
}

fn tokenizer(text: &str) -> TokenizerSource {
    match text.trim() {
        "server" => TokenizerSource::Server,
        path => TokenizerSource::Path(path.into()),
    }
}

fn threads(text: &str) -> Result<Option<NonZeroUsize>, String> {
    match text.trim().parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= 1024 => Ok(Some(threads)),
        Err(_) if text.trim() == "auto" => Ok(None),
        Ok(_) | Err(_) => Err("write auto or a whole number from 1 to 1024".to_owned()),
    }
}

impl FromStr for ApiPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "chat" => Ok(Self::Chat),
            "completions" => Ok(Self::Completions),
            _ => Err("write chat or completions".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EnvSnapshot, Quantity, resolve as inputs};
    use super::*;

    fn load(pairs: &[(&'static str, &str)]) -> Result<LoadSettings, ContextError> {
        let typed = pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        inputs(&typed, &EnvSnapshot::default()).map(|inputs| inputs.measure.load)
    }

    fn count(number: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(number)
    }

    #[test]
    fn without_settings_a_suite_brings_the_load() {
        let load = load(&[]).unwrap();
        assert!(!load.is_custom());
        assert_eq!(load.api, ApiPath::Chat);
        assert_eq!((load.turns, load.shared_prefix), (count(1), 0.0));
    }

    #[test]
    fn loops_become_arrivals() {
        let closed = load(&[("concurrency", "8")]).unwrap().arrivals.unwrap();
        assert_eq!(closed.concurrency(), count(8));
        let open = load(&[
            ("request-rate", "2.5"),
            ("arrivals", "gamma:2"),
            ("max-in-flight", "100"),
            ("duration", "30s"),
        ])
        .unwrap();
        assert_eq!(
            open.arrivals,
            Some(Arrivals::Open {
                rate: Rate::Constant { rps: 2.5 },
                process: Process::Gamma { cv: 2.0 },
                max_in_flight: count(100),
            })
        );
        assert_eq!(open.duration, Some(Duration::from_secs(30)));
        let replay = load(&[("trace", "a/b.csv"), ("trace-speed", "2")]).unwrap();
        let Some(Arrivals::Replay {
            path,
            digest,
            speed,
            ..
        }) = replay.arrivals
        else {
            panic!("no replay")
        };
        assert_eq!((path, digest.as_str(), speed), ("a/b.csv".into(), "", 2.0));
        assert!(load(&[("duration", "2m")]).unwrap().is_custom());
    }

    #[test]
    fn the_rest_is_read() {
        let all = load(&[
            ("sweep", "goodput"),
            ("slo", "ttft_ms=200,e2e_ms=5000"),
            ("warmup-requests", "auto"),
            ("max-error-rate", "0.1"),
            ("ci-width", "0.05"),
            ("stop-when-saturated", "true"),
            ("api", "completions"),
            ("tokenizer", "server"),
            ("turns", "3"),
            ("think-time", "500ms"),
            ("client-threads", "4"),
            ("api-key", "sk-x"),
        ])
        .unwrap();
        assert_eq!(all.sweep, Some(Sweep::Goodput { share: 0.99 }));
        assert_eq!(all.objectives[1].quantity, Quantity::E2e);
        assert_eq!(all.warmup, Some(WarmupAsked::Auto));
        assert_eq!((all.max_error_rate, all.ci_width), (Some(0.1), Some(0.05)));
        assert_eq!(all.api, ApiPath::Completions);
        assert_eq!(all.tokenizer, Some(TokenizerSource::Server));
        assert_eq!(all.think_time, Duration::from_millis(500));
        assert_eq!(all.client_threads.unwrap().get(), 4);
        assert_eq!(all.api_key.as_ref().unwrap().expose(), "sk-x");
        assert!(!format!("{all:?}").contains("sk-x"));
        assert_eq!(
            load(&[("tokenizer", "t.json")]).unwrap().tokenizer,
            Some(TokenizerSource::Path("t.json".into()))
        );
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        let pairs: [[(&str, &str); 2]; 9] = [
            [("concurrency", "8"), ("request-rate", "2")],
            [("sweep", "rate"), ("request-rate", "2")],
            [("concurrency", "8"), ("sweep", "concurrency")],
            [("concurrency", "8"), ("arrivals", "poisson")],
            [("trace", "x"), ("output-tokens", "7")],
            [("suite", "quick"), ("concurrency", "8")],
            [("tests", "latency"), ("duration", "10s")],
            [("dataset", "x"), ("shared-prefix", "0.5")],
            [("skip-warmup", "true"), ("warmup-requests", "3")],
        ];
        for pair in pairs {
            let error = load(&pair).unwrap_err().to_string();
            for (name, _) in pair {
                assert!(error.contains(name), "{pair:?}: {error}");
            }
            assert!(error.contains("cannot be used together"), "{error}");
        }
    }

    #[test]
    fn what_is_about_nothing_is_refused() {
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[("arrivals", "poisson")], "request-rate"),
            (
                &[("arrivals", "poisson"), ("sweep", "concurrency")],
                "request-rate",
            ),
            (&[("max-in-flight", "8")], "request-rate"),
            (
                &[("stop-when-saturated", "true"), ("concurrency", "2")],
                "request-rate",
            ),
            (&[("trace-speed", "2")], "trace"),
            (&[("think-time", "1s")], "turns"),
            (&[("sweep", "goodput")], "slo"),
        ];
        for (pairs, says) in cases {
            let error = load(pairs).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{says} is not set")), "{error}");
        }
    }

    #[test]
    fn wrong_values_name_their_setting() {
        for (name, value) in [
            ("concurrency", "0"),
            ("request-rate", "inf"),
            ("rate-schedule", "5"),
            ("duration", "soon"),
            ("warmup-requests", "-1"),
            ("max-error-rate", "2"),
            ("ci-width", "0"),
            ("api", "responses"),
            ("turns", "0"),
            ("slo", "fast"),
            ("sweep", "all"),
            ("client-threads", "0"),
        ] {
            let error = load(&[(name, value)]).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{name} (from flag --{name})")),
                "{error}"
            );
        }
    }
}
