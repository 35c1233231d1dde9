//! Arguments, ports and overload.

use super::{
    FailureClass::{Argument, Overload, Port},
    rule::Rule,
};

const UNKNOWN: &str = "this version of the engine does not know one of its arguments";
const CHECK: &str = "check --engine-args against the `--help` of this image's version; where kitt's own argument is the unknown one, choose another --image";

pub(super) const RULES: &[Rule] = &[
    // argparse: vLLM, SGLang, LMDeploy.
    Rule::new(Argument, &["error: unrecognized arguments:"], UNKNOWN, CHECK).fatal(),
    // llama.cpp.
    Rule::new(Argument, &["error: invalid argument:"], UNKNOWN, CHECK).fatal(),
    Rule::new(
        Argument,
        &["error while handling argument"],
        "an argument has a value that the engine does not take",
        CHECK,
    )
    .fatal(),
    // click: trtllm-serve.
    Rule::new(Argument, &["error: no such option"], UNKNOWN, CHECK).fatal(),
    // clap: TGI.
    Rule::new(Argument, &["error: unexpected argument"], UNKNOWN, CHECK).fatal(),
    Rule::new(
        Argument,
        &["error: argument --"],
        "an argument has a value that the engine does not take",
        CHECK,
    )
    .fatal(),
    Rule::new(
        Argument,
        &["user-specified max_model_len", "is greater than the derived"],
        "the context asked for is longer than the model's own",
        "lower --max-model-len in --engine-args, or ask for shorter prompts and answers",
    ),
    Rule::new(
        Port,
        &["couldn't bind http server socket"],
        "another process listens on the engine's port",
        "end that process; kitt chooses a free port itself, so remove --port and *_PORT from engine arguments and environment",
    )
    .fatal(),
    Rule::new(
        Port,
        &["address already in use"],
        "another process listens on the engine's port",
        "end that process; kitt chooses a free port itself, so remove --port and *_PORT from engine arguments and environment",
    ),
    Rule::new(
        Port,
        &["port is already allocated"],
        "another container publishes the same port of this host",
        "stop that container (`docker ps` shows it)",
    ),
    Rule::new(
        Overload,
        &["maximum pending requests exceeded"],
        "Ollama refuses requests because its queue is full",
        "lower --concurrency or the request rate, or raise OLLAMA_MAX_QUEUE under `env` of the config file",
    )
    .overload(),
    Rule::new(
        Overload,
        &["is preempted by"],
        "vLLM throws running requests out because the KV cache is full",
        "lower --concurrency or the lengths, or raise --gpu-memory-utilization in --engine-args",
    )
    .overload(),
    Rule::new(
        Overload,
        &["model is overloaded"],
        "TGI refuses requests because its queue is full",
        "lower --concurrency, or raise --max-concurrent-requests in --engine-args",
    )
    .overload(),
];
