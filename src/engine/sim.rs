//! The simulated engine: an OpenAI-compatible server with known latencies.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    About, ApiTraits, ContainerSpec, Engine, Hub, ImageSource, Images, LaunchError, LaunchRequest,
    LaunchSpec, Mode, Target,
};
use crate::ids;

/// Parameters of the simulated engine's scheduler. Times in milliseconds.
///
/// A prefill yields a request's first token and takes
/// `(prefill_base_ms + prefill_per_token_ms * prompt_tokens) * run * noise`; a decode yields one
/// more token for every sequence that was running already and takes
/// `(decode_base_ms + decode_per_sequence_ms * batch) * (1 + slowdown) * run * noise`. A step is
/// its prefills, then its decode. `noise` is lognormal with mean 1 and coefficient of variation
/// `noise_cv`, drawn for every prefill and every decode; `run` likewise with `run_cv`, drawn once
/// per server. `sim`'s module documentation has the whole model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimSpec {
    /// The name listed by `/v1/models`.
    pub model: String,
    /// Seed of all noise.
    pub seed: u64,
    /// Fixed part of a prefill.
    pub prefill_base_ms: f64,
    /// Prefill time per prompt token.
    pub prefill_per_token_ms: f64,
    /// Fixed part of a decode.
    pub decode_base_ms: f64,
    /// Added to a decode by each sequence that it covers.
    pub decode_per_sequence_ms: f64,
    /// Sequences running together; more wait in a queue.
    pub max_batch: u32,
    /// Coefficient of variation of one prefill or decode.
    pub noise_cv: f64,
    /// Coefficient of variation between servers.
    pub run_cv: f64,
    /// Known regression of the decode: 0.08 is 8 % slower. At least -0.9. The time to the first
    /// token of a request alone does not change with it.
    pub slowdown: f64,
    /// Time until `/health` answers 200.
    pub startup_ms: f64,
    /// Share of requests answered with status 500, drawn per request; 0 to 1.
    pub error_rate: f64,
    /// Share of streams cut after half their tokens, drawn per request; 0 to 1. A request that
    /// is not streamed is never cut.
    pub truncate_rate: f64,
}

impl Default for SimSpec {
    /// A small engine: 13 ms to the first token of a prompt of a hundred, 6 ms a token alone,
    /// 9 ms in a batch of sixteen.
    fn default() -> Self {
        Self {
            model: "sim".to_owned(),
            seed: 0,
            prefill_base_ms: 8.0,
            prefill_per_token_ms: 0.05,
            decode_base_ms: 6.0,
            decode_per_sequence_ms: 0.2,
            max_batch: 64,
            noise_cv: 0.02,
            run_cv: 0.003,
            slowdown: 0.0,
            startup_ms: 0.0,
            error_rate: 0.0,
            truncate_rate: 0.0,
        }
    }
}

impl SimSpec {
    /// Changes parameters as `--name=value` arguments ask, `--decode-base-ms=8` for example;
    /// `--served-model` is the model's name. The inverse of [`SimSpec::argv`].
    ///
    /// # Errors
    /// An argument that is not of that form, an unknown parameter or a value of the wrong kind.
    pub fn with_args(&self, args: &[String]) -> Result<Self, LaunchError> {
        let mut values = serde_json::to_value(self).unwrap_or_default();
        let wrong = |argument: &str, why: String| LaunchError::Argument {
            engine: "sim",
            argument: argument.chars().take(80).collect(),
            why,
        };
        for argument in args {
            let Some((name, value)) = argument.strip_prefix("--").and_then(|a| a.split_once('='))
            else {
                return Err(wrong(argument, "write it as --name=value".to_owned()));
            };
            let key = if name == "served-model" {
                "model".to_owned()
            } else {
                name.replace('-', "_")
            };
            let Some(slot) = values.get_mut(&key) else {
                let known = Self::parameters();
                let close = ids::closest(name, known.iter().map(String::as_str));
                let hint = close
                    .map(|name| format!("; did you mean `--{name}`?"))
                    .unwrap_or_default();
                let why = format!("no such parameter; known: {}{hint}", known.join(", "));
                return Err(wrong(argument, why));
            };
            *slot = if slot.is_string() {
                value.into()
            } else {
                serde_json::from_str(value).map_err(|error| wrong(argument, error.to_string()))?
            };
        }
        serde_json::from_value(values).map_err(|error| wrong(&args.join(" "), error.to_string()))
    }

