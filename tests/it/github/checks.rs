//! Check runs.

use serde_json::Value;

use super::{
    auth::{App, Level, need},
    call::{Answer, Call, Reply},
    shapes,
    state::{Check, Repository, State},
};

const CONCLUSIONS: [&str; 7] = [
    "action_required",
    "cancelled",
    "failure",
    "neutral",
    "success",
    "skipped",
    "timed_out",
];

pub(super) fn route(
    state: &mut State,
    call: &Call,
    repo: &Repository,
    rest: &[&str],
) -> Option<Answer> {
    Some(match (call.method.as_str(), rest) {
        ("POST", ["check-runs"]) => create(state, call, repo),
        ("GET", ["check-runs", id]) => get(state, call, repo, id),
        ("PATCH", ["check-runs", id]) => update(state, call, repo, id),
        ("GET", ["commits", name, "check-runs"]) => list(state, call, repo, name),
        _ => return None,
    })
}

fn invalid(message: &str) -> Reply {
    Reply::failure(422, &format!("Invalid request.\n\n{message}"))
}

/// The rules of the fields; an update's output needs no title.
fn valid(call: &Call, output_needs: &[&str]) -> Result<(), Reply> {
    let (status, conclusion) = (call.text("status"), call.text("conclusion"));
    if let Some(status) = status
        && !["queued", "in_progress", "completed"].contains(&status)
    {
        return Err(invalid(&format!("{status} is not a member of status.")));
    }
    match conclusion {
        None if status == Some("completed") => {
            return Err(invalid("Missing conclusion for a completed check run."));
        }
        Some(_) if status.is_some_and(|status| status != "completed") => {
            return Err(invalid("A conclusion needs the status completed."));
        }
        Some(name) if !CONCLUSIONS.contains(&name) => {
            return Err(invalid(&format!("{name} is not a member of conclusion.")));
        }
        _ => {}
    }
    let output = call.field("output");
    if output.is_null() {
        return Ok(());
    }
    let text = |name: &str| output[name].as_str().unwrap_or_default();
    for needed in output_needs {
        if text(needed).is_empty() {
            return Err(invalid(&format!("\"{needed}\" wasn't supplied.")));
        }
    }
    for limited in ["summary", "text"] {
        if text(limited).encode_utf16().count() > 65_535 {
            let why = "Only 65535 characters are allowed";
            return Err(invalid(&format!("{why}; output.{limited} has more.")));
        }
    }
    let annotations = output["annotations"].as_array();
    let annotations = annotations.map_or(&[][..], Vec::as_slice);
    if annotations.len() > 50 {
        let length = annotations.len();
        let why = format!("No more than 50 items are allowed; {length} were supplied.");
        return Err(invalid(&why));
    }
    annotations.iter().try_for_each(annotation)
}

fn annotation(annotation: &Value) -> Result<(), Reply> {
    for needed in [
        "path",
        "start_line",
        "end_line",
        "annotation_level",
        "message",
    ] {
        if annotation[needed].is_null() {
            return Err(invalid(&format!("\"{needed}\" wasn't supplied.")));
        }
    }
    let level = annotation["annotation_level"].as_str().unwrap_or_default();
    if ["notice", "warning", "failure"].contains(&level) {
        Ok(())
    } else {
        Err(invalid(&format!("{level} is not an annotation_level.")))
    }
}

/// Only apps have check runs.
fn app_of(call: &Call) -> Result<App, Reply> {
    let app = call.token.as_ref().and_then(|token| token.app.clone());
    app.ok_or_else(|| Reply::failure(403, "You must authenticate via a GitHub App."))
}

