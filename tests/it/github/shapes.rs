//! Things as GitHub writes them, with the fields that clients read.

use serde_json::{Value, json};

use super::{
    auth::App,
    call::Call,
    state::{Artifact, Check, Comment, CommitComment, IssueEvent, Pull, Repository, Run, State},
};

const WEB: &str = "https://github.com";

pub(super) fn user(login: &str) -> Value {
    let kind = if login.ends_with("[bot]") {
        "Bot"
    } else {
        "User"
    };
    let id = login
        .bytes()
        .fold(7_u64, |id, byte| (id * 31 + u64::from(byte)) % 200_000_000);
    json!({
        "login": login,
        "id": id,
        "type": kind,
        "site_admin": false,
        "html_url": format!("{WEB}/{login}"),
        "url": format!("https://api.github.com/users/{login}"),
    })
}

fn app(app: &App) -> Value {
    json!({
        "id": app.id,
        "slug": app.slug,
        "name": app.slug,
        "owner": user("github"),
        "html_url": format!("{WEB}/apps/{}", app.slug),
    })
}

pub(super) fn small_repository(call: &Call, repo: &Repository) -> Value {
    let full = &repo.full_name;
    json!({
        "id": repo.id,
        "name": repo.name(),
        "full_name": full,
        "private": repo.private,
        "owner": user(repo.owner()),
        "fork": repo.parent.is_some(),
        "html_url": format!("{WEB}/{full}"),
        "url": format!("{}/repos/{full}", call.base),
    })
}

pub(super) fn repository(state: &State, call: &Call, repo: &Repository) -> Value {
    let mut shape = small_repository(call, repo);
    shape["default_branch"] = repo.default_branch.as_str().into();
    shape["archived"] = repo.archived.into();
    let visibility = if repo.private { "private" } else { "public" };
    shape["visibility"] = visibility.into();
    let parent = repo.parent.as_ref();
    if let Some(parent) = parent.and_then(|name| state.repositories.iter().find(|r| r.is(name))) {
        shape["parent"] = small_repository(call, parent);
        shape["source"] = small_repository(call, parent);
    }
    shape
}

pub(super) fn comment(call: &Call, repo: &Repository, comment: &Comment) -> Value {
    let (full, issue, id) = (&repo.full_name, comment.issue, comment.id);
    let api = format!("{}/repos/{full}/issues", call.base);
    json!({
        "id": id,
        "node_id": format!("IC_{id}"),
        "url": format!("{api}/comments/{id}"),
        "html_url": format!("{WEB}/{full}/pull/{issue}#issuecomment-{id}"),
        "issue_url": format!("{api}/{issue}"),
        "body": comment.body,
        "user": user(&comment.author),
        "author_association": "NONE",
        "created_at": comment.created_at,
        "updated_at": comment.updated_at,
        "performed_via_github_app": comment.app.as_ref().map(app),
    })
}

pub(super) fn commit_comment(call: &Call, repo: &Repository, comment: &CommitComment) -> Value {
    let (full, sha, id) = (&repo.full_name, &comment.sha, comment.id);
    json!({
        "id": id,
        "node_id": format!("CC_{id}"),
        "url": format!("{}/repos/{full}/comments/{id}", call.base),
        "html_url": format!("{WEB}/{full}/commit/{sha}#commitcomment-{id}"),
        "commit_id": sha,
        "path": null,
        "position": null,
        "line": null,
        "body": comment.body,
        "user": user(&comment.author),
        "author_association": "NONE",
        "created_at": comment.created_at,
        "updated_at": comment.updated_at,
    })
}

pub(super) fn check(call: &Call, repo: &Repository, check: &Check) -> Value {
    let (full, id) = (&repo.full_name, check.id);
    let url = format!("{}/repos/{full}/check-runs/{id}", call.base);
    json!({
        "id": id,
        "node_id": format!("CR_{id}"),
        "name": check.name,
        "head_sha": check.head_sha,
        "external_id": check.external_id,
        "url": url,
        "html_url": format!("{WEB}/{full}/runs/{id}"),
        "details_url": check.details_url,
        "status": check.status,
        "conclusion": check.conclusion,
        "started_at": check.started_at,
        "completed_at": check.completed_at,
        "output": {
            "title": check.title,
            "summary": check.summary,
            "text": check.text,
            "annotations_count": check.annotations.len(),
            "annotations_url": format!("{url}/annotations"),
        },
        "check_suite": {"id": 1},
        "app": app(&check.app),
        "pull_requests": [],
    })
}

fn side(
    state: &State,
    call: &Call,
    name: &str,
    owner: &str,
    sha: &str,
    repo: Option<u64>,
) -> Value {
    let repo = repo.and_then(|id| state.repositories.iter().find(|repo| repo.id == id));
    json!({
        "label": format!("{owner}:{name}"),
        "ref": name,
        "sha": sha,
        "user": user(owner),
        "repo": repo.map(|repo| repository(state, call, repo)),
    })
}

