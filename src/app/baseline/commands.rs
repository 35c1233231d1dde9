//! `kitt baseline fetch`, `list` and `push`.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::{
    super::out,
    ask::{self, Asked},
    keep,
};
use crate::{
    cli::{BaselineCommand, FetchArgs, ListBaselinesArgs, PushArgs},
    context::{self, EnvSnapshot, Inputs},
    error::Error,
    exit::Exit,
    measure::Validity,
    results::{self, Limits, Origin, ResultSet, RunStatus},
    store::{
        self,
        discover::{self, Conditions, Listed, Parent, Search},
        share,
    },
};

/// Runs a command about stored baselines.
///
/// # Errors
/// The settings make no sense, there is no baseline, or GitHub refuses.
pub(in crate::app) async fn run(
    command: &BaselineCommand,
    env: &EnvSnapshot,
) -> Result<Exit, Error> {
    match command {
        BaselineCommand::Fetch(args) => fetch(args, env).await,
        BaselineCommand::List(args) => list(args, env).await,
        BaselineCommand::Push(args) => push(args, env).await,
    }
}

async fn fetch(args: &FetchArgs, env: &EnvSnapshot) -> Result<Exit, Error> {
    let inputs = context::resolve(&args.settings.0, env)?;
    super::super::tell::hide(&inputs);
    if args.to.exists() {
        let why = format!("{} is there already", args.to.display());
        return Err(Error::Baseline(why));
    }
    let conditions = match &args.like {
        Some(dir) => {
            let like = store::load(dir)?;
            like.fingerprint.as_ref().map(Conditions::of)
        }
        None => None,
    };
    let failed = |source| Error::Write {
        path: args.to.clone(),
        source,
    };
    let parent = args.to.parent().filter(|dir| !dir.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    // Beside its place, so that it can be renamed.
    let scratch = tempfile::Builder::new()
        .prefix(".kitt-baseline-")
        .tempdir_in(parent)
        .map_err(failed)?;
    let given = args.commit.as_ref().map(|commit| Parent {
        commit: commit.to_string(),
        is: "as it was asked for",
    });
    let search = ask::search(
        &inputs,
        &conditions.unwrap_or_default(),
        scratch.path(),
        given,
    )
    .await
    .map_err(Error::Baseline)?;
    let Search { found, refused } = search;
    for (label, why) in &refused {
        tracing::info!("no baseline: {label}: {why}");
    }
    let found = found.map_err(Error::Baseline)?;
    std::fs::rename(&found.dir, &args.to).map_err(failed)?;
    out::text(&format!(
        "{}: {} measured {} ({})",
        found.rule.name(),
        found.label,
        found.commit,
        found.rule.words()
    ));
    Ok(Exit::Success)
}

async fn list(args: &ListBaselinesArgs, env: &EnvSnapshot) -> Result<Exit, Error> {
    let inputs = context::resolve(&args.settings.0, env)?;
    super::super::tell::hide(&inputs);
    let asked = Asked::of(&inputs).await.map_err(Error::Baseline)?;
    let nothing = Conditions::default();
    let question = asked.question(&inputs, &nothing, Path::new(""));
    let rows = discover::list(&asked.github, &question)
        .await
        .map_err(store::StoreError::from)?;
    if args.json {
        let rows: Vec<serde_json::Value> = rows.iter().map(document).collect();
        out::text(&format!(
            "{:#}",
            json!({ "schema_version": 1, "stored": rows })
        ));
        return Ok(Exit::Success);
    }
    if rows.is_empty() {
        out::text("nothing is stored yet");
        return Ok(Exit::Success);
    }
    let rows: Vec<(String, String, String)> = rows.iter().map(row).collect();
    out::table(&rows);
    Ok(Exit::Success)
}

fn document(listed: &Listed) -> serde_json::Value {
    json!({
        "name": listed.label,
        "commit": listed.commit,
        "stored_at": listed.created,
        "usable": listed.refused.is_none(),
        "refused": listed.refused.as_ref().map(discover::Refused::kind),
        "reason": listed.refused.as_ref().map(ToString::to_string),
    })
}

fn row(listed: &Listed) -> (String, String, String) {
    let state = match &listed.refused {
        None => "usable".to_owned(),
        Some(why) => why.to_string(),
    };
    let when = listed.created.clone().unwrap_or_default();
    (listed.label.clone(), when, state)
}

async fn push(args: &PushArgs, env: &EnvSnapshot) -> Result<Exit, Error> {
    let inputs = context::resolve(&args.settings.0, env)?;
    super::super::tell::hide(&inputs);
    let path = store::find(&args.results)?;
    let dir = path.with_file_name("");
    let set = results::read_numbers(&path, &Limits::default())?;
    if let Err(why) = green(&inputs, &set, &dir) {
        if !args.force {
            return Err(Error::Baseline(format!(
                "{} is not stored: {why}. A new baseline is stored only by a green run of the base branch; --force stores it all the same",
                dir.display()
            )));
        }
        tracing::warn!("stored by force, although {why}");
    }
    let keep = usize::try_from(args.keep).unwrap_or(keep::KEEP);
    if let Some(to) = &args.to {
        let (key, when, commit) = keep::place_of(&set)?;
        let folder = keep::artifact_name(&inputs);
        let root = to.join(folder).join(key);
        let name = store::branch::entry_name(when, &commit);
        let removed =
            share::put(&root, &name, &keep::files(&dir)?, keep).map_err(|source| Error::Write {
                path: root.clone(),
                source,
            })?;
        let place = root.join(name);
        out::text(&format!(
            "stored in {} ({removed} older ones removed)",
            place.display()
        ));
        return Ok(Exit::Success);
    }
    let (branch, pushed) = keep::push(&inputs, &dir, keep).await?;
    out::text(&format!(
        "stored on {branch} as {} ({} older ones removed, {} attempts)",
        pushed.commit, pushed.removed, pushed.attempts
    ));
    Ok(Exit::Success)
}

/// Whether results are of a green run of the base branch, by what they say of themselves.
///
/// # Errors
/// In a sentence, why they are not.
fn green(inputs: &Inputs, set: &ResultSet, dir: &Path) -> Result<(), String> {
    if set.origin != Origin::Own {
        return Err("KITT wrote it, which does not say what it measured".to_owned());
    }
    if set.status != RunStatus::Complete {
        return Err("the measurement did not come to an end".to_owned());
    }
    let event = set.provenance.event.clone();
    let git_ref = set.provenance.git_ref.as_deref();
    let branch = git_ref.and_then(|name| name.strip_prefix("refs/heads/"));
    let trigger = &inputs.trigger;
    // What the results say of themselves; else the run that stores them.
    let measured = context::Trigger {
        event: event.or_else(|| trigger.event.clone()),
        base_branch: branch
            .map(str::to_owned)
            .or_else(|| trigger.base_branch.clone()),
        ..trigger.clone()
    };
    keep::of_base(&measured)?;
    let mut scenarios = set.runs.iter().flat_map(|run| run.scenarios.values());
    let trusted = |validity: Option<Validity>| matches!(validity, None | Some(Validity::Valid));
    if !scenarios.all(|scenario| trusted(scenario.validity)) {
        return Err("a measurement in it cannot be trusted".to_owned());
    }
    judged(dir)
}

/// What the comparison beside results says, if they were compared.
#[derive(Deserialize)]
struct Judged {
    verdict: String,
    gate: GateState,
    /// A regression that somebody answers for.
    #[serde(default)]
    accepted: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct GateState {
    state: String,
}

/// Whether the comparison beside results, if there is one, lets them be a baseline.
fn judged(dir: &Path) -> Result<(), String> {
    let path = dir.join("comparison.json");
    if !path.exists() {
        return Ok(());
    }
    let text = std::fs::read(&path).map_err(|error| error.to_string())?;
    let judged: Judged = serde_json::from_slice(&text)
        .map_err(|error| format!("{} is no comparison: {error}", path.display()))?;
    if !matches!(judged.gate.state.as_str(), "off" | "passed") {
        return Err("its gate is closed".to_owned());
    }
    if judged.verdict == "regressed" && judged.accepted.is_none() {
        return Err("it regressed".to_owned());
    }
    Ok(())
}
