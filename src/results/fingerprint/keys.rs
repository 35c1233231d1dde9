//! Every key a fingerprint can have, and what it means. `docs/fingerprint.md` is made of this.

/// Where a key stands and what a difference in it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Must be equal: else there is no verdict.
    Strict,
    /// Soft, and what a pull request may change: the difference is what is being tested.
    UnderTest,
    /// Soft: shown when it differs.
    Soft,
}

impl Part {
    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::UnderTest => "under test",
            Self::Soft => "soft",
        }
    }
}

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name in `metrics.json`.
    pub name: &'static str,
    /// Where it stands.
    pub part: Part,
    /// Whether it counts for the hardware's digest.
    pub hardware: bool,
    /// The version that brought it. A result of an older one cannot have it, so that it is
    /// missing on one side is no difference from 2 on.
    pub since: u32,
    /// What it holds.
    pub meaning: &'static str,
}

impl Key {
    /// Whether results can lack it without anything being wrong: then a missing value is a note
    /// and no difference.
    pub const fn may_be_unknown(&self) -> bool {
        self.since > 1
    }
}

/// Looks up a key.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

const fn hardware(name: &'static str, since: u32, meaning: &'static str) -> Key {
    Key {
        name,
        part: Part::Strict,
        hardware: true,
        since,
        meaning,
    }
}

const fn other(name: &'static str, part: Part, since: u32, meaning: &'static str) -> Key {
    Key {
        name,
        part,
        hardware: false,
        since,
        meaning,
    }
}

/// All keys, hardware first.
pub const KEYS: &[Key] = &[
    hardware("gpu.count", 1, "how many GPUs were measured"),
    hardware("gpu.name", 1, "model of the GPUs"),
    hardware("gpu.memory_gib", 1, "memory of one GPU, rounded to GiB"),
    hardware("gpu.compute_capability", 1, "CUDA compute capability"),
    hardware("gpu.power_limit_w", 1, "enforced power limit in watts"),
    hardware("gpu.mig", 1, "whether the GPU is partitioned"),
    hardware("gpu.ecc", 1, "whether error correction is on"),
    hardware(
        "gpu.driver_major",
        1,
        "first number of the driver's version",
    ),
    hardware("gpu.cuda", 2, "CUDA version the driver offers; soft before"),
    hardware(
        "gpu.board",
        2,
        "PCI ids of the board and of its maker: tells SXM from PCIe",
    ),
    hardware("gpu.pcie", 2, "fastest PCI Express link of the board"),
    hardware("gpu.nvlink", 2, "NVLinks that are up"),
    hardware("gpu.mig_profile", 2, "profiles of MIG slices"),
    hardware("cpu.model", 1, "model of the processor"),
    hardware("cpu.sockets", 2, "processor sockets"),
    hardware("cpu.cores", 1, "physical cores"),
    hardware("cpu.threads", 1, "hardware threads"),
    hardware(
        "cpu.visible",
        2,
        "processors kitt may keep busy: affinity and quota of the control group",
    ),
    hardware(
        "numa.nodes",
        2,
        "NUMA nodes, and how many of them may be used",
    ),
    hardware("ram.class_gib", 1, "main memory as it is bought, GiB"),
    hardware(
        "host.environment",
        1,
        "KITT's word: native_linux, docker, container, wsl2, dgx, dgx_spark",
    ),
    hardware(
        "host.virtual",
        1,
        "whether the processor says it is a guest's",
    ),
    hardware("host.virtualisation", 2, "bare, vm, wsl or container"),
    other("measurement.method", Part::Strict, 1, "how kitt measures"),
    other("engine.name", Part::Strict, 1, "name of the engine"),
    other("engine.mode", Part::Strict, 1, "docker or native"),
    other("model", Part::Strict, 1, "the model as it was typed"),
    other(
        "model.revision",
        Part::Strict,
        2,
        "commit or digest of the model's files",
    ),
    other(
        "model.quantisation",
        Part::Strict,
        2,
        "how the weights are quantised",
    ),
    other(
        "workload",
        Part::Strict,
        1,
        "digest of what is sent: scenarios, order, seed, warm-up, digests of data files",
    ),
    other(
        "engine.version",
        Part::UnderTest,
        1,
        "version the engine reports",
    ),
    other(
        "engine.image",
        Part::UnderTest,
        1,
        "image as it was asked for",
    ),
    other(
        "engine.digest",
        Part::UnderTest,
        1,
        "digest of the image that ran",
    ),
    other("engine.args", Part::UnderTest, 1, "arguments of the engine"),
    other("source.commit", Part::Soft, 1, "commit that was measured"),
    other("client.version", Part::Soft, 1, "version of kitt"),
    other(
        "tokenizer",
        Part::Soft,
        2,
        "what counted the tokens of the prompts",
    ),
    other("gpu.driver", Part::Soft, 1, "whole version of the driver"),
    other("gpu.numa_node", Part::Soft, 2, "NUMA node the GPUs hang on"),
    other("gpu.vbios", Part::Soft, 2, "firmware of the GPUs"),
    other(
        "gpu.persistence",
        Part::Soft,
        2,
        "whether the driver stays initialised",
    ),
    other("host.os", Part::Soft, 1, "operating system and release"),
    other("host.kernel", Part::Soft, 1, "build of the kernel"),
    other(
        "host.clock_source",
        Part::Soft,
        2,
        "the kernel's clock source",
    ),
    other(
        "cpu.governor",
        Part::Soft,
        2,
        "governor of the processors' frequency",
    ),
    other(
        "ram.type",
        Part::Soft,
        1,
        "type of memory; KITT's files only",
    ),
    other("storage", Part::Soft, 1, "model of the first disk"),
    other("storage.class", Part::Soft, 2, "nvme, ssd or hdd"),
    other(
        "docker.version",
        Part::Soft,
        2,
        "version of the Docker daemon",
    ),
    other(
        "docker.default_runtime",
        Part::Soft,
        2,
        "its default runtime",
    ),
    other("docker.storage_driver", Part::Soft, 2, "its storage driver"),
    other(
        "docker.gpu_toolkit",
        Part::Soft,
        2,
        "how GPUs get into containers: nvidia runtime, cdi",
    ),
    other(
        "runner.labels",
        Part::Soft,
        2,
        "labels of the runner, as its operator told them in KITT_RUNNER_LABELS",
    ),
    other(
        "prices",
        Part::Soft,
        2,
        "prices, currency and their source, as they were given",
    ),
];
