//! Logs of engines that failed, each with what it has to be told as. The texts are those the
//! engines print; the rest of each log is what usually stands around them.

use std::{collections::BTreeSet, fs};

use kitt_action::engine::{self, FailureClass as Class};

use super::harness::fixture;

/// Log, kind of failure, part of the line that tells it, and whether waiting on is pointless.
const LOGS: &[(&str, Class, &str, bool)] = &[
    ("docker-amd", Class::Gpu, "/dev/kfd", false),
    (
        "docker-architecture",
        Class::Image,
        "exec format error",
        false,
    ),
    ("docker-device", Class::Gpu, "unknown device", false),
    (
        "docker-disk",
        Class::Image,
        "no space left on device",
        false,
    ),
    (
        "docker-driver",
        Class::Gpu,
        "unsatisfied condition: cuda>=12.8",
        false,
    ),
    ("docker-limit", Class::Image, "toomanyrequests", false),
    ("docker-lost-gpus", Class::Gpu, "Unknown Error", false),
    ("docker-manifest", Class::Image, "manifest unknown", false),
    (
        "docker-mismatch",
        Class::Gpu,
        "Driver/library version mismatch",
        false,
    ),
    (
        "docker-port",
        Class::Port,
        "port is already allocated",
        false,
    ),
    (
        "docker-program",
        Class::Image,
        "executable file not found",
        false,
    ),
    (
        "docker-toolkit",
        Class::Gpu,
        "could not select device driver",
        false,
    ),
    (
        "llama_cpp-architecture",
        Class::Architecture,
        "'qwen9moe'",
        true,
    ),
    ("llama_cpp-argument", Class::Argument, "--cache-rma", true),
    (
        "llama_cpp-file",
        Class::Architecture,
        "invalid magic characters",
        false,
    ),
    ("llama_cpp-gpu", Class::Gpu, "no usable GPU found", true),
    (
        "llama_cpp-gpu-memory",
        Class::GpuMemory,
        "cudaMalloc failed",
        false,
    ),
    (
        "llama_cpp-kv-cache",
        Class::KvCache,
        "failed to allocate buffer for kv cache",
        false,
    ),
    (
        "llama_cpp-port",
        Class::Port,
        "couldn't bind HTTP server socket",
        true,
    ),
    (
        "lmdeploy-gpu-memory",
        Class::GpuMemory,
        "for runtime",
        false,
    ),
    ("lmdeploy-kv-cache", Class::KvCache, "for kv cache", false),
    (
        "ollama-architecture",
        Class::Architecture,
        "unsupported architecture",
        false,
    ),
    (
        "ollama-gpu-memory",
        Class::GpuMemory,
        "reported out-of-memory during startup",
        false,
    ),
    (
        "ollama-host-memory",
        Class::HostMemory,
        "requires more system memory",
        false,
    ),
    (
        "ollama-missing",
        Class::NotFound,
        "try pulling it first",
        false,
    ),
    (
        "ollama-not-found",
        Class::NotFound,
        "pull model manifest",
        false,
    ),
    ("ollama-overload", Class::Overload, "server busy", false),
    (
        "ollama-unknown",
        Class::Unknown,
        "process has terminated",
        false,
    ),
    (
        "sglang-architecture",
        Class::Architecture,
        "does not recognize",
        false,
    ),
    (
        "sglang-argument",
        Class::Argument,
        "--enable-everything",
        true,
    ),
    (
        "sglang-gpu-memory",
        Class::GpuMemory,
        "--mem-fraction-static",
        true,
    ),
    (
        "sglang-host-memory",
        Class::HostMemory,
        "DefaultCPUAllocator",
        false,
    ),
    (
        "sglang-unknown",
        Class::Unknown,
        "Scheduler hit an exception",
        false,
    ),
    (
        "tabbyapi-driver",
        Class::Gpu,
        "driver version is insufficient",
        false,
    ),
    (
        "tabbyapi-gpu-memory",
        Class::GpuMemory,
        "CUDA error: out of memory",
        false,
    ),
    (
        "tensorrt_llm-argument",
        Class::Argument,
        "No such option",
        true,
    ),
    (
        "tensorrt_llm-gpu",
        Class::Gpu,
        "No CUDA GPUs are available",
        false,
    ),
    (
        "tensorrt_llm-gpu-memory",
        Class::GpuMemory,
        "CUDA out of memory",
        false,
    ),
    (
        "tgi-architecture",
        Class::Architecture,
        "Unsupported model type",
        false,
    ),
    ("tgi-argument", Class::Argument, "'--max-context'", true),
    ("tgi-host-memory", Class::HostMemory, "signal 9", false),
    ("tgi-kv-cache", Class::KvCache, "prefill tokens", false),
    ("tgi-unknown", Class::Unknown, "ShardCannotStart", false),
    (
        "vllm-architecture",
        Class::Architecture,
        "'MambaMoEForCausalLM'",
        true,
    ),
    ("vllm-argument", Class::Argument, "--no-such-option", true),
    (
        "vllm-communication",
        Class::Communication,
        "NCCL error",
        true,
    ),
    (
        "vllm-context",
        Class::Argument,
        "max_model_len (65536)",
        false,
    ),
    ("vllm-driver", Class::Gpu, "too old", true),
    (
        "vllm-gated",
        Class::Gated,
        "403 Client Error: Forbidden",
        false,
    ),
    ("vllm-gpu", Class::Gpu, "Failed to infer device type", true),
    (
        "vllm-gpu-memory",
        Class::GpuMemory,
        "CUDA out of memory",
        true,
    ),
    (
        "vllm-gpu-memory-taken",
        Class::GpuMemory,
        "Free memory on device",
        true,
    ),
    (
        "vllm-inspection",
        Class::Architecture,
        "failed to be inspected",
        true,
    ),
    (
        "vllm-kv-cache",
        Class::KvCache,
        "To serve at least one request",
        true,
    ),
    (
        "vllm-kv-cache-none",
        Class::KvCache,
        "No available memory",
        true,
    ),
    (
        "vllm-not-found",
        Class::NotFound,
        "RepositoryNotFoundError",
        false,
    ),
    (
        "vllm-offline",
        Class::NotFound,
        "outgoing traffic has been disabled",
        false,
    ),
    ("vllm-overload", Class::Overload, "is preempted", false),
    ("vllm-port", Class::Port, "Address already in use", false),
    ("vllm-shm", Class::Communication, "/dev/shm", true),
    (
        "vllm-token",
        Class::Gated,
        "401 Client Error: Unauthorized",
        false,
    ),
    (
        "vllm-unknown",
        Class::Unknown,
        "Engine core initialization failed",
        true,
    ),
];