pub(super) fn pull(state: &State, call: &Call, repo: &Repository, pull: &Pull) -> Value {
    let (full, number) = (&repo.full_name, pull.number);
    let api = format!("{}/repos/{full}", call.base);
    let closed = (!pull.open).then_some(&pull.updated_at);
    let label = |name: &String| json!({"id": 1, "name": name, "color": "ededed", "default": false});
    let (head, base) = (&pull.head_owner, repo.owner());
    json!({
        "id": 1_000_000 + number,
        "number": number,
        "url": format!("{api}/pulls/{number}"),
        "html_url": format!("{WEB}/{full}/pull/{number}"),
        "issue_url": format!("{api}/issues/{number}"),
        "state": if pull.open { "open" } else { "closed" },
        "locked": pull.locked,
        "draft": pull.draft,
        "title": pull.title,
        "body": pull.body,
        "user": user(&pull.author),
        "labels": pull.labels.iter().map(label).collect::<Vec<_>>(),
        "head": side(state, call, &pull.head_ref, head, &pull.head_sha, pull.head_repo),
        "base": side(state, call, &pull.base_ref, base, &pull.base_sha, Some(pull.repo)),
        "merge_commit_sha": pull.merge_commit_sha,
        "merged": pull.merged,
        "merged_at": if pull.merged { closed } else { None },
        "closed_at": closed,
        "created_at": pull.created_at,
        "updated_at": pull.updated_at,
        "author_association": "CONTRIBUTOR",
    })
}

pub(super) fn event(call: &Call, repo: &Repository, event: &IssueEvent) -> Value {
    let (full, id) = (&repo.full_name, event.id);
    let api = format!("{}/repos/{full}", call.base);
    let commit = event.commit_id.as_ref();
    let mut shape = json!({
        "id": id,
        "node_id": format!("LE_{id}"),
        "url": format!("{api}/issues/events/{id}"),
        "actor": user(&event.actor),
        "event": event.event,
        "commit_id": commit,
        "commit_url": commit.map(|sha| format!("{api}/commits/{sha}")),
        "created_at": event.created_at,
        "performed_via_github_app": null,
    });
    if let Some(label) = &event.label {
        shape["label"] = json!({"name": label, "color": "ededed"});
    }
    shape
}

pub(super) fn run(state: &State, call: &Call, repo: &Repository, run: &Run) -> Value {
    let (full, id) = (&repo.full_name, run.id);
    let api = format!("{}/repos/{full}/actions", call.base);
    let named = |id: u64| state.repositories.iter().find(|repo| repo.id == id);
    let pulls = run.pulls.iter().map(|number| json!({"number": number}));
    json!({
        "id": id,
        "name": run.name,
        "path": run.path,
        "workflow_id": run.workflow_id,
        "workflow_url": format!("{api}/workflows/{}", run.workflow_id),
        "url": format!("{api}/runs/{id}"),
        "html_url": format!("{WEB}/{full}/actions/runs/{id}"),
        "artifacts_url": format!("{api}/runs/{id}/artifacts"),
        "event": run.event,
        "status": run.status,
        "conclusion": run.conclusion,
        "head_sha": run.head_sha,
        "head_branch": run.head_branch,
        "run_number": run.run_number,
        "run_attempt": run.run_attempt,
        "run_started_at": run.created_at,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "display_title": run.name,
        "actor": user(&run.actor),
        "triggering_actor": user(&run.actor),
        "pull_requests": pulls.collect::<Vec<_>>(),
        "repository": small_repository(call, repo),
        "head_repository": run.head_repo.and_then(named).map(|r| small_repository(call, r)),
    })
}

pub(super) fn artifact(state: &State, call: &Call, repo: &Repository, item: &Artifact) -> Value {
    let (full, id) = (&repo.full_name, item.id);
    let url = format!("{}/repos/{full}/actions/artifacts/{id}", call.base);
    let run = state.runs.iter().find(|run| run.id == item.run);
    let run = run.map(|run| {
        json!({
            "id": run.id,
            "repository_id": run.repo,
            "head_repository_id": run.head_repo.unwrap_or(0),
            "head_branch": run.head_branch,
            "head_sha": run.head_sha,
        })
    });
    json!({
        "id": id,
        "node_id": format!("MDg6QXJ0aWZhY3Q{id}"),
        "name": item.name,
        "size_in_bytes": item.bytes.len(),
        "url": url,
        "archive_download_url": format!("{url}/zip"),
        "expired": item.expired,
        "digest": item.digest,
        "created_at": item.created_at,
        "updated_at": item.created_at,
        "expires_at": item.expires_at,
        "workflow_run": run,
    })
}
