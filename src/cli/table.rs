//! The table of settings. One row here is a flag, an input, a key of the file and a variable.

use super::settings::{Group, Setting, secret, short, switch, text};

/// Every setting, in the order help and documents show them.
pub const SETTINGS: &[Setting] = &[
    short(
        "model",
        'm',
        None,
        "Model to serve: a path on the runner or a hub id",
    ),
    text(
        "model-revision",
        Group::Measure,
        None,
        "Branch, tag or commit of a hub model",
    ),
    secret(
        "hf-token",
        Group::Measure,
        "Token for gated models, given to the engine only [default: HF_TOKEN]",
    ),
    switch(
        "offline",
        Group::Measure,
        "false",
        "Give the engine no network: models and images are here already",
    ),
    text(
        "cache-dir",
        Group::Measure,
        None,
        "Folder on the runner that keeps downloaded models and compiled kernels between runs",
    ),
    short(
        "engine",
        'e',
        None,
        "Inference engine; `kitt engines list` shows them",
    ),
    short(
        "suite",
        's',
        Some("quick"),
        "Suite of tests: quick, standard or performance",
    ),
    text(
        "tests",
        Group::Measure,
        None,
        "Tests to run instead of the suite's, comma-separated",
    ),
    text(
        "config",
        Group::Config,
        None,
        "Config file [default: .github/kitt.yml when it exists]",
    ),
    text(
        "mode",
        Group::Measure,
        None,
        "Where the engine runs: docker or native",
    ),
    text(
        "image",
        Group::Measure,
        None,
        "Container image instead of the engine's default",
    ),
    text(
        "endpoint",
        Group::Measure,
        None,
        "Base URL of a running server (engine openai)",
    ),
    secret(
        "api-key",
        Group::Measure,
        "Key for the endpoint, sent as a bearer token; better given by environment than here",
    ),
    text(
        "engine-command",
        Group::Measure,
        None,
        "Program and first arguments of an engine on this host, instead of its usual command (mode native)",
    ),
    text(
        "engine-args",
        Group::Measure,
        None,
        "Extra arguments for the engine, quoted as in a shell",
    ),
    text(
        "runs",
        Group::Measure,
        Some("1"),
        "Fresh server processes, each measured once",
    ),
    text(
        "seed",
        Group::Measure,
        Some("42"),
        "Seed of prompts and of the engine's sampling",
    ),
    text(
        "requests",
        Group::Measure,
        None,
        "Measured requests per scenario [default: the test's]",
    ),
    text(
        "input-tokens",
        Group::Measure,
        None,
        "Tokens of each prompt: 128, 100..200, normal:512:64 or lognormal:512:0.5 [default: the test's]",
    ),
    text(
        "output-tokens",
        Group::Measure,
        None,
        "Tokens of each answer, written as input-tokens [default: the test's]",
    ),
    text(
        "concurrency",
        Group::Measure,
        None,
        "Closed loop with this many requests in flight, instead of a suite",
    ),
    text(
        "request-rate",
        Group::Measure,
        None,
        "Open loop with this many requests per second, instead of a suite",
    ),
    text(
        "rate-schedule",
        Group::Measure,
        None,
        "Open loop with a ramp as 5..50:60s or steps as 10:30s,20:30s, instead of a suite",
    ),
    text(
        "arrivals",
        Group::Measure,
        Some("poisson"),
        "How the requests of a rate scatter: constant, poisson or gamma:CV",
    ),
    text(
        "trace",
        Group::Measure,
        None,
        "Replay arrivals and lengths of this file (Mooncake, Azure or BurstGPT), instead of a suite",
    ),
    text(
        "trace-speed",
        Group::Measure,
        Some("1"),
        "How fast the trace is replayed: 2 is twice as fast",
    ),
    text(
        "sweep",
        Group::Measure,
        None,
        "Search load points: concurrency, rate or goodput; or list them as concurrency:1,2,4",
    ),
    text(
        "max-in-flight",
        Group::Measure,
        None,
        "Most requests in flight of an open loop or a sweep; those above wait",
    ),
    text(
        "duration",
        Group::Measure,
        None,
        "How long requests are sent, such as 60s or 2m [default: 60s for a rate without requests]",
    ),
    text(
        "warmup-requests",
        Group::Measure,
        None,
        "Discarded requests first: a number, or auto until latencies are stable [default: auto]",
    ),
    text(
        "max-error-rate",
        Group::Measure,
        None,
        "Stop a scenario when more than this share of its requests fails: 0.1 is 10 %",
    ),
    text(
        "ci-width",
        Group::Measure,
        None,
        "Stop a scenario when the 95 % intervals of its mean latencies are this narrow: 0.05 is ±5 %",
    ),
    switch(
        "stop-when-saturated",
        Group::Measure,
        "false",
        "Stop an open loop once its queue only grows",
    ),
    text(
        "slo",
        Group::Measure,
        None,
        "What a request must meet to be good, such as ttft_ms=200,tpot_ms=50,e2e_ms=5000",
    ),
    text(
        "api",
        Group::Measure,
        Some("chat"),
        "OpenAI-compatible interface to speak: chat or completions",
    ),
    text(
        "items",
        Group::Measure,
        None,
        "File of evaluated items (JSON lines) by which accuracy and calibration are judged",
    ),
    text(
        "dataset",
        Group::Measure,
        None,
        "File of prompts instead of synthetic ones: JSONL, or a ShareGPT JSON array",
    ),
    text(
        "shared-prefix",
        Group::Measure,
        Some("0"),
        "Share of each synthetic prompt that all have in common, from 0 to 1",
    ),
    text(
        "turns",
        Group::Measure,
        Some("1"),
        "Turns of each conversation",
    ),
    text(
        "think-time",
        Group::Measure,
        Some("0s"),
        "Pause between two turns, such as 500ms",
    ),
    text(
        "tokenizer",
        Group::Measure,
        None,
        "What counts tokens: a tokenizer.json on the runner, or server",
    ),
    text(
        "client-threads",
        Group::Measure,
        Some("auto"),
        "Threads of the load generator: a number or auto",
    ),
    switch(
        "skip-warmup",
        Group::Measure,
        "false",
        "Send no discarded requests before the measured ones",
    ),
    switch(
        "auto-pull",
        Group::Measure,
        "false",
        "Pull the image when it is not on the host",
    ),
    text(
        "gpus",
        Group::Measure,
        Some("auto"),
        "GPUs for the engine: auto (all), none, UUIDs, or amd and amd:0,1",
    ),
    text(
        "wait-for-gpu",
        Group::Measure,
        Some("10m"),
        "How long to wait until nobody else uses the GPUs, such as 30s or 10m",
    ),
    text(
        "lock-dir",
        Group::Measure,
        None,
        "Folder of the GPU locks, shared by all runners of this host [default: kitt-locks in the temporary folder]",
    ),
    text(
        "telemetry",
        Group::Measure,
        Some("auto"),
        "What watches the GPUs: auto, nvml, nvidia-smi, amd-smi, off or replay:FILE",
    ),
    switch(
        "require-telemetry",
        Group::Measure,
        "false",
        "Fail when the GPUs cannot be watched",
    ),
    switch(
        "idle-power",
        Group::Measure,
        "false",
        "Watch the loaded engine for 10 s before requests, to tell the power that they add",
    ),
    text(
        "gpu-hour-price",
        Group::Measure,
        None,
        "Price of one GPU for an hour: adds the cost of a million tokens",
    ),
    text(
        "kwh-price",
        Group::Measure,
        None,
        "Price of a kilowatt-hour: adds the energy's cost of a million tokens",
    ),
    text(
        "currency",
        Group::Measure,
        Some("USD"),
        "Currency of the prices",
    ),
    text(
        "price-source",
        Group::Measure,
        None,
        "Where the prices come from and of which day, for the report",
    ),
    text(
        "memory",
        Group::Measure,
        None,
        "Memory limit of the container in MiB",
    ),
    text(
        "cpuset",
        Group::Measure,
        None,
        "Processors of the container, such as 0-3",
    ),
    text(
        "shm-size",
        Group::Measure,
        None,
        "Size of the container's /dev/shm in MiB [default: the engine's]",
    ),
    text(
        "startup-timeout",
        Group::Measure,
        None,
        "Seconds until the engine must answer",
    ),
    text(
        "request-timeout",
        Group::Measure,
        Some("120"),
        "Seconds until a request counts as timed out",
    ),
    text(
        "docker-host",
        Group::Measure,
        None,
        "Docker socket, such as unix:///run/docker.sock",
    ),
    text(
        "results-dir",
        Group::Results,
        Some("kitt-results"),
        "Directory of the results",
    ),
    text(
        "baseline-dir",
        Group::Judge,
        None,
        "Directory of the baseline's results; missing means no baseline",
    ),
    text(
        "baseline-artifact",
        Group::Judge,
        None,
        "Artifact that holds the baseline, looked for among those of the base branch [default: kitt-baseline, with the key or section behind it]",
    ),
    text(
        "baseline-branch",
        Group::Judge,
        None,
        "Branch that holds baselines, as kitt baseline push writes them",
    ),
    text(
        "baseline",
        Group::Judge,
        Some("auto"),
        "What to compare with: auto takes stored results and measures pairs when they leave it open, ab always measures pairs, stored never does",
    ),
    text(
        "baseline-image",
        Group::Judge,
        None,
        "Image of the baseline side of pairs instead of the stored baseline's",
    ),
    text(
        "baseline-args",
        Group::Judge,
        None,
        "Engine arguments of the baseline side of pairs instead of the stored baseline's",
    ),
    text(
        "baseline-model",
        Group::Judge,
        None,
        "Model of the baseline side of pairs instead of the stored baseline's",
    ),
    text(
        "pairs",
        Group::Judge,
        Some("12"),
        "Most pairs of a baseline and a current run, 3 to 30",
    ),
    text(
        "time-budget",
        Group::Judge,
        Some("1h"),
        "How long pairs may take, such as 30m; what is open then stays inconclusive",
    ),
    text(
        "on-unsure",
        Group::Judge,
        Some("pair"),
        "When stored results leave it open: pair measures pairs, neutral does not block, fail does",
    ),
    text(
        "history",
        Group::Judge,
        None,
        "Earlier jobs of the base branch: a directory of results directories, or a history.jsonl",
    ),
    text(
        "noise-profile",
        Group::Judge,
        None,
        "File that keeps how much pairs scatter on this runner class [default: noise.json beside the baseline]",
    ),
    text(
        "accept-reason",
        Group::Judge,
        None,
        "Why a regression is accepted; counts together with the label of the policy",
    ),
    text(
        "changed-files",
        Group::Judge,
        None,
        "File that lists the changed paths, one per line, for policies by path [default: asked of git]",
    ),
    switch(
        "gate",
        Group::Judge,
        "false",
        "Fail the job on a proven regression or a broken limit",
    ),
    switch(
        "fail-on-regression",
        Group::Judge,
        "false",
        "KITT's name for `gate`",
    ),
    switch(
        "strict",
        Group::Judge,
        "false",
        "With gate: also fail when nothing is proven",
    ),
    text(
        "run-cv",
        Group::Judge,
        None,
        "Declared run-to-run variation for one run against one: 0.02 is 2 %",
    ),
    text(
        "metrics",
        Group::Judge,
        None,
        "Metrics that gate instead of the default ones, comma-separated",
    ),
    text(
        "key",
        Group::Publish,
        Some("default"),
        "Name of this report when several belong to one pull request",
    ),
    text(
        "section",
        Group::Publish,
        None,
        "This job's section of a comment that several jobs share [default: the matrix values]",
    ),
    text(
        "comment",
        Group::Publish,
        Some("always"),
        "When to comment: always, on-change, on-regression or never; a comment that stands is always kept up to date",
    ),
    switch(
        "check-run",
        Group::Publish,
        "false",
        "Write a check run beside the comment",
    ),
    switch(
        "commit-comment",
        Group::Publish,
        "false",
        "Comment on the commit of a push",
    ),
    switch(
        "store-baseline",
        Group::Publish,
        "true",
        "Offer the results of a green run of the base branch as its new baseline",
    ),
    text(
        "allow-forks",
        Group::Measure,
        Some("false"),
        "Run what comes from other repositories on a self-hosted runner: false, true, or the ids of the repositories",
    ),
    text(
        "results-artifact",
        Group::Foreign,
        Some("kitt-results"),
        "Artifact of the other run that holds its results; `*` stands for anything, as in a matrix",
    ),
    text(
        "results-workflow",
        Group::Foreign,
        None,
        "Workflow file that the other run must be of, such as bench.yml",
    ),
    switch(
        "post-comment",
        Group::Publish,
        "true",
        "Post the comment on the pull request",
    ),
    secret(
        "github-token",
        Group::Publish,
        "Token for the comment; better given by environment than here",
    ),
    text(
        "repo",
        Group::Publish,
        None,
        "Repository as owner/name [default: GITHUB_REPOSITORY]",
    ),
    text(
        "pr",
        Group::Publish,
        None,
        "Pull request to comment on [default: the event's]",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let names: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
        let word = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        assert!(names.iter().all(|name| word(name)));
    }

    #[test]
    fn variables_are_upper_case_with_underscores() {
        let setting = SETTINGS
            .iter()
            .find(|setting| setting.name == "results-dir")
            .unwrap();
        assert_eq!(setting.input_variable(), "KITT_INPUT_RESULTS_DIR");
        assert_eq!(setting.operator_variable(), "KITT_RESULTS_DIR");
    }
}
