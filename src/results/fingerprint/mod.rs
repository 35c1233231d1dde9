//! What makes two results comparable.
//!
//! The strict part must be equal on both sides; the soft part is shown when it differs. For a
//! pull request engine version, image and arguments are what is under test: they are soft.
//! [`KEYS`] lists every key with its part and meaning, and `docs/fingerprint.md` is made of it.
//! Nothing in a fingerprint names a person, a host or a serial number.

mod gpu;
mod ids;
mod keys;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{HostFacts, Provenance};
use crate::{
    engine::Mode,
    plan::{Arrivals, PromptSource, Scenario},
};

pub use ids::{BoardIds, IdKey};
pub use keys::{KEYS, Key, Part, key};

/// Version of the form that the keys' digests are taken over. Raised when a key changes its
/// meaning; a new key does not raise it.
pub const SCHEMA: u32 = 2;

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
    /// Keyed hashes of the boards; `None` when nobody gave a key. Never compared as a condition:
    /// another board of the same kind is as good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<BoardIds>,
}

impl Fingerprint {
    /// SHA-256 of the strict part's canonical JSON, as hexadecimal digits. Equal digests mean
    /// comparable results.
    pub fn digest(&self) -> String {
        sha256(&self.strict)
    }

    /// Digest of the hardware alone, for trends across engines and workloads: SHA-256 of the
    /// canonical JSON (sorted keys, no blanks) of the schema and the hardware's strict keys.
    pub fn hw_key(&self) -> String {
        let is_hardware = |name: &str| key(name).is_some_and(|key| key.hardware);
        let hardware = self.strict.iter().filter(|(name, _)| is_hardware(name));
        digest_of("hardware", hardware)
    }

    /// Digest of everything that can change a number: the strict part and what is under test
    /// (engine version, image digest, arguments), but not the commit. Two results with the same
    /// one are repeats of each other.
    pub fn run_key(&self) -> String {
        let counts = |name: &str| key(name).is_some_and(|key| key.part == Part::UnderTest);
        let tested = self.soft.iter().filter(|(name, _)| counts(name));
        digest_of("run", self.strict.iter().chain(tested))
    }

    /// A key's value, in whichever part it stands: `gpu.cuda` was soft in schema 1.
    pub fn get(&self, name: &str) -> Option<&String> {
        self.strict.get(name).or_else(|| self.soft.get(name))
    }

    /// Takes over what is paid: costs of other prices differ without anything being worse.
    pub fn set_prices(&mut self, prices: Option<String>) {
        insert(&mut self.soft, [("prices", prices)]);
    }

    /// Takes over what became known of the host's surroundings.
    pub fn set_surroundings(&mut self, host: &HostFacts) {
        insert(&mut self.soft, around(host));
    }

