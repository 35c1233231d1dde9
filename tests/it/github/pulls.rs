//! Pull requests, their files, the events of their labels, and roles of people.

use serde_json::{Value, json};

use super::{
    auth::{Level, need},
    call::{Answer, Call, Reply},
    shapes,
    state::{Activity, IssueEvent, Pull, Repository, State},
};

pub(super) fn route(
    state: &mut State,
    call: &Call,
    repo: &Repository,
    rest: &[&str],
) -> Option<Answer> {
    if call.method != "GET" {
        return None;
    }
    Some(match rest {
        ["pulls"] => list(state, call, repo),
        ["pulls", number] => get(state, call, repo, number),
        ["pulls", number, "files"] => files(state, call, repo, number),
        ["commits", sha, "pulls"] => of_commit(state, call, repo, sha),
        ["activity"] => activity(state, call, repo),
        ["issues", number, "events"] => events(state, call, repo, number),
        ["collaborators", login, "permission"] => permission(state, call, repo, login),
        _ => return None,
    })
}

fn find<'a>(state: &'a State, repo: &Repository, number: &str) -> Result<&'a Pull, Reply> {
    let mut pulls = state.pulls.iter();
    pulls
        .find(|p| p.repo == repo.id && p.number.to_string() == number)
        .ok_or_else(Reply::missing)
}

fn get(state: &State, call: &Call, repo: &Repository, number: &str) -> Answer {
    need(call, repo, &["pull-requests"], Level::Read)?;
    let pull = find(state, repo, number)?;
    Ok(Reply::ok(shapes::pull(state, call, repo, pull)))
}

/// Newest first. A `head` without an owner is no filter, as at GitHub.
fn list(state: &State, call: &Call, repo: &Repository) -> Answer {
    need(call, repo, &["pull-requests"], Level::Read)?;
    let wanted = call.query("state").unwrap_or("open");
    let head = call.query("head").and_then(|head| head.split_once(':'));
    let base = call.query("base");
    let mut pulls: Vec<&Pull> = state
        .pulls
        .iter()
        .filter(|pull| pull.repo == repo.id)
        .filter(|pull| wanted == "all" || (wanted == "open") == pull.open)
        .filter(|pull| {
            head.is_none_or(|(owner, branch)| {
                pull.head_owner.eq_ignore_ascii_case(owner) && pull.head_ref == branch
            })
        })
        .filter(|pull| base.is_none_or(|base| pull.base_ref == base))
        .collect();
    pulls.sort_by_key(|pull| std::cmp::Reverse(pull.number));
    let shape = |pull: &&Pull| shapes::pull(state, call, repo, pull);
    let items: Vec<_> = pulls.iter().map(shape).collect();
    Ok(Reply::list(call, repo.id, None, &items))
}

fn files(state: &State, call: &Call, repo: &Repository, number: &str) -> Answer {
    need(call, repo, &["pull-requests"], Level::Read)?;
    let pull = find(state, repo, number)?;
    let difference = || {
        let base = state.merge_base(&pull.base_sha, &pull.head_sha);
        state.difference(&base.unwrap_or_default(), &pull.head_sha)
    };
    let items: Vec<Value> = pull.files.clone().unwrap_or_else(difference);
    // GitHub's own limit.
    Ok(Reply::list(
        call,
        repo.id,
        None,
        &items[..items.len().min(3000)],
    ))
}

fn of_commit(state: &State, call: &Call, repo: &Repository, sha: &str) -> Answer {
    need(call, repo, &["pull-requests"], Level::Read)?;
    let Some(sha) = state.resolve(repo, sha) else {
        return Err(Reply::failure(
            422,
            &format!("No commit found for SHA: {sha}"),
        ));
    };
    let related = |pull: &&Pull| {
        let here = pull.repo == repo.id || pull.head_repo == Some(repo.id);
        let own = pull.head_repo == Some(repo.id);
        let told = own || state.fork_pulls_by_commit;
        let among = || {
            let base = state.ancestors(&pull.base_sha);
            state.ancestors(&pull.head_sha).contains(&sha) && !base.contains(&sha)
        };
        here && ((pull.merge_commit_sha.as_ref() == Some(&sha)) || (told && among()))
    };
    let shape = |pull: &Pull| {
        let owner = state.repositories.iter().find(|r| r.id == pull.repo);
        shapes::pull(state, call, owner.unwrap_or(repo), pull)
    };
    let items: Vec<_> = state.pulls.iter().filter(related).map(shape).collect();
    Ok(Reply::list(call, repo.id, None, &items))
}

fn events(state: &State, call: &Call, repo: &Repository, number: &str) -> Answer {
    need(call, repo, &["issues", "pull-requests"], Level::Read)?;
    let number = find(state, repo, number)?.number;
    let wanted = |e: &&IssueEvent| e.repo == repo.id && e.issue == number;
    let shape = |event| shapes::event(call, repo, event);
    let items: Vec<_> = state.events.iter().filter(wanted).map(shape).collect();
    Ok(Reply::list(call, repo.id, None, &items))
}

/// Pushes to a branch, newest first unless asked otherwise. GitHub pages it by cursor; one page is
/// enough here.
fn activity(state: &State, call: &Call, repo: &Repository) -> Answer {
    need(call, repo, &["contents"], Level::Read)?;
    let wanted = call.query("ref").map(|name| {
        let full = name.starts_with("refs/");
        if full {
            name.to_owned()
        } else {
            format!("refs/heads/{name}")
        }
    });
    let mut found: Vec<&Activity> = state
        .activity
        .iter()
        .filter(|push| repo.is(&push.repo))
        .filter(|push| wanted.as_ref().is_none_or(|name| *name == push.reference))
        .collect();
    if call.query("direction") != Some("asc") {
        found.reverse();
    }
    let size = call.query("per_page").and_then(|size| size.parse().ok());
    found.truncate(size.unwrap_or(30));
    let shape = |push: &&Activity| {
        let kind = if push.before.is_some() {
            "push"
        } else {
            "branch_creation"
        };
        json!({
            "id": push.id, "node_id": "PSH_x", "ref": push.reference,
            "before": push.before.clone().unwrap_or_else(|| "0".repeat(40)),
            "after": push.after, "timestamp": push.timestamp, "activity_type": kind,
            "actor": shapes::user("dev"),
        })
    };
    let items: Vec<Value> = found.iter().map(shape).collect();
    Ok(Reply::ok(items.into()))
}

/// `permission` knows four words only; `role_name` says the role.
fn permission(state: &State, call: &Call, repo: &Repository, login: &str) -> Answer {
    need(call, repo, &["metadata"], Level::Read)?;
    if call.token.is_none() {
        return Err(Reply::failure(401, "Requires authentication"));
    }
    if state.unknown_users.contains(login) {
        return Err(Reply::failure(404, &format!("{login} is not a user")));
    }
    let anyone = if repo.private { "none" } else { "read" };
    let mut known = state.permissions.iter();
    let role = known.find(|(name, _)| name.eq_ignore_ascii_case(login));
    let role = role.map_or(anyone, |(_, role)| role.as_str());
    let word = match role {
        "maintain" => "write",
        "triage" => "read",
        role => role,
    };
    let mut user = shapes::user(login);
    user["role_name"] = role.into();
    Ok(Reply::ok(
        json!({"permission": word, "role_name": role, "user": user}),
    ))
}