#[test]
fn every_failure_is_told_by_its_cause() {
    for (name, class, part, fatal) in LOGS {
        let path = fixture(&format!("engine-logs/{name}.log"));
        let log = fs::read_to_string(path).unwrap();
        let lines = log.lines().count();
        assert!((10..=40).contains(&lines), "{name}: {lines} lines");
        let Some(found) = engine::diagnose(log.lines()) else {
            panic!("{name}: nothing was found");
        };
        assert_eq!(found.class, *class, "{name}: {found:?}");
        assert!(found.line.contains(part), "{name}: {found:?}");
        // The cause stands in the middle: what comes before it misleads nobody.
        assert!(
            !log.lines().next().unwrap().contains(&found.line) || *name == "llama_cpp-gpu",
            "{name}"
        );
        assert_eq!(log.lines().any(engine::is_fatal), *fatal, "{name}");
    }
}

#[test]
fn every_log_and_every_kind_of_failure_is_in_the_table() {
    let named: BTreeSet<String> = LOGS
        .iter()
        .map(|(name, ..)| format!("{name}.log"))
        .collect();
    let there: BTreeSet<String> = fs::read_dir(fixture("engine-logs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(named, there);
    for class in [
        Class::GpuMemory,
        Class::KvCache,
        Class::HostMemory,
        Class::Architecture,
        Class::Gated,
        Class::NotFound,
        Class::Port,
        Class::Gpu,
        Class::Communication,
        Class::Image,
        Class::Argument,
        Class::Overload,
        Class::Unknown,
    ] {
        assert!(
            LOGS.iter().any(|(_, known, ..)| *known == class),
            "{class:?}"
        );
    }
}
