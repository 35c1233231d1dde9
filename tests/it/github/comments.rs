//! Comments of issues, pull requests and commits.

use super::{
    auth::{Level, need},
    call::{Answer, Body, Call, Reply},
    shapes,
    state::{Comment, CommitComment, Repository, State},
};

const PERMISSIONS: [&str; 2] = ["issues", "pull-requests"];

pub(super) fn route(
    state: &mut State,
    call: &Call,
    repo: &Repository,
    rest: &[&str],
) -> Option<Answer> {
    Some(match (call.method.as_str(), rest) {
        ("GET", ["issues", number, "comments"]) => list(state, call, repo, number),
        ("POST", ["issues", number, "comments"]) => create(state, call, repo, number),
        (_, ["issues", "comments", id]) => one(state, call, repo, id),
        ("GET", ["commits", sha, "comments"]) => list_of_commit(state, call, repo, sha),
        ("POST", ["commits", sha, "comments"]) => create_on_commit(state, call, repo, sha),
        (_, ["comments", id]) => one_of_commit(state, call, repo, id),
        _ => return None,
    })
}

/// The number of a known pull request or issue.
fn known(state: &State, repo: &Repository, number: &str) -> Result<u64, Reply> {
    let number = number.parse().ok().ok_or_else(Reply::missing)?;
    let found = state
        .pulls
        .iter()
        .any(|p| p.repo == repo.id && p.number == number);
    if found {
        Ok(number)
    } else {
        Err(Reply::missing())
    }
}

fn body_of(call: &Call, resource: &str) -> Result<String, Reply> {
    let body = call.text("body").unwrap_or_default();
    if body.trim().is_empty() {
        let (code, why) = ("missing_field", Some("body can't be blank"));
        return Err(Reply::invalid(resource, "body", code, why));
    }
    if body.encode_utf16().count() > 65_536 {
        let why = "body is too long (maximum is 65536 characters)";
        return Err(Reply::invalid(resource, "body", "custom", Some(why)));
    }
    Ok(body.to_owned())
}

fn list(state: &State, call: &Call, repo: &Repository, number: &str) -> Answer {
    need(call, repo, &PERMISSIONS, Level::Read)?;
    let number = known(state, repo, number)?;
    let since = call.query("since").unwrap_or_default();
    let wanted =
        |c: &&Comment| c.repo == repo.id && c.issue == number && c.updated_at.as_str() >= since;
    let shape = |comment| shapes::comment(call, repo, comment);
    let items: Vec<_> = state.comments.iter().filter(wanted).map(shape).collect();
    Ok(Reply::list(call, repo.id, None, &items))
}

fn create(state: &mut State, call: &Call, repo: &Repository, number: &str) -> Answer {
    need(call, repo, &PERMISSIONS, Level::Write)?;
    let number = known(state, repo, number)?;
    let body = body_of(call, "IssueComment")?;
    let locked = |p: &super::Pull| p.repo == repo.id && p.number == number && p.locked;
    if state.pulls.iter().any(locked) {
        let message = "Unable to create comment because issue is locked.";
        return Err(Reply::failure(403, message));
    }
    let now = state.stamp();
    let comment = Comment {
        id: state.id(),
        repo: repo.id,
        issue: number,
        author: call.login().to_owned(),
        app: call.token.as_ref().and_then(|token| token.app.clone()),
        body,
        created_at: now.clone(),
        updated_at: now,
    };
    let shape = shapes::comment(call, repo, &comment);
    state.comments.push(comment);
    Ok(Reply::json(201, shape))
}

/// One's own, or a token that may change those of others.
fn may_change(call: &Call, author: &str) -> Result<(), Reply> {
    match &call.token {
        Some(token) if token.login == author || token.edits_others => Ok(()),
        Some(token) if token.app.is_some() => Err(token.refusal()),
        _ => Err(Reply::failure(403, "Must have admin rights to Repository.")),
    }
}

/// What a request wants of one comment.
enum Wanted {
    Read,
    Change(String),
    Delete,
}

/// What it wants, where its token may.
fn wanted_of(call: &Call, author: &str, kind: &'static str) -> Result<Wanted, Reply> {
    match call.method.as_str() {
        "GET" => Ok(Wanted::Read),
        "PATCH" => {
            may_change(call, author)?;
            Ok(Wanted::Change(body_of(call, kind)?))
        }
        "DELETE" => {
            may_change(call, author)?;
            Ok(Wanted::Delete)
        }
        _ => Err(Reply::missing()),
    }
}

fn one(state: &mut State, call: &Call, repo: &Repository, id: &str) -> Answer {
    let level = Level::for_method(&call.method);
    need(call, repo, &PERMISSIONS, level)?;
    let now = state.stamp();
    let mut comments = state.comments.iter_mut().enumerate();
    let (at, comment) = comments
        .find(|(_, c)| c.repo == repo.id && c.id.to_string() == id)
        .ok_or_else(Reply::missing)?;
    match wanted_of(call, &comment.author, "IssueComment")? {
        Wanted::Read => {}
        Wanted::Change(body) => (comment.body, comment.updated_at) = (body, now),
        Wanted::Delete => {
            state.comments.remove(at);
            return Ok(Reply::new(204, Body::None));
        }
    }
    Ok(Reply::ok(shapes::comment(call, repo, comment)))
}

fn list_of_commit(state: &State, call: &Call, repo: &Repository, sha: &str) -> Answer {
    need(call, repo, &["contents"], Level::Read)?;
    let sha = state.resolve(repo, sha).ok_or_else(Reply::missing)?;
    let wanted = |c: &&CommitComment| c.repo == repo.id && c.sha == sha;
    let shape = |comment| shapes::commit_comment(call, repo, comment);
    let found = state.commit_comments.iter().filter(wanted);
    let items: Vec<_> = found.map(shape).collect();
    Ok(Reply::list(call, repo.id, None, &items))
}

fn create_on_commit(state: &mut State, call: &Call, repo: &Repository, sha: &str) -> Answer {
    need(call, repo, &["contents"], Level::Write)?;
    let Some(sha) = state.resolve(repo, sha) else {
        return Err(Reply::failure(
            422,
            &format!("No commit found for SHA: {sha}"),
        ));
    };
    let now = state.stamp();
    let comment = CommitComment {
        id: state.id(),
        repo: repo.id,
        sha,
        author: call.login().to_owned(),
        body: body_of(call, "CommitComment")?,
        created_at: now.clone(),
        updated_at: now,
    };
    let shape = shapes::commit_comment(call, repo, &comment);
    state.commit_comments.push(comment);
    Ok(Reply::json(201, shape))
}

fn one_of_commit(state: &mut State, call: &Call, repo: &Repository, id: &str) -> Answer {
    let level = Level::for_method(&call.method);
    need(call, repo, &["contents"], level)?;
    let now = state.stamp();
    let mut comments = state.commit_comments.iter_mut().enumerate();
    let (at, comment) = comments
        .find(|(_, c)| c.repo == repo.id && c.id.to_string() == id)
        .ok_or_else(Reply::missing)?;
    match wanted_of(call, &comment.author, "CommitComment")? {
        Wanted::Read => {}
        Wanted::Change(body) => (comment.body, comment.updated_at) = (body, now),
        Wanted::Delete => {
            state.commit_comments.remove(at);
            return Ok(Reply::new(204, Body::None));
        }
    }
    Ok(Reply::ok(shapes::commit_comment(call, repo, comment)))
}
