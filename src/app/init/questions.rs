//! The questions of `kitt init`, in their order. Flags answer them, then what is in the
//! configuration already, then whoever sits at the terminal, then the defaults.

use clap::ValueEnum;

use super::{
    answers::{self, Answers},
    ask::{Ask, Question, yes_or_no},
};
use crate::{
    cli::{InitArgs, InitKind},
    context::ConfigFile,
    engine::{About, ENGINES},
    error::Error,
    ids::ModelRef,
    plan::SUITES,
};

const LABELS: &str = "self-hosted,linux,gpu";
const FORK_LABELS: &str = "self-hosted,linux,gpu-forks";

/// What is known before anybody is asked.
pub(super) struct Asked<'a> {
    /// Flags.
    pub(super) args: &'a InitArgs,
    /// The configuration that is there and stays.
    pub(super) existing: Option<&'a ConfigFile>,
    /// The repository's default branch.
    pub(super) branch: Option<String>,
}

/// Asks everything.
///
/// # Errors
/// An answer is wrong, or needed and missing; then all that are missing are told at once.
pub(super) fn answers(ask: &mut Ask<'_>, asked: &Asked<'_>) -> Result<Answers, Error> {
    let args = asked.args;
    let kinds = kinds(ask, args)?;
    let engine = engine(ask, asked)?;
    let models = models(ask, asked, engine)?;
    let endpoint = endpoint(ask, asked, engine)?;
    let suite = suite(ask, asked)?;
    let labels = labels(
        ask,
        "labels",
        "Labels of your GPU runners",
        args.labels.as_deref(),
        LABELS,
    )?;
    let fork_labels = if kinds.contains(&InitKind::ForkSafe) {
        let text = "Labels of the runners for forks, better not the same machines";
        labels_of_forks(ask, text, args)?
    } else {
        Vec::new()
    };
    let branch = asked
        .branch
        .as_deref()
        .filter(|name| answers::branch(name).is_ok());
    let question = Question {
        flag: "branch",
        text: "Branch that pull requests are compared with",
        default: Some(branch.unwrap_or("main")),
    };
    let branch = ask.settle(question, args.branch.as_deref(), answers::branch)?;
    let gate = gate(ask, asked)?;
    let image = args
        .image
        .as_deref()
        .map(|text| given("image", text, answers::image));
    let image = image.transpose()?;
    ask.complete()?;
    // Complete: what is needed is there.
    let (Some(engine), Some(suite), Some(branch)) = (engine, suite, branch) else {
        return Err(Error::Unanswered {
            flags: "--engine".to_owned(),
        });
    };
    Ok(Answers {
        kinds,
        engine,
        models,
        endpoint,
        image,
        suite,
        labels,
        fork_labels,
        gate,
        branch,
    })
}

/// The commit or tag that was asked for.
///
/// # Errors
/// It cannot be a git name.
pub(super) fn reference(args: &InitArgs) -> Result<Option<String>, Error> {
    let reference = args.reference.as_deref();
    let checked = reference.map(|text| given("ref", text, answers::reference));
    checked.transpose()
}