    /// Names of all parameters, as they are typed.
    pub fn parameters() -> Vec<String> {
        let values = serde_json::to_value(Self::default()).unwrap_or_default();
        let keys = values
            .as_object()
            .map(|map| map.keys().cloned().collect::<Vec<_>>());
        let name = |key: String| {
            if key == "model" {
                "served-model".to_owned()
            } else {
                key.replace('_', "-")
            }
        };
        keys.unwrap_or_default().into_iter().map(name).collect()
    }

    /// The arguments with which `kitt sim` becomes this engine, in a container or on the host.
    pub fn argv(&self, host: &str, port: u16) -> Vec<String> {
        let pairs = [
            ("--host", host.to_owned()),
            ("--port", port.to_string()),
            ("--served-model", self.model.clone()),
            ("--seed", self.seed.to_string()),
            ("--prefill-base-ms", self.prefill_base_ms.to_string()),
            (
                "--prefill-per-token-ms",
                self.prefill_per_token_ms.to_string(),
            ),
            ("--decode-base-ms", self.decode_base_ms.to_string()),
            (
                "--decode-per-sequence-ms",
                self.decode_per_sequence_ms.to_string(),
            ),
            ("--max-batch", self.max_batch.to_string()),
            ("--noise-cv", self.noise_cv.to_string()),
            ("--run-cv", self.run_cv.to_string()),
            ("--slowdown", self.slowdown.to_string()),
            ("--startup-ms", self.startup_ms.to_string()),
            ("--error-rate", self.error_rate.to_string()),
            ("--truncate-rate", self.truncate_rate.to_string()),
        ];
        // `--flag=value` keeps a negative slowdown from being read as an option.
        let flags = pairs
            .into_iter()
            .map(|(flag, value)| format!("{flag}={value}"));
        std::iter::once("sim".to_owned()).chain(flags).collect()
    }
}

/// The seed of a simulated engine's noise; `None` for every other engine.
pub fn noise_seed(target: &Target) -> Option<u64> {
    match target {
        Target::InProcess(spec) => Some(spec.seed),
        Target::Container(container) if container.entrypoint == [PROGRAM] => container
            .args
            .iter()
            .find_map(|arg| arg.strip_prefix(SEED)?.parse().ok()),
        Target::Container(_) | Target::Process(_) | Target::Endpoint(_) => None,
    }
}

/// Gives a simulated engine another seed: a fresh server draws fresh noise, as a real one does.
/// Others stay as they are.
pub fn set_noise_seed(target: &mut Target, seed: u64) {
    match target {
        Target::InProcess(spec) => spec.seed = seed,
        Target::Container(container) if container.entrypoint == [PROGRAM] => {
            set_seed_argument(&mut container.args, seed);
        }
        Target::Container(_) | Target::Process(_) | Target::Endpoint(_) => {}
    }
}

/// Replaces the seed in the arguments of `kitt sim`.
pub fn set_seed_argument(args: &mut [String], seed: u64) {
    for arg in args {
        if arg.starts_with(SEED) {
            *arg = format!("{SEED}{seed}");
        }
    }
}

/// The simulator's program in its image.
const PROGRAM: &str = "/kitt";
/// The argument that holds the seed.
const SEED: &str = "--seed=";

/// Descriptor of the simulated engine.
pub(super) struct Sim;

/// Port of the simulator inside its container.
const PORT: u16 = 8000;

static ABOUT: About = About {
    name: "sim",
    aliases: &[],
    summary: "built-in simulated engine with known latencies; needs no GPU, model or network",
    modes: &[Mode::Native, Mode::Docker],
    formats: &[],
    quantisations: &[],
    hub: Hub::None,
    // Its image is made of the running binary.
    images: Images {
        cuda: None,
        rocm: None,
        cpu: None,
    },
    port: PORT,
    command: &[],
    version: &[],
};

