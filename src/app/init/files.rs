//! The files of `kitt init`: the repository's own examples with other values in their places.
//!
//! So what is written is what the tests of the examples run. A value is put in as YAML by a YAML
//! writer, in one pass: what stands in one value is never taken for the place of another.

use super::{
    answers::Answers,
    pin::{Pin, SELF},
    yaml::{flow, scalar},
};
use crate::{cli::InitKind, engine::ENGINES, ids::ModelRef};

const CONFIG: &str = include_str!("../../../examples/config/kitt.yml");
/// Where the configuration goes.
pub(super) const CONFIG_PATH: &str = ".github/kitt.yml";

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Where, below the repository's root.
    pub(super) path: String,
    /// What.
    pub(super) text: String,
}

/// Name and text of an example.
type Example = (&'static str, &'static str);

macro_rules! example {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../examples/", $name)))
    };
}

const EXAMPLES: [Example; 7] = [
    example!("pr-gate.yml"),
    example!("nightly-history.yml"),
    example!("dispatch.yml"),
    example!("fork-measure.yml"),
    example!("fork-publish.yml"),
    example!("matrix.yml"),
    example!("labelled.yml"),
];

/// The examples of a kind, by name.
const fn names(kind: InitKind) -> &'static [&'static str] {
    match kind {
        InitKind::PrGate => &["pr-gate.yml"],
        InitKind::Nightly => &["nightly-history.yml"],
        InitKind::Both => &["pr-gate.yml", "nightly-history.yml"],
        InitKind::Dispatch => &["dispatch.yml"],
        InitKind::ForkSafe => &["fork-measure.yml", "fork-publish.yml"],
        InitKind::Matrix => &["matrix.yml"],
        InitKind::Labelled => &["labelled.yml"],
    }
}

/// The workflows of all kinds.
pub(super) fn workflows(answers: &Answers, pin: &Pin) -> Vec<File> {
    let wanted = |name: &str| {
        answers
            .kinds
            .iter()
            .any(|kind| names(*kind).contains(&name))
    };
    let examples = EXAMPLES.iter().filter(|(name, _)| wanted(name));
    examples
        .map(|(name, text)| File {
            path: format!(".github/workflows/kitt-{name}"),
            text: filled(&written_by(text), &places(answers, pin)),
        })
        .collect()
}

/// The configuration that all workflows read.
pub(super) fn config(answers: &Answers) -> File {
    let more = [("image", &answers.image), ("endpoint", &answers.endpoint)];
    let more = more.iter().filter_map(|(key, value)| {
        let value = value.as_ref()?;
        Some(format!("{key}: {}", scalar(value)))
    });
    let engine = format!("engine: {}", scalar(answers.engine.name));
    let engine: Vec<String> = std::iter::once(engine).chain(more).collect();
    let engine = engine.join("\n");
    let models = answers.models.iter().map(|model| scalar(model.as_str()));
    let model = models.take(1).map(|model| format!("model: {model}"));
    let values = [
        (MODEL, model.collect()),
        ("engine: llama_cpp", engine),
        ("suite: quick", format!("suite: {}", answers.suite)),
        ("gate: true", format!("gate: {}", answers.gate)),
        ("# Copy to .github/kitt.yml: what", "# What".to_owned()),
    ];
    File {
        path: CONFIG_PATH.to_owned(),
        text: filled(CONFIG, &values),
    }
}

/// The configuration's model in the example.
const MODEL: &str = "model: /models/qwen2.5-7b-instruct-q4_k_m.gguf";

/// What stands in the examples, and what is to stand there.
fn places(answers: &Answers, pin: &Pin) -> Vec<(&'static str, String)> {
    let engines: Vec<&str> = ENGINES.iter().map(|engine| engine.name()).collect();
    let models = answers.models.iter().map(ModelRef::as_str);
    let mut places = vec![
        (
            concat!("org/kitt-action", "@v1"),
            format!("{SELF}@{}", pin.shown()),
        ),
        (
            "branches: [main]",
            format!("branches: {}", flow([answers.branch.as_str()])),
        ),
        (
            "runs-on: [self-hosted, linux, gpu]",
            runs_on(&answers.labels),
        ),
        (
            "runs-on: [self-hosted, linux, gpu-forks]",
            runs_on(&answers.fork_labels),
        ),
        (
            "model: [/models/qwen2.5-7b-instruct-q4_k_m.gguf, /models/llama-3.1-8b-instruct-q4_k_m.gguf]",
            format!("model: {}", flow(models)),
        ),
        (
            "options: [llama_cpp, vllm, sglang, ollama, sim]",
            format!("options: {}", flow(engines)),
        ),
        (
            "default: llama_cpp",
            format!("default: {}", answers.engine.name),
        ),
        ("default: quick", format!("default: {}", answers.suite)),
    ];
    // The files have other names here, so that nothing of the repository's own is hit.
    let renamed = [
        ("pr-gate.yml", "kitt-pr-gate.yml"),
        ("fork-measure.yml", "kitt-fork-measure.yml"),
        ("fork-publish.yml", "kitt-fork-publish.yml"),
        ("dispatch.yml", "kitt-dispatch.yml"),
    ];
    places.extend(renamed.map(|(from, to)| (from, to.to_owned())));
    places
}

