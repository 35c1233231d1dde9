//! Memory of the GPU, of its KV cache and of the host.

use super::{
    FailureClass::{GpuMemory, HostMemory, KvCache},
    rule::Rule,
};

const WEIGHTS: &str = "the model does not fit into the GPU's memory";
const LLAMA: &str = "for llama.cpp keep layers on the host (-ngl 20 in --engine-args), take a smaller quantisation, or a larger GPU";

pub(super) const RULES: &[Rule] = &[
    // KV cache first: its messages speak of memory too.
    Rule::new(
        KvCache,
        &["no available memory for the cache blocks"],
        "vLLM has no memory left for the KV cache beside the weights",
        "raise --gpu-memory-utilization (usually 0.9) or give --tensor-parallel-size more GPUs in --engine-args, or take a smaller or quantised model",
    )
    .fatal(),
    Rule::new(
        KvCache,
        &["to serve at least one request with the model", "available kv cache memory"],
        "the model's context is longer than vLLM's KV cache",
        "set --max-model-len in --engine-args to what the workload needs (the message names the most that fits), or raise --gpu-memory-utilization",
    )
    .fatal(),
    Rule::new(
        KvCache,
        &["is larger than the maximum number of tokens that can be stored in kv cache"],
        "the model's context is longer than vLLM's KV cache",
        "set --max-model-len in --engine-args to what the workload needs, or raise --gpu-memory-utilization",
    )
    .fatal(),
    Rule::new(
        KvCache,
        &["failed to allocate buffer for kv cache"],
        "llama.cpp's KV cache does not fit beside the weights",
        "lower --concurrency or the lengths, or set -c or a quantised cache (-ctk q8_0 -ctv q8_0) in --engine-args",
    ),
    Rule::new(
        KvCache,
        &["not enough memory to handle", "prefill tokens"],
        "TGI has no memory for the longest prefill",
        "lower --max-batch-prefill-tokens or --max-input-tokens in --engine-args",
    ),
    Rule::new(
        KvCache,
        &["not enough memory", "max_total_tokens"],
        "TGI has no memory for the longest request",
        "lower --max-total-tokens in --engine-args",
    ),
    Rule::new(
        KvCache,
        &["no enough gpu memory for kv cache"],
        "LMDeploy has no memory left for the KV cache beside the weights",
        "lower --session-len or --max-batch-size, or raise --cache-max-entry-count in --engine-args",
    ),
    Rule::new(
        GpuMemory,
        &["free memory on device", "is less than desired gpu memory utilization"],
        "other processes hold memory of the GPU, or vLLM was told to take more than is free",
        "end the other processes (`nvidia-smi` lists them; --wait-for-gpu waits), or lower --gpu-memory-utilization in --engine-args",
    )
    .fatal(),
    Rule::new(
        GpuMemory,
        &["not enough memory. please try to increase --mem-fraction-static"],
        "SGLang has no memory left for the KV cache beside the weights",
        "raise --mem-fraction-static (0.9) or give --tp-size more GPUs in --engine-args, or take a smaller or quantised model",
    )
    .fatal(),
    Rule::new(GpuMemory, &["cudamalloc failed: out of memory"], WEIGHTS, LLAMA),
    Rule::new(GpuMemory, &["mib on device", "out of memory"], WEIGHTS, LLAMA),
    Rule::new(GpuMemory, &["unable to allocate cuda"], WEIGHTS, LLAMA),
    Rule::new(GpuMemory, &["unable to allocate rocm"], WEIGHTS, LLAMA),
    Rule::new(
        GpuMemory,
        &["no enough gpu memory for runtime"],
        "LMDeploy's runtime does not fit into the GPU's memory",
        "lower --cache-max-entry-count or --max-prefill-token-num in --engine-args",
    ),
    Rule::new(
        GpuMemory,
        &["reported out-of-memory during startup"],
        "Ollama's runner does not fit into the GPU's memory",
        "lower --concurrency or the lengths, or take a smaller quantisation",
    ),
    Rule::new(
        HostMemory,
        &["model requires more system memory"],
        "Ollama finds too little memory for the model",
        "take a smaller model, lower --concurrency or the lengths, or raise --memory",
    ),
    Rule::new(
        GpuMemory,
        &["cuda out of memory"],
        WEIGHTS,
        "take more GPUs (--tensor-parallel-size for vLLM, --tp-size for SGLang, --num-shard for TGI), a quantised model, or less beside the weights (vLLM: --max-model-len, --max-num-seqs; SGLang: --mem-fraction-static)",
    ),
    Rule::new(
        GpuMemory,
        &["hip out of memory"],
        WEIGHTS,
        "take more GPUs, a quantised model, or less beside the weights (vLLM: --max-model-len, --max-num-seqs)",
    ),
    Rule::new(
        GpuMemory,
        &["cuda error: out of memory"],
        WEIGHTS,
        "end other processes on the GPU (`nvidia-smi` lists them), or take a smaller or quantised model",
    ),
    Rule::new(
        HostMemory,
        &["signaled to shutdown with signal 9"],
        "the kernel killed TGI's shard, most likely because the host's memory was full",
        "raise --memory, or take a runner with more memory",
    ),
    Rule::new(
        HostMemory,
        &["defaultcpuallocator: can't allocate memory"],
        "the host's memory is full",
        "raise --memory, or take a runner with more memory or a smaller model",
    ),
    Rule::new(
        HostMemory,
        &["std::bad_alloc"],
        "the host's memory is full",
        "raise --memory, or take a runner with more memory or a smaller model",
    ),
    Rule::new(
        HostMemory,
        &["cannot allocate memory"],
        "the host's memory is full, or a limit on locked memory is too low",
        "raise --memory, or take a runner with more memory or a smaller model",
    ),
];