impl Engine for Sim {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        if request.endpoint.is_some() {
            return Err(LaunchError::Unsupported {
                engine: "sim",
                what: "measure an endpoint",
                remedy: "use engine `openai` for a server that runs already",
            });
        }
        let own = SimSpec {
            model: request.model.to_string(),
            seed: request.seed,
            ..request.sim.clone()
        };
        let spec = own.with_args(&request.args)?;
        let served_model = spec.model.clone();
        let target = match request.mode.unwrap_or(Mode::Native) {
            Mode::Native => Target::InProcess(spec),
            Mode::Docker => Target::Container(Box::new(container(request, &spec))),
        };
        let mut request_extras = serde_json::Map::new();
        request_extras.insert("ignore_eos".into(), true.into());
        Ok(LaunchSpec {
            target,
            api: ApiTraits {
                request_extras,
                exact_length: true,
                metrics_path: Some("/metrics"),
                ..ApiTraits::openai(served_model)
            },
            startup_timeout: request.startup_timeout.unwrap_or(Duration::from_secs(30)),
        })
    }
}

fn container(request: &LaunchRequest, spec: &SimSpec) -> ContainerSpec {
    let image = request
        .image
        .clone()
        .map_or(ImageSource::RunningBinary, ImageSource::Reference);
    ContainerSpec {
        entrypoint: vec![PROGRAM.to_owned()],
        args: spec.argv("0.0.0.0", PORT),
        env: request.env.clone(),
        gpus: request.gpus.clone(),
        memory: request.memory,
        cpuset: request.cpuset.clone(),
        shm: request.shm,
        offline: request.offline,
        ..ContainerSpec::new(image, PORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_change_parameters_and_back() {
        let args = [
            "--slowdown=-0.05".to_owned(),
            "--served-model=m".to_owned(),
            "--max-batch=4".to_owned(),
        ];
        let spec = SimSpec::default().with_args(&args).unwrap();
        assert_eq!(
            (spec.slowdown, spec.model.as_str(), spec.max_batch),
            (-0.05, "m", 4)
        );
        let typed = spec.argv("0.0.0.0", 1);
        assert_eq!(SimSpec::default().with_args(&typed[3..]).unwrap(), spec);
    }

    #[test]
    fn another_seed_reaches_the_server_wherever_it_runs() {
        for mode in [Mode::Native, Mode::Docker] {
            let request = LaunchRequest {
                mode: Some(mode),
                seed: 7,
                ..LaunchRequest::new("m".parse().unwrap())
            };
            let mut target = Sim.launch(&request).unwrap().target;
            assert_eq!(noise_seed(&target), Some(7));
            set_noise_seed(&mut target, 1 << 40);
            assert_eq!(noise_seed(&target), Some(1 << 40));
        }
        let mut other = Target::Endpoint("http://localhost".parse().unwrap());
        set_noise_seed(&mut other, 1);
        assert_eq!(noise_seed(&other), None);
    }

    #[test]
    fn a_wrong_argument_names_itself_and_the_closest() {
        let error = |text: &str| {
            SimSpec::default()
                .with_args(&[text.to_owned()])
                .unwrap_err()
                .to_string()
        };
        assert!(error("--slowdwn=1").contains("did you mean `--slowdown`?"));
        assert!(error("--slowdown=much").contains("--slowdown=much"));
        assert!(error("slowdown").contains("--name=value"));
    }

    #[test]
    fn every_parameter_has_an_argument_with_its_value() {
        let spec = SimSpec {
            slowdown: -0.05,
            error_rate: 0.25,
            ..SimSpec::default()
        };
        let argv = spec.argv("127.0.0.1", 0);
        let serde_json::Value::Object(fields) = serde_json::to_value(&spec).unwrap() else {
            panic!("a struct is an object");
        };
        for (name, value) in &fields {
            let (flag, text) = match value.as_f64() {
                // The model's flag is named after what vLLM calls it.
                None => ("--served-model".to_owned(), "sim".to_owned()),
                Some(number) => (format!("--{}", name.replace('_', "-")), number.to_string()),
            };
            assert!(
                argv.contains(&format!("{flag}={text}")),
                "{flag}={text} is missing"
            );
        }
        // `sim`, host and port beside the parameters.
        assert_eq!(argv.len(), fields.len() + 3);
    }
}