/// A flag that is never asked for.
fn given<T>(
    flag: &'static str,
    text: &str,
    check: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Error> {
    check(text).map_err(|why| Error::Answer {
        flag,
        text: text.chars().take(80).collect(),
        why,
    })
}

fn kinds(ask: &mut Ask<'_>, args: &InitArgs) -> Result<Vec<InitKind>, Error> {
    if !args.kind.is_empty() {
        return Ok(answers::kinds(&args.kind));
    }
    let names = InitKind::value_variants()
        .iter()
        .filter_map(ValueEnum::to_possible_value);
    let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
    let text = format!("Workflows, separated by commas ({})", names.join(", "));
    let question = Question {
        flag: "kind",
        text: &text,
        default: Some("pr-gate"),
    };
    let typed = |text: &str| {
        let kinds = text
            .split(',')
            .map(|word| InitKind::from_str(word.trim(), true));
        let kinds: Result<Vec<InitKind>, String> = kinds.collect();
        kinds.map_err(|wrong| format!("{wrong}; write some of {}", names.join(", ")))
    };
    let kinds = ask.settle(question, None, typed)?;
    Ok(answers::kinds(&kinds.unwrap_or_default()))
}

fn engine(ask: &mut Ask<'_>, asked: &Asked<'_>) -> Result<Option<&'static About>, Error> {
    let names: Vec<&str> = ENGINES.iter().map(|engine| engine.name()).collect();
    let text = format!("Engine ({})", names.join(", "));
    let question = Question {
        flag: "engine",
        text: &text,
        default: None,
    };
    let there = asked.existing.and_then(|config| config.engine.as_deref());
    ask.settle(
        question,
        asked.args.engine.as_deref().or(there),
        answers::engine,
    )
}

fn models(
    ask: &mut Ask<'_>,
    asked: &Asked<'_>,
    engine: Option<&'static About>,
) -> Result<Vec<ModelRef>, Error> {
    let simulated = engine.is_some_and(|engine| engine.name == "sim");
    let question = Question {
        flag: "model",
        text: "Model, a path on the runner or a model id",
        default: simulated.then_some("sim"),
    };
    let there = asked.existing.and_then(|config| config.model.as_deref());
    let Some((first, more)) = asked.args.model.split_first() else {
        return Ok(ask
            .settle(question, there, answers::model)?
            .into_iter()
            .collect());
    };
    let mut models = Vec::new();
    for text in std::iter::once(first).chain(more) {
        models.extend(ask.settle(question, Some(text), answers::model)?);
    }
    Ok(models)
}

/// Only an engine that runs elsewhere has an address.
fn endpoint(
    ask: &mut Ask<'_>,
    asked: &Asked<'_>,
    engine: Option<&'static About>,
) -> Result<Option<String>, Error> {
    let there = asked.existing.and_then(|config| config.endpoint.as_deref());
    let told = asked.args.endpoint.as_deref().or(there);
    if told.is_none() && engine.is_none_or(|engine| engine.name != "openai") {
        return Ok(None);
    }
    let question = Question {
        flag: "endpoint",
        text: "Address of the running server, as http://127.0.0.1:8000",
        default: None,
    };
    ask.settle(question, told, answers::endpoint)
}

fn suite(ask: &mut Ask<'_>, asked: &Asked<'_>) -> Result<Option<&'static str>, Error> {
    let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
    let text = format!("Suite ({})", names.join(", "));
    let question = Question {
        flag: "suite",
        text: &text,
        default: Some("quick"),
    };
    let there = asked.existing.and_then(|config| config.suite.as_deref());
    ask.settle(
        question,
        asked.args.suite.as_deref().or(there),
        answers::suite,
    )
}

fn gate(ask: &mut Ask<'_>, asked: &Asked<'_>) -> Result<bool, Error> {
    let there = asked.existing.and_then(|config| config.gate);
    if let Some(gate) = asked.args.gate.or(there) {
        return Ok(gate);
    }
    let question = Question {
        flag: "gate",
        text: "Fail the check on a proven regression",
        default: Some("yes"),
    };
    Ok(ask.settle(question, None, yes_or_no)?.unwrap_or(true))
}

fn labels_of_forks(ask: &mut Ask<'_>, text: &str, args: &InitArgs) -> Result<Vec<String>, Error> {
    labels(
        ask,
        "fork-labels",
        text,
        args.fork_labels.as_deref(),
        FORK_LABELS,
    )
}

fn labels(
    ask: &mut Ask<'_>,
    flag: &'static str,
    text: &str,
    given: Option<&str>,
    default: &str,
) -> Result<Vec<String>, Error> {
    let question = Question {
        flag,
        text,
        default: Some(default),
    };
    Ok(ask
        .settle(question, given, answers::labels)?
        .unwrap_or_default())
}
