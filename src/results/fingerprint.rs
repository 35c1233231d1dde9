//! What makes two results comparable.
//!
//! The strict part must be equal on both sides; the soft part is shown when it differs. The
//! split follows `research/docker-gpu.md` §4 for a pull request, where engine, image and
//! arguments are what is under test: they are soft. Nothing in it names a person, a host or a
//! serial number.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{HostFacts, Provenance};
use crate::{
    engine::Mode,
    plan::{Arrivals, PromptSource, Scenario},
    telemetry::GpuInfo,
};

/// How kitt measures. Raised when the same server would give other numbers than before.
pub const METHOD: &str = "kitt-action/2";

/// How KITT, the Python project, measures: its throughputs are means of ratios over whole
/// latencies, so they are never compared with ours.
pub(super) const KITT_METHOD: &str = "kitt";

/// Facts about host, engine and workload, as sorted key and value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Must be equal for a comparison: GPU model and count, CPU model, engine, model, workload.
    pub strict: BTreeMap<String, String>,
    /// May differ, and is shown when it does: driver minor version, image, engine arguments,
    /// kernel.
    pub soft: BTreeMap<String, String>,
}

impl Fingerprint {
    /// SHA-256 of the strict part's canonical JSON, as hexadecimal digits. Equal digests mean
    /// comparable results.
    pub fn digest(&self) -> String {
        sha256(&self.strict)
    }

    /// Takes over what became known about the engine and the code under test. Keys that the
    /// provenance does not know keep their value.
    pub fn set_provenance(&mut self, provenance: &Provenance) {
        let arguments = &provenance.engine_args;
        let joined = (!arguments.is_empty()).then(|| arguments.join(" "));
        let facts = [
            ("client.version", provenance.kitt_version.clone()),
            ("engine.image", provenance.image.clone()),
            ("engine.digest", provenance.image_digest.clone()),
            ("engine.version", provenance.engine_version.clone()),
            ("engine.args", joined),
            ("source.commit", provenance.commit.clone()),
        ];
        insert(&mut self.soft, facts);
    }
}

/// What was measured, beside the machine.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// How it was measured: [`METHOD`].
    pub method: &'a str,
    /// The engine's name.
    pub engine: &'a str,
    /// Container or host; `None` when unknown or when the engine runs elsewhere.
    pub mode: Option<Mode>,
    /// The model as it was typed.
    pub model: &'a str,
    /// [`workload_digest`] of what was sent; `None` when unknown.
    pub workload: Option<&'a str>,
}

/// The fingerprint of a machine and what was measured on it.
/// [`Fingerprint::set_provenance`] adds what is known only once the engine runs.
pub fn fingerprint(host: &HostFacts, subject: &Subject<'_>) -> Fingerprint {
    let mode = subject.mode.map(|mode| match mode {
        Mode::Docker => "docker",
        Mode::Native => "native",
    });
    let text = |number: Option<u32>| number.map(|number| number.to_string());
    let mut print = Fingerprint::default();
    insert(&mut print.strict, gpu_identity(&host.gpus));
    insert(
        &mut print.strict,
        [
            ("measurement.method", Some(subject.method.to_owned())),
            ("engine.name", Some(subject.engine.to_owned())),
            ("engine.mode", mode.map(str::to_owned)),
            ("model", Some(subject.model.to_owned())),
            ("workload", subject.workload.map(str::to_owned)),
            ("cpu.model", host.cpu_model.clone()),
            ("cpu.cores", text(host.cores)),
            ("cpu.threads", text(host.threads)),
            ("ram.class_gib", host.ram_gb.map(ram_class)),
            ("host.environment", host.environment_type.clone()),
            (
                "host.virtual",
                host.virtual_machine.map(|yes| yes.to_string()),
            ),
        ],
    );
    let storage = host.storage.as_ref();
    insert(
        &mut print.soft,
        [
            ("gpu.driver", joined(&host.gpus, |gpu| gpu.driver.clone())),
            (
                "gpu.cuda",
                joined(&host.gpus, |gpu| gpu.cuda_driver.clone()),
            ),
            ("host.os", host.os.clone()),
            ("host.kernel", host.kernel.clone()),
            ("ram.type", host.ram_type.clone()),
            ("storage", storage.map(|disk| disk.model.clone())),
        ],
    );
    print
}

