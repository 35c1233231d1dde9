//! Workflow runs and artifacts.

use serde_json::Value;

use super::{
    auth::{Level, need},
    call::{Answer, Body, Call, Reply},
    shapes,
    state::{Artifact, Repository, Run, State},
};

pub(super) fn route(
    state: &mut State,
    call: &Call,
    repo: &Repository,
    rest: &[&str],
) -> Option<Answer> {
    let ["actions", rest @ ..] = rest else {
        return None;
    };
    Some(match (call.method.as_str(), rest) {
        ("GET", ["artifacts"]) => artifacts(state, call, repo, None),
        ("GET", ["runs", id, "artifacts"]) => artifacts(state, call, repo, Some(id)),
        ("GET", ["artifacts", id]) => artifact(state, call, repo, id),
        ("GET", ["artifacts", id, "zip"]) => download(state, call, repo, id),
        ("DELETE", ["artifacts", id]) => delete(state, call, repo, id),
        ("GET", ["runs"]) => runs(state, call, repo, None),
        ("GET", ["runs", id]) => run(state, call, repo, id),
        ("GET", ["workflows", id, "runs"]) => runs(state, call, repo, Some(id)),
        _ => return None,
    })
}

/// Newest first.
fn artifacts(state: &State, call: &Call, repo: &Repository, run: Option<&str>) -> Answer {
    need(call, repo, &["actions"], Level::Read)?;
    if let Some(id) = run {
        find_run(state, repo, id)?;
    }
    let name = call.query("name");
    let mut found: Vec<&Artifact> = state
        .artifacts
        .iter()
        .filter(|a| a.repo == repo.id && name.is_none_or(|name| a.name == name))
        .filter(|a| run.is_none_or(|id| a.run.to_string() == id))
        .collect();
    found.sort_by_key(|a| std::cmp::Reverse(a.id));
    let shape = |a: &&Artifact| shapes::artifact(state, call, repo, a);
    let items: Vec<_> = found.iter().map(shape).collect();
    Ok(Reply::list(call, repo.id, Some("artifacts"), &items))
}

fn find<'a>(state: &'a State, repo: &Repository, id: &str) -> Result<&'a Artifact, Reply> {
    let mut artifacts = state.artifacts.iter();
    artifacts
        .find(|a| a.repo == repo.id && a.id.to_string() == id)
        .ok_or_else(Reply::missing)
}

fn artifact(state: &State, call: &Call, repo: &Repository, id: &str) -> Answer {
    need(call, repo, &["actions"], Level::Read)?;
    let artifact = find(state, repo, id)?;
    Ok(Reply::ok(shapes::artifact(state, call, repo, artifact)))
}

/// A redirection to a signed address of another origin. Anonymous requests are refused even
/// where the repository is public.
fn download(state: &State, call: &Call, repo: &Repository, id: &str) -> Answer {
    need(call, repo, &["actions"], Level::Read)?;
    if call.token.is_none() {
        return Err(Reply::failure(401, "Requires authentication"));
    }
    let artifact = find(state, repo, id)?;
    if artifact.expired {
        return Err(Reply::failure(410, "Artifact has expired"));
    }
    let to = format!("{}/blob/{id}?sv=1&sig=signature", call.blobs);
    Ok(Reply::new(302, Body::None).header("location", &to))
}

fn delete(state: &mut State, call: &Call, repo: &Repository, id: &str) -> Answer {
    need(call, repo, &["actions"], Level::Write)?;
    let id = find(state, repo, id)?.id;
    state.artifacts.retain(|a| a.id != id);
    Ok(Reply::new(204, Body::None))
}

fn find_run<'a>(state: &'a State, repo: &Repository, id: &str) -> Result<&'a Run, Reply> {
    let mut runs = state.runs.iter();
    runs.find(|run| run.repo == repo.id && run.id.to_string() == id)
        .ok_or_else(Reply::missing)
}

fn run(state: &State, call: &Call, repo: &Repository, id: &str) -> Answer {
    need(call, repo, &["actions"], Level::Read)?;
    let run = find_run(state, repo, id)?;
    Ok(Reply::ok(shapes::run(state, call, repo, run)))
}

/// Newest first; a workflow goes by its id or its file's name.
fn runs(state: &State, call: &Call, repo: &Repository, workflow: Option<&str>) -> Answer {
    need(call, repo, &["actions"], Level::Read)?;
    let of = |run: &Run, workflow: &str| {
        run.workflow_id.to_string() == workflow || run.path.rsplit('/').next() == Some(workflow)
    };
    if let Some(workflow) = workflow
        && !state
            .runs
            .iter()
            .any(|r| r.repo == repo.id && of(r, workflow))
    {
        return Err(Reply::missing());
    }
    let matches = |key: &str, value: &str| call.query(key).is_none_or(|wanted| wanted == value);
    let mut found: Vec<&Run> = state
        .runs
        .iter()
        .filter(|run| run.repo == repo.id && workflow.is_none_or(|w| of(run, w)))
        .filter(|run| matches("branch", run.head_branch.as_deref().unwrap_or_default()))
        .filter(|run| matches("event", &run.event) && matches("head_sha", &run.head_sha))
        .filter(|run| matches("actor", &run.actor))
        .filter(|run| {
            let conclusion = run.conclusion.as_deref().unwrap_or_default();
            matches("status", &run.status) || matches("status", conclusion)
        })
        .collect();
    found.sort_by_key(|run| std::cmp::Reverse(run.id));
    let shape = |run: &&Run| shapes::run(state, call, repo, run);
    let items: Vec<Value> = found.iter().map(shape).collect();
    Ok(Reply::list(call, repo.id, Some("workflow_runs"), &items))
}
