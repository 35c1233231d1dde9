//! Settings about this machine: its Docker daemon, its GPUs and what they cost.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{ContextError, EnvSnapshot, Layers, text};

/// Variables of the runner that an engine on this host gets; everything else may hold secrets.
const PASSED_ON: [&str; 12] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "CUDA_PATH",
    "ROCM_PATH",
    "VIRTUAL_ENV",
    "PYTHONPATH",
];

/// What is particular to this machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where the Docker daemon may be found.
    pub docker: DockerPlace,
    /// How long to wait for GPUs that somebody else uses.
    pub wait_for_gpu: Duration,
    /// Folder of the GPU locks.
    pub lock_dir: PathBuf,
    /// What watches the GPUs.
    pub telemetry: TelemetryChoice,
    /// Whether a run without watched GPUs fails.
    pub require_telemetry: bool,
    /// Whether the power of the idle engine is measured first.
    pub idle_power: bool,
    /// What the GPUs cost.
    pub prices: Prices,
    /// Environment of engines that run on this host.
    pub passed_on: BTreeMap<String, String>,
    /// The runner's labels (`KITT_RUNNER_LABELS`, separated by commas): no job is told them.
    pub runner_labels: Vec<String>,
}

/// What the environment and the settings say about where the Docker daemon is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerPlace {
    /// An address that was asked for (the setting, else `DOCKER_HOST`): nothing else is tried.
    pub host: Option<String>,
    /// Docker context that was asked for (`DOCKER_CONTEXT`).
    pub context: Option<String>,
    /// Docker's own folder with `config.json` (`DOCKER_CONFIG`, else `~/.docker`).
    pub config_dir: Option<PathBuf>,
    /// The user's runtime folder (`XDG_RUNTIME_DIR`), where rootless daemons listen.
    pub runtime_dir: Option<PathBuf>,
}

impl DockerPlace {
    /// One address and nothing else.
    pub fn at(host: impl Into<String>) -> Self {
        Self {
            host: Some(host.into()),
            ..Self::default()
        }
    }
}

/// What watches the GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TelemetryChoice {
    /// The first of NVML, nvidia-smi and AMD's tools that works.
    Auto,
    /// NVML or nothing.
    Nvml,
    /// `nvidia-smi` or nothing.
    NvidiaSmi,
    /// AMD's `amd-smi`, or what the kernel tells.
    AmdSmi,
    /// A recorded trace.
    Replay(PathBuf),
    /// Nothing.
    Off,
}

/// What the user pays. `None`: not told, and nothing is made up.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// One GPU for an hour.
    pub gpu_hour: Option<f64>,
    /// A kilowatt-hour.
    pub kwh: Option<f64>,
    /// Currency of both.
    pub currency: String,
    /// Where they come from and of which day.
    pub source: Option<String>,
}

impl Prices {
    /// In words, such as `2.5 EUR for a GPU hour (contract of May)`; `None` when nothing is told.
    pub fn described(&self) -> Option<String> {
        let price = |amount: Option<f64>, of: &str| {
            amount.map(|amount| format!("{amount} {} for {of}", self.currency))
        };
        let told = [price(self.gpu_hour, "a GPU hour"), price(self.kwh, "a kWh")];
        let told: Vec<String> = told.into_iter().flatten().collect();
        let source = self.source.as_ref().map(|source| format!(" ({source})"));
        (!told.is_empty()).then(|| told.join(", ") + &source.unwrap_or_default())
    }
}

pub(super) fn resolve(layers: &Layers, env: &EnvSnapshot) -> Result<Machine, ContextError> {
    let temporary = || PathBuf::from(env.get("TMPDIR").unwrap_or("/tmp"));
    Ok(Machine {
        docker: docker(layers, env),
        wait_for_gpu: layers
            .parse_with("wait-for-gpu", text::duration)?
            .unwrap_or_default(),
        lock_dir: layers
            .parse_with("lock-dir", text::folder)?
            .unwrap_or_else(|| temporary().join("kitt-locks")),
        telemetry: layers
            .parse_with("telemetry", telemetry)?
            .unwrap_or(TelemetryChoice::Auto),
        require_telemetry: layers.switch("require-telemetry")?,
        idle_power: layers.switch("idle-power")?,
        prices: Prices {
            gpu_hour: layers.parse_with("gpu-hour-price", price)?,
            kwh: layers.parse_with("kwh-price", price)?,
            currency: layers
                .parse_with("currency", currency)?
                .unwrap_or_else(|| "USD".to_owned()),
            source: layers.text("price-source").map(str::to_owned),
        },
        passed_on: PASSED_ON
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), env.get(name)?.to_owned())))
            .collect(),
        runner_labels: labels(env.get("KITT_RUNNER_LABELS").unwrap_or_default()),
    })
}

