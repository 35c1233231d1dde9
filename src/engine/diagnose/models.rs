//! Models: architecture, access, existence.

use super::{
    FailureClass::{Architecture, Gated, NotFound},
    rule::Rule,
};

const UNKNOWN: &str = "this version of the engine does not know the model's architecture";
const NEWER: &str = "take a newer --image, or another engine (`kitt engines list`)";
const LICENCE: &str =
    "the model is gated: its licence has to be accepted with the account of the token";
const ACCEPT: &str = "accept the licence on the model's page on huggingface.co and give that account's token as --hf-token (a secret of the repository)";
const NO_NETWORK: &str =
    "the model is not in the cache and the engine may not or cannot use the network";
const FETCH: &str =
    "leave --offline away once with the same --cache-dir, or give the path of a local copy";

pub(super) const RULES: &[Rule] = &[
    Rule::new(Architecture, &["model architectures [", "are not supported for now"], UNKNOWN, NEWER).fatal(),
    Rule::new(Architecture, &["model architectures [", "failed to be inspected"], "vLLM could not load its code for the model's architecture", "read the error above that line; a package may be missing in the image, or --trust-remote-code in --engine-args").fatal(),
    Rule::new(Architecture, &["unknown model architecture"], UNKNOWN, NEWER).fatal(),
    Rule::new(Architecture, &["unsupported model type"], UNKNOWN, NEWER),
    Rule::new(Architecture, &["unsupported architecture"], UNKNOWN, NEWER),
    Rule::new(Architecture, &["transformers does not recognize this architecture"], UNKNOWN, NEWER),
    Rule::new(Architecture, &["unrecognized configuration class"], UNKNOWN, NEWER),
    Rule::new(
        Architecture,
        &["unknown quantization method"],
        "this version of the engine does not know the model's quantisation",
        "take the original weights or another quantisation, or a newer --image",
    ),
    Rule::new(
        Architecture,
        &["invalid magic characters"],
        "the model's file is not a GGUF file, or its download is broken",
        "download it again and compare its SHA-256 with the model's page",
    ),
    Rule::new(
        Architecture,
        &["error while deserializing header"],
        "a .safetensors file is broken or cut short",
        "download it again; a Git LFS pointer needs `git lfs pull`",
    ),
    Rule::new(Gated, &["gatedrepoerror"], LICENCE, ACCEPT),
    Rule::new(Gated, &["cannot access gated repo"], LICENCE, ACCEPT),
    Rule::new(Gated, &["you are trying to access a gated repo"], LICENCE, ACCEPT),
    Rule::new(Gated, &["403 client error"], LICENCE, ACCEPT),
    // Hubs say 401 for repositories that do not exist too, lest names are found out.
    Rule::new(
        Gated,
        &["401 client error"],
        "the hub refuses: the token is missing or wrong, or there is no such model",
        "check the model's name, and give a valid token as --hf-token",
    ),
    Rule::new(
        NotFound,
        &["revisionnotfounderror"],
        "the model has no such revision",
        "check --model-revision against the branches, tags and commits of the model's page",
    ),
    Rule::new(
        NotFound,
        &["repositorynotfounderror"],
        "the hub has no such model, or hides it from this token",
        "check the model's name; for a private one give --hf-token",
    ),
    Rule::new(NotFound, &["outgoing traffic has been disabled"], NO_NETWORK, FETCH),
    Rule::new(NotFound, &["localentrynotfounderror"], NO_NETWORK, FETCH),
    Rule::new(NotFound, &["we couldn't connect to 'https://huggingface.co'"], NO_NETWORK, FETCH),
    Rule::new(
        NotFound,
        &["temporary failure in name resolution"],
        "the container cannot resolve names, so nothing is fetched",
        "check the runner's DNS and proxy (HTTPS_PROXY under `env` of the config file), or give the path of a local copy",
    ),
    Rule::new(
        NotFound,
        &["404 client error"],
        "the hub has no such file or model",
        "check the model's name and --model-revision",
    ),
    Rule::new(
        NotFound,
        &["pull model manifest: file does not exist"],
        "Ollama's library has no such model",
        "check the name and the tag after the colon on ollama.com/library",
    ),
    Rule::new(
        NotFound,
        &["not found, try pulling it first"],
        "Ollama does not have the model",
        "run `ollama pull` with its name where Ollama keeps its models, or leave --offline away",
    ),
];