fn runs_on(labels: &[String]) -> String {
    format!("runs-on: {}", flow(labels.iter().map(String::as_str)))
}

/// The comment at the top says where the file is from instead of where to copy it.
fn written_by(text: &str) -> String {
    let copy = |line: &&str| line.starts_with("# Copy to ");
    let mut lines: Vec<&str> = text.lines().collect();
    if let Some(at) = lines.iter().position(copy) {
        let end = lines
            .iter()
            .skip(at)
            .position(|line| !line.starts_with("# "));
        let end = at + end.unwrap_or(1);
        let version = env!("CARGO_PKG_VERSION");
        let own = format!(
            "# Written by `kitt init` {version}. What is measured stands in {CONFIG_PATH}."
        );
        lines.splice(at..end, [own.as_str()]);
        return format!("{}\n", lines.join("\n"));
    }
    text.to_owned()
}

/// Every place replaced by its value, the longest place first where two begin alike; values are
/// not looked at again.
fn filled(text: &str, places: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let found = places.iter().filter_map(|(place, value)| {
            let at = rest.find(place)?;
            Some((at, std::cmp::Reverse(place.len()), value))
        });
        let Some((at, std::cmp::Reverse(length), value)) = found.min() else {
            out.push_str(rest);
            return out;
        };
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        out.push_str(value);
        rest = after.get(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::{app::init::answers, context::ConfigFile};

    const KINDS: [InitKind; 7] = [
        InitKind::PrGate,
        InitKind::Nightly,
        InitKind::Both,
        InitKind::Dispatch,
        InitKind::ForkSafe,
        InitKind::Matrix,
        InitKind::Labelled,
    ];

    fn sample() -> Answers {
        Answers {
            kinds: answers::kinds(&KINDS),
            engine: answers::engine("vllm").unwrap(),
            models: vec!["org/model".parse().unwrap()],
            endpoint: None,
            image: None,
            suite: "performance",
            labels: vec!["own".to_owned()],
            fork_labels: vec!["strangers".to_owned()],
            gate: false,
            branch: "trunk".to_owned(),
        }
    }

    fn pin() -> Pin {
        Pin::commit("c".repeat(40), Some("v9.8.7".to_owned()))
    }

    fn parsed(file: &File) -> Value {
        serde_saphyr::from_str(&file.text).unwrap_or_else(|error| panic!("{error}\n{}", file.text))
    }

    /// Every `runs-on` of a workflow's jobs on runners of one's own.
    fn own_runners(workflow: &Value) -> Vec<&Value> {
        let jobs = workflow["jobs"].as_object().unwrap().values();
        let labels = jobs.map(|job| &job["runs-on"]);
        labels.filter(|labels| labels.is_array()).collect()
    }

    #[test]
    fn every_place_is_in_an_example() {
        for (place, _) in places(&sample(), &pin()) {
            let found = EXAMPLES.iter().any(|(_, text)| text.contains(place));
            assert!(found, "no example holds {place}");
        }
        for place in [MODEL, "engine: llama_cpp", "suite: quick", "gate: true"] {
            assert_eq!(
                CONFIG.matches(&format!("\n{place}\n")).count(),
                1,
                "{place}"
            );
        }
    }

    #[test]
    fn nothing_of_the_examples_own_values_is_left() {
        let files = workflows(&sample(), &pin());
        assert_eq!(
            files.len(),
            EXAMPLES.len(),
            "every example belongs to a kind"
        );
        for file in files.iter().chain(&[config(&sample())]) {
            for left in [
                "Copy to",
                "qwen",
                "[main]",
                "linux, gpu",
                "kitt-action@v1",
                "kitt-kitt",
            ] {
                assert!(
                    !file.text.contains(left),
                    "{}: {left}\n{}",
                    file.path,
                    file.text
                );
            }
            if file.path != CONFIG_PATH {
                assert!(file.text.contains("org/kitt-action@cccc"), "{}", file.path);
                assert!(
                    file.text.contains("Written by `kitt init`"),
                    "{}",
                    file.path
                );
                assert_eq!(
                    parsed(file)["permissions"],
                    serde_json::json!({}),
                    "{}",
                    file.path
                );
            }
        }
    }

    #[test]
    fn values_arrive() {
        let files = workflows(&sample(), &pin());
        let of = |name: &str| {
            let path = format!(".github/workflows/kitt-{name}.yml");
            parsed(files.iter().find(|file| file.path == path).unwrap())
        };
        assert_eq!(
            of("pr-gate")["on"]["push"]["branches"],
            serde_json::json!(["trunk"])
        );
        assert_eq!(
            own_runners(&of("fork-measure")),
            [&serde_json::json!(["strangers"])]
        );
        let inputs = &of("dispatch")["on"]["workflow_dispatch"]["inputs"];
        assert_eq!(inputs["engine"]["default"], "vllm");
        assert_eq!(inputs["suite"]["default"], "performance");
        let options = inputs["engine"]["options"].as_array().unwrap();
        assert_eq!(options.len(), ENGINES.len());
        let publish = of("fork-publish");
        let report = &publish["jobs"]["publish"]["steps"][1]["with"];
        assert_eq!(report["results-workflow"], "kitt-fork-measure.yml");
        let model = &of("matrix")["jobs"]["measure"]["strategy"]["matrix"]["model"];
        assert_eq!(*model, serde_json::json!(["org/model"]));
    }

    #[test]
    fn a_value_is_never_the_place_of_another() {
        let answers = Answers {
            models: vec![
                "org/kitt-action@v1 branches: [main] pr-gate.yml"
                    .parse()
                    .unwrap(),
            ],
            ..sample()
        };
        let matrix = workflows(&answers, &pin())
            .into_iter()
            .find(|file| file.path.ends_with("matrix.yml"));
        let model = &parsed(&matrix.unwrap())["jobs"]["measure"]["strategy"]["matrix"]["model"];
        assert_eq!(model[0], answers.models[0].as_str());
    }

    proptest! {
        #[test]
        fn any_model_arrives_as_it_was_given(
            text in "(\\PC|['\"\\\\{}\\[\\],:#&*!|>%@`$ -]|[a-z/]){1,40}",
            other in "[ -~]{1,40}",
        ) {
            let models = [&text, &other].map(|text| answers::model(text));
            let [Ok(first), Ok(second)] = models else { return Ok(()) };
            let answers = Answers { models: vec![first, second], ..sample() };
            let config: ConfigFile = serde_saphyr::from_str(&config(&answers).text).unwrap();
            prop_assert_eq!(config.model, Some(text.clone()));
            prop_assert_eq!(config.engine.as_deref(), Some("vllm"));
            prop_assert_eq!((config.gate, config.auto_pull), (Some(false), Some(true)));
            for file in workflows(&answers, &pin()) {
                let workflow = parsed(&file);
                let models = &workflow["jobs"]["measure"]["strategy"]["matrix"]["model"];
                if file.path.ends_with("matrix.yml") {
                    prop_assert_eq!(models, &serde_json::json!([text, other]));
                }
            }
        }

        #[test]
        fn any_label_and_branch_arrive_as_they_were_given(
            label in "(\\PC|[ '\"\\]\\[{}#&*!%-]|[a-z0-9]){1,30}",
            branch in "(\\PC|[ '\"\\]\\[{}#&*!%-]|[a-z0-9/]){1,30}",
        ) {
            let (Ok(labels), Ok(branch)) = (answers::labels(&label), answers::branch(&branch)) else {
                return Ok(());
            };
            let answers = Answers { labels: labels.clone(), branch: branch.clone(), ..sample() };
            for file in workflows(&answers, &pin()) {
                let workflow = parsed(&file);
                if file.path.ends_with("pr-gate.yml") {
                    prop_assert_eq!(&workflow["on"]["push"]["branches"], &serde_json::json!([branch]));
                    let labels = serde_json::json!(labels);
                    prop_assert_eq!(own_runners(&workflow), vec![&labels]);
                }
            }
        }
    }
}