/// `DOCKER_TLS_VERIFY` asks for TLS, which must not be ignored in silence: as `https` the address
/// is refused with a reason.
fn docker(layers: &Layers, env: &EnvSnapshot) -> DockerPlace {
    let host = layers
        .text("docker-host")
        .or_else(|| env.get("DOCKER_HOST"));
    let host = host.map(|host| match host.strip_prefix("tcp://") {
        Some(address) if env.get("DOCKER_TLS_VERIFY").is_some() => format!("https://{address}"),
        Some(_) | None => host.to_owned(),
    });
    let home = || Some(PathBuf::from(env.get("HOME")?).join(".docker"));
    DockerPlace {
        host,
        context: env.get("DOCKER_CONTEXT").map(str::to_owned),
        config_dir: env.get("DOCKER_CONFIG").map(PathBuf::from).or_else(home),
        runtime_dir: env.get("XDG_RUNTIME_DIR").map(PathBuf::from),
    }
}

/// Labels separated by commas, sorted; nothing that could break a table.
fn labels(text: &str) -> Vec<String> {
    let keep = |c: &char| c.is_alphanumeric() || "._-".contains(*c);
    let shortened = |label: String| label.chars().filter(keep).take(80).collect();
    let mut labels: Vec<String> = text::list(text).into_iter().map(shortened).collect();
    labels.retain(|label| !label.is_empty());
    labels.sort();
    labels.dedup();
    labels
}

fn telemetry(text: &str) -> Result<TelemetryChoice, String> {
    match text.trim() {
        "auto" => Ok(TelemetryChoice::Auto),
        "nvml" => Ok(TelemetryChoice::Nvml),
        "nvidia-smi" => Ok(TelemetryChoice::NvidiaSmi),
        "amd-smi" => Ok(TelemetryChoice::AmdSmi),
        "off" => Ok(TelemetryChoice::Off),
        other => match other.strip_prefix("replay:") {
            Some(file) if !file.is_empty() => Ok(TelemetryChoice::Replay(file.into())),
            Some(_) | None => {
                Err("write auto, nvml, nvidia-smi, amd-smi, off or replay:FILE".to_owned())
            }
        },
    }
}

fn price(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(price) if price > 0.0 && price < 1e6 => Ok(price),
        Ok(_) | Err(_) => Err("write a price above 0, such as 2.49".to_owned()),
    }
}

fn currency(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(text.to_owned())
    } else {
        Err("write a currency as three capitals, such as EUR".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_and_prices_are_read_and_garbage_is_refused() {
        assert_eq!(
            telemetry("replay:a.zst"),
            Ok(TelemetryChoice::Replay("a.zst".into()))
        );
        assert!(telemetry("replay:").is_err() && telemetry("nvm").is_err());
        assert_eq!(price(" 2.5 "), Ok(2.5));
        assert!(price("0").is_err() && price("NaN").is_err() && price("1e9").is_err());
        assert!(currency("eur").is_err() && currency("EURO").is_err());
    }

    #[test]
    fn prices_are_told_with_their_source() {
        let mut prices = Prices {
            gpu_hour: None,
            kwh: None,
            currency: "EUR".into(),
            source: Some("contract of May".into()),
        };
        assert_eq!(prices.described(), None);
        prices.gpu_hour = Some(2.5);
        prices.kwh = Some(0.3);
        assert_eq!(
            prices.described().unwrap(),
            "2.5 EUR for a GPU hour, 0.3 EUR for a kWh (contract of May)"
        );
    }

    #[test]
    fn only_harmless_variables_are_passed_on() {
        let env: EnvSnapshot = [("PATH", "/bin"), ("GITHUB_TOKEN", "x"), ("HOME", "/h")]
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        let machine = resolve(&Layers::default(), &env).unwrap();
        let names: Vec<_> = machine.passed_on.keys().collect();
        assert_eq!(names, ["HOME", "PATH"]);
        assert_eq!(machine.docker.config_dir, Some("/h/.docker".into()));
        assert_eq!(machine.lock_dir, PathBuf::from("/tmp/kitt-locks"));
    }

    #[test]
    fn labels_are_sorted_and_harmless() {
        assert_eq!(labels("h100, gpu ,,gpu,a|b\n"), ["ab", "gpu", "h100"]);
        assert!(labels(" , ").is_empty());
    }
}