fn fill(check: &mut Check, call: &Call, now: &str) {
    let text = |name: &str| call.text(name).map(str::to_owned);
    if let Some(name) = text("name") {
        check.name = name;
    }
    if let Some(external) = text("external_id") {
        check.external_id = external;
    }
    if let Some(url) = text("details_url") {
        check.details_url = Some(url);
    }
    if let Some(started) = text("started_at") {
        check.started_at = started;
    }
    if let Some(status) = text("status") {
        check.status = status;
    }
    if let Some(conclusion) = text("conclusion") {
        "completed".clone_into(&mut check.status);
        check.conclusion = Some(conclusion);
        let given = text("completed_at");
        check.completed_at = Some(given.unwrap_or_else(|| now.to_owned()));
    } else if check.status != "completed" {
        (check.conclusion, check.completed_at) = (None, None);
    }
    if !call.field("actions").is_null() {
        check.actions = call.field("actions").clone();
    }
    let output = call.field("output");
    if output.is_null() {
        return;
    }
    let text = |name: &str| output[name].as_str().map(str::to_owned);
    check.title = text("title").or(check.title.take());
    check.summary = text("summary");
    check.text = text("text");
    let more = output["annotations"].as_array();
    check
        .annotations
        .extend(more.into_iter().flatten().cloned());
}

fn create(state: &mut State, call: &Call, repo: &Repository) -> Answer {
    need(call, repo, &["checks"], Level::Write)?;
    let app = app_of(call)?;
    for needed in ["name", "head_sha"] {
        if call.text(needed).unwrap_or_default().is_empty() {
            return Err(invalid(&format!("\"{needed}\" wasn't supplied.")));
        }
    }
    valid(call, &["title", "summary"])?;
    let sha = call.text("head_sha").unwrap_or_default();
    if !state.commits.contains_key(sha) {
        return Err(Reply::failure(
            422,
            &format!("No commit found for SHA: {sha}"),
        ));
    }
    let now = state.stamp();
    let mut check = Check {
        id: state.id(),
        repo: repo.id,
        name: String::new(),
        head_sha: sha.to_owned(),
        status: "queued".to_owned(),
        conclusion: None,
        started_at: now.clone(),
        completed_at: None,
        details_url: None,
        external_id: String::new(),
        title: None,
        summary: None,
        text: None,
        annotations: Vec::new(),
        actions: Value::Null,
        app,
    };
    fill(&mut check, call, &now);
    let shape = shapes::check(call, repo, &check);
    state.checks.push(check);
    Ok(Reply::json(201, shape))
}

fn position(state: &State, repo: &Repository, id: &str) -> Result<usize, Reply> {
    let mut checks = state.checks.iter();
    checks
        .position(|c| c.repo == repo.id && c.id.to_string() == id)
        .ok_or_else(Reply::missing)
}

fn get(state: &State, call: &Call, repo: &Repository, id: &str) -> Answer {
    need(call, repo, &["checks"], Level::Read)?;
    let check = &state.checks[position(state, repo, id)?];
    Ok(Reply::ok(shapes::check(call, repo, check)))
}

fn update(state: &mut State, call: &Call, repo: &Repository, id: &str) -> Answer {
    need(call, repo, &["checks"], Level::Write)?;
    let app = app_of(call)?;
    let at = position(state, repo, id)?;
    if state.checks[at].app != app {
        let id = app.id;
        let why = "Check run can only be modified by the GitHub App that created it.";
        return Err(Reply::failure(
            403,
            &format!("Invalid app_id `{id}` - {why}"),
        ));
    }
    valid(call, &["summary"])?;
    let now = state.stamp();
    fill(&mut state.checks[at], call, &now);
    Ok(Reply::ok(shapes::check(call, repo, &state.checks[at])))
}

/// Newest first; of each app and name the latest alone, unless all are asked for.
fn list(state: &State, call: &Call, repo: &Repository, name: &str) -> Answer {
    need(call, repo, &["checks"], Level::Read)?;
    let Some(sha) = state.resolve(repo, name) else {
        return Err(Reply::failure(
            422,
            &format!("No commit found for SHA: {name}"),
        ));
    };
    let latest = call.query("filter") != Some("all");
    let matches = |key: &str, value: &str| call.query(key).is_none_or(|wanted| wanted == value);
    let mut known = std::collections::BTreeSet::new();
    let mut items = Vec::new();
    for check in state.checks.iter().rev() {
        let wanted = check.repo == repo.id
            && check.head_sha == sha
            && matches("check_name", &check.name)
            && matches("status", &check.status)
            && matches("app_id", &check.app.id.to_string());
        if wanted && (known.insert((check.app.id, &check.name)) || !latest) {
            items.push(shapes::check(call, repo, check));
        }
    }
    Ok(Reply::list(call, repo.id, Some("check_runs"), &items))
}