    /// Takes over what became known of the model: the commit or digest of its files and how its
    /// weights are quantised.
    pub fn set_model(&mut self, revision: Option<&str>, quantisation: Option<&str>) {
        let facts = [
            ("model.revision", revision.map(str::to_owned)),
            ("model.quantisation", quantisation.map(str::to_owned)),
        ];
        insert(&mut self.strict, facts);
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
            ("tokenizer", provenance.tokenizer.clone()),
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
    let mut print = Fingerprint::default();
    insert(&mut print.strict, gpu::strict(host));
    insert(
        &mut print.strict,
        [
            ("measurement.method", Some(subject.method.to_owned())),
            ("engine.name", Some(subject.engine.to_owned())),
            ("engine.mode", mode.map(str::to_owned)),
            ("model", Some(subject.model.to_owned())),
            ("workload", subject.workload.map(str::to_owned)),
        ],
    );
    insert(&mut print.strict, machine(host));
    insert(&mut print.soft, gpu::soft(host));
    insert(&mut print.soft, around(host));
    print
}

/// The strict facts of the machine beside its GPUs.
fn machine(host: &HostFacts) -> [(&'static str, Option<String>); 10] {
    let text = |number: Option<u32>| number.map(|number| number.to_string());
    [
        ("cpu.model", host.cpu_model.clone()),
        ("cpu.sockets", text(host.sockets)),
        ("cpu.cores", text(host.cores)),
        ("cpu.threads", text(host.threads)),
        ("cpu.visible", host.visible_hundredths.map(hundredths)),
        ("numa.nodes", numa(host)),
        ("ram.class_gib", host.ram_gb.map(ram_class)),
        ("host.environment", host.environment_type.clone()),
        (
            "host.virtual",
            host.virtual_machine.map(|yes| yes.to_string()),
        ),
        (
            "host.virtualisation",
            host.virtualisation.map(|place| place.name().to_owned()),
        ),
    ]
}

/// What is worth showing when it differs.
fn around(host: &HostFacts) -> [(&'static str, Option<String>); 12] {
    let storage = host.storage.as_ref();
    let near = &host.surroundings;
    let labels = &near.runner_labels;
    [
        ("host.os", host.os.clone()),
        ("host.kernel", host.kernel.clone()),
        ("host.clock_source", host.clock_source.clone()),
        ("cpu.governor", host.governor.clone()),
        ("ram.type", host.ram_type.clone()),
        ("storage", storage.map(|disk| disk.model.clone())),
        ("storage.class", storage.map(|disk| disk.kind.clone())),
        ("docker.version", near.docker.clone()),
        ("docker.default_runtime", near.default_runtime.clone()),
        ("docker.storage_driver", near.storage_driver.clone()),
        ("docker.gpu_toolkit", near.gpu_toolkit.clone()),
        (
            "runner.labels",
            (!labels.is_empty()).then(|| labels.join(",")),
        ),
    ]
}

/// `8`, or `2.5` where a quota is not whole.
fn hundredths(number: u64) -> String {
    (number as f64 / 100.0).to_string()
}

/// `2`, or `1 of 2` where this process gets memory from some only.
fn numa(host: &HostFacts) -> Option<String> {
    let nodes = host.numa_nodes?;
    Some(match host.numa_allowed {
        // A kernel may list nodes that do not exist.
        Some(allowed) if allowed < nodes => format!("{allowed} of {nodes}"),
        Some(_) | None => nodes.to_string(),
    })
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

/// Digest over a part of the keys. A later value of the same key replaces an earlier one.
fn digest_of<'a>(of: &str, facts: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let facts: BTreeMap<_, _> = facts.collect();
    sha256(&serde_json::json!({ "schema": SCHEMA, of: facts }))
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
    use super::{
        super::{PciBoard, Surroundings},
        *,
    };
    use crate::telemetry::{GpuDetails, GpuInfo, MigSlice};

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
            details: GpuDetails {
                nvlinks_active: Some(18),
                vbios: Some("96.00".into()),
                persistence: Some(true),
                slices: vec![MigSlice {
                    name: Some("NVIDIA H100 MIG 1g.10gb".into()),
                    ..MigSlice::default()
                }],
                ..GpuDetails::default()
            },
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

    /// A host that tells everything it can.
    fn full() -> Fingerprint {
        let host = HostFacts {
            cores: Some(96),
            threads: Some(192),
            ram_type: Some("DDR5".into()),
            os: Some("Linux-6.8.0".into()),
            kernel: Some("#45".into()),
            storage: Some(super::super::Storage {
                brand: "Samsung".into(),
                model: "Samsung 990".into(),
                kind: "nvme".into(),
            }),
            environment_type: Some("native_linux".into()),
            virtual_machine: Some(false),
            virtualisation: Some(super::super::Virtualisation::Bare),
            sockets: Some(2),
            visible_hundredths: Some(250),
            numa_nodes: Some(2),
            numa_allowed: Some(1),
            governor: Some("performance".into()),
            clock_source: Some("tsc".into()),
            boards: vec![PciBoard {
                ids: "10de:2330".into(),
                link: Some("gen5 x16".into()),
                numa_node: Some(0),
            }],
            surroundings: Surroundings {
                docker: Some("28.2.2".into()),
                default_runtime: Some("runc".into()),
                storage_driver: Some("overlay2".into()),
                gpu_toolkit: Some("cdi".into()),
                runner_labels: vec!["gpu".into(), "h100".into()],
            },
            ..host("550.90.07", 1)
        };
        let mut print = print(&host);
        print.set_model(Some("abc"), Some("fp8"));
        print.set_provenance(&Provenance {
            kitt_version: Some("1.2.3".into()),
            image: Some("engine:1".into()),
            image_digest: Some("sha256:1".into()),
            engine_version: Some("1".into()),
            engine_args: vec!["--x".into()],
            commit: Some("c".into()),
            tokenizer: Some("server".into()),
            ..Provenance::default()
        });
        print.set_prices(Some("2.5 EUR for a GPU hour".into()));
        print
    }

    #[test]
    fn every_key_is_in_the_table_and_in_its_part() {
        let print = full();
        let found: Vec<(&str, bool)> = print
            .strict
            .keys()
            .map(|name| (name.as_str(), true))
            .chain(print.soft.keys().map(|name| (name.as_str(), false)))
            .collect();
        for (name, strict) in &found {
            let part = key(name)
                .unwrap_or_else(|| panic!("{name} is not in KEYS"))
                .part;
            assert_eq!(part == Part::Strict, *strict, "{name}");
        }
        assert_eq!(
            found.len(),
            KEYS.len(),
            "a key of the table is never written"
        );
        assert_eq!(print.strict["cpu.visible"], "2.5");
        assert_eq!(print.strict["numa.nodes"], "1 of 2");
    }

    #[test]
    fn the_two_keys_see_what_they_are_for() {
        let base = full();
        let mut image = base.clone();
        image.soft.insert("engine.digest".into(), "sha256:2".into());
        assert_eq!(base.hw_key(), image.hw_key());
        assert_ne!(base.run_key(), image.run_key());
        assert_eq!(base.digest(), image.digest());
        let mut commit = base.clone();
        commit.soft.insert("source.commit".into(), "d".into());
        assert_eq!(base.run_key(), commit.run_key());
        let mut board = base.clone();
        board.strict.insert("gpu.board".into(), "10de:2331".into());
        assert_ne!(base.hw_key(), board.hw_key());
        let mut model = base.clone();
        model.strict.insert("model".into(), "other".into());
        assert_eq!(base.hw_key(), model.hw_key());
        assert_ne!(base.hw_key(), base.run_key());
    }

    /// Worked by hand: `printf '{"hardware":{"gpu.count":"1"},"schema":2}' | sha256sum`.
    #[test]
    fn the_canonical_form_is_sorted_and_without_blanks() {
        let mut print = Fingerprint::default();
        print.strict.insert("gpu.count".into(), "1".into());
        print.strict.insert("model".into(), "m".into());
        assert_eq!(
            print.hw_key(),
            "88209dc43244782aab35c4a884640aee113b6621230723ef14a5a1c53a259e65"
        );
    }
}