/// Digest of what is sent: scenarios, their order, the seed of the prompts and whether they are
/// warmed up. 16 hexadecimal digits. A file counts by the digest of its content: where it lies
/// is the runner's business.
pub fn workload_digest(scenarios: &[Scenario], seed: u64, skip_warmup: bool) -> String {
    let scenarios: Vec<Scenario> = scenarios.iter().map(without_paths).collect();
    sha256(&(scenarios, seed, skip_warmup))
        .chars()
        .take(16)
        .collect()
}

fn without_paths(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    if let Arrivals::Replay { path, .. } = &mut scenario.arrivals {
        *path = PathBuf::new();
    }
    if let PromptSource::Dataset { path, .. } = &mut scenario.prompts {
        *path = PathBuf::new();
    }
    scenario
}

fn sha256(value: &impl Serialize) -> String {
    // Maps of strings and plain structs always serialise; a path need not, and none is left.
    let canonical = serde_json::to_vec(value).unwrap_or_default();
    format!("{:x}", Sha256::digest(canonical))
}

fn insert<const N: usize>(
    map: &mut BTreeMap<String, String>,
    facts: [(&'static str, Option<String>); N],
) {
    let known = facts
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    map.extend(known);
}

fn gpu_identity(gpus: &[GpuInfo]) -> [(&'static str, Option<String>); 8] {
    let gib = |bytes: u64| (bytes as f64 / f64::from(1_u32 << 30)).round();
    let major = |version: &String| version.split('.').next().map(str::to_owned);
    [
        ("gpu.count", Some(gpus.len().to_string())),
        ("gpu.name", joined(gpus, |gpu| Some(gpu.name.clone()))),
        (
            "gpu.memory_gib",
            joined(gpus, |gpu| gpu.memory_total.map(|b| gib(b).to_string())),
        ),
        (
            "gpu.compute_capability",
            joined(gpus, |gpu| {
                gpu.compute_capability
                    .map(|(major, minor)| format!("{major}.{minor}"))
            }),
        ),
        (
            "gpu.power_limit_w",
            joined(gpus, |gpu| {
                gpu.power_limit_mw
                    .map(|mw| (f64::from(mw) / 1e3).round().to_string())
            }),
        ),
        (
            "gpu.mig",
            joined(gpus, |gpu| gpu.mig.map(|on| on.to_string())),
        ),
        (
            "gpu.ecc",
            joined(gpus, |gpu| gpu.ecc.map(|on| on.to_string())),
        ),
        (
            "gpu.driver_major",
            joined(gpus, |gpu| gpu.driver.as_ref().and_then(major)),
        ),
    ]
}

/// One value when all GPUs agree, else the different ones, sorted.
fn joined(gpus: &[GpuInfo], get: impl Fn(&GpuInfo) -> Option<String>) -> Option<String> {
    let values: BTreeSet<String> = gpus.iter().filter_map(get).collect();
    let values: Vec<String> = values.into_iter().collect();
    (!values.is_empty()).then(|| values.join(" + "))
}

/// Memory as it is bought. The kernel keeps a little for itself, and how much changes with its
/// version, so the size is rounded up to the step modules come in: 4 GiB up to 32, 8 up to 128,
/// 32 above.
fn ram_class(gib: u64) -> String {
    // `ram_gb` was rounded down: 62 stands for anything from 62 up to 63.
    let size = gib.saturating_add(1);
    let step = match size {
        0..=32 => 4,
        33..=128 => 8,
        _ => 32,
    };
    size.div_ceil(step).saturating_mul(step).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(driver: &str) -> GpuInfo {
        GpuInfo {
            uuid: "GPU-1".into(),
            name: "NVIDIA H100 80GB HBM3".into(),
            memory_total: Some(85_520_809_984), // 79.65 GiB
            compute_capability: Some((9, 0)),
            power_limit_mw: Some(700_000),
            mig: Some(false),
            ecc: Some(true),
            driver: Some(driver.into()),
            cuda_driver: Some("12.4".into()),
        }
    }

    fn print(host: &HostFacts) -> Fingerprint {
        let subject = Subject {
            method: METHOD,
            engine: "vllm",
            mode: Some(Mode::Docker),
            model: "org/model",
            workload: Some("abc"),
        };
        fingerprint(host, &subject)
    }

    fn host(driver: &str, gpus: usize) -> HostFacts {
        HostFacts {
            gpus: vec![gpu(driver); gpus],
            cpu_model: Some("AMD EPYC 9654".into()),
            ram_gb: Some(503),
            ..HostFacts::default()
        }
    }

    #[test]
    fn a_driver_patch_is_soft_and_a_driver_generation_strict() {
        let base = print(&host("550.90.07", 1));
        let patch = print(&host("550.120", 1));
        let major = print(&host("570.10", 1));
        assert_eq!(base.digest(), patch.digest());
        assert_ne!(base.soft, patch.soft);
        assert_ne!(base.digest(), major.digest());
    }

    #[test]
    fn another_machine_is_not_comparable() {
        let base = print(&host("550.90.07", 1));
        assert_ne!(base.digest(), print(&host("550.90.07", 2)).digest());
        assert_ne!(base.digest(), print(&HostFacts::default()).digest());
        assert_eq!(base.strict["gpu.memory_gib"], "80");
        assert_eq!(base.strict["gpu.power_limit_w"], "700");
    }

    #[test]
    fn what_is_under_test_is_soft() {
        let base = print(&host("550.90.07", 1));
        let mut other = base.clone();
        other.set_provenance(&Provenance {
            image_digest: Some("sha256:1".into()),
            engine_args: vec!["--max-model-len".into(), "4096".into()],
            commit: Some("c".into()),
            ..Provenance::default()
        });
        assert_eq!(base.digest(), other.digest());
        assert_eq!(other.soft["engine.args"], "--max-model-len 4096");
    }

    #[test]
    fn memory_falls_into_the_class_it_was_bought_as() {
        for (gib, class) in [(7, "8"), (15, "16"), (62, "64"), (125, "128"), (503, "512")] {
            assert_eq!(ram_class(gib), class);
        }
    }

    #[test]
    fn no_uuid_reaches_a_fingerprint() {
        let text = serde_json::to_string(&print(&host("550.90.07", 1))).unwrap();
        assert!(!text.contains("GPU-1"));
    }

    #[test]
    fn the_workload_digest_sees_seed_and_order() {
        assert_ne!(
            workload_digest(&[], 1, false),
            workload_digest(&[], 2, false)
        );
        assert_eq!(workload_digest(&[], 1, false).len(), 16);
    }

    #[test]
    fn a_file_counts_by_its_content_and_not_by_its_place() {
        let one = std::num::NonZeroU32::MIN;
        let scenario = |path: PathBuf, digest: &str, speed: f64| Scenario {
            arrivals: Arrivals::Replay {
                path: path.clone(),
                digest: digest.to_owned(),
                speed,
                max_in_flight: None,
            },
            prompts: PromptSource::Dataset {
                path,
                digest: digest.to_owned(),
            },
            ..Scenario::closed(
                "latency".parse().unwrap(),
                crate::plan::Test::ALL[0],
                one,
                one,
                crate::plan::Warmup::Off,
                (one, one),
            )
        };
        let digest = |path: PathBuf, digest: &str, speed: f64| {
            workload_digest(&[scenario(path, digest, speed)], 1, false)
        };
        let base = digest("a/trace".into(), "d1", 1.0);
        assert_eq!(base, digest("b/trace".into(), "d1", 1.0));
        assert_ne!(base, digest("a/trace".into(), "d2", 1.0));
        assert_ne!(base, digest("a/trace".into(), "d1", 2.0));
    }
}
