//! Commits, comparisons and contents.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    auth::{Level, need},
    call::{Answer, Body, Call, Reply},
    shapes,
    state::{Commit, Repository, State},
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
    let allowed = || need(call, repo, &["contents"], Level::Read);
    Some(match rest {
        ["commits"] => allowed().and_then(|()| list(state, call, repo)),
        ["commits", name @ ..] => allowed().and_then(|()| get(state, call, repo, &name.join("/"))),
        ["compare", ends @ ..] => {
            allowed().and_then(|()| compare(state, call, repo, &ends.join("/")))
        }
        ["contents", path @ ..] => {
            allowed().and_then(|()| contents(state, call, repo, &path.join("/")))
        }
        _ => return None,
    })
}

impl State {
    /// The commit that a branch, a tag, a full or a short SHA names; `HEAD` is the default
    /// branch.
    pub fn resolve(&self, repo: &Repository, name: &str) -> Option<String> {
        let name = if name == "HEAD" {
            &repo.default_branch
        } else {
            name
        };
        let name = name.strip_prefix("refs/").unwrap_or(name);
        for prefix in ["", "heads/", "tags/"] {
            let key = (repo.full_name.clone(), format!("{prefix}{name}"));
            if let Some(sha) = self.refs.get(&key) {
                return Some(sha.clone());
            }
        }
        if self.commits.contains_key(name) {
            return Some(name.to_owned());
        }
        let mut short = self.commits.keys().filter(|sha| sha.starts_with(name));
        let found = short.next().filter(|_| name.len() >= 7);
        found.filter(|_| short.next().is_none()).cloned()
    }

    /// The commit itself and all before it.
    pub fn ancestors(&self, sha: &str) -> BTreeSet<String> {
        self.walk(sha).into_iter().map(|c| c.sha.clone()).collect()
    }

    /// Newest first, as `git log` has it.
    fn walk(&self, sha: &str) -> Vec<&Commit> {
        let mut known = BTreeSet::new();
        let mut heap = BinaryHeap::new();
        let mut found = Vec::new();
        let add = |sha: &str, known: &mut BTreeSet<String>, heap: &mut BinaryHeap<_>| {
            if let Some(commit) = self.commits.get(sha)
                && known.insert(sha.to_owned())
            {
                heap.push((commit.date.clone(), commit.order, sha.to_owned()));
            }
        };
        add(sha, &mut known, &mut heap);
        while let Some((_, _, sha)) = heap.pop() {
            let commit = &self.commits[&sha];
            for parent in &commit.parents {
                add(parent, &mut known, &mut heap);
            }
            found.push(commit);
        }
        found
    }

    /// The newest commit that both have.
    pub fn merge_base(&self, one: &str, other: &str) -> Option<String> {
        let theirs = self.ancestors(other);
        let common: Vec<_> = self.walk(one);
        let common: Vec<_> = common.iter().filter(|c| theirs.contains(&c.sha)).collect();
        let older: BTreeSet<String> = common
            .iter()
            .flat_map(|c| &c.parents)
            .flat_map(|parent| self.ancestors(parent))
            .collect();
        let best = common.iter().find(|c| !older.contains(&c.sha));
        best.map(|c| c.sha.clone())
    }

    /// Every file of a commit with its blob.
    pub fn files(&self, sha: &str) -> BTreeMap<String, String> {
        let tree = self.commits.get(sha).and_then(|c| self.trees.get(&c.tree));
        let files = tree.into_iter().flatten();
        files
            .map(|(path, (_, blob))| (path.clone(), blob.clone()))
            .collect()
    }

    /// The files that differ, as `files` of a comparison lists them.
    pub fn difference(&self, base: &str, head: &str) -> Vec<Value> {
        let (old, new) = (self.files(base), self.files(head));
        let lines = |blob: Option<&String>| {
            let bytes = blob.and_then(|sha| self.blobs.get(sha));
            bytes.map_or(0, |bytes| bytes.split(|byte| *byte == b'\n').count() - 1)
        };
        let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let mut found = Vec::new();
        for path in paths {
            let (before, after) = (old.get(path), new.get(path));
            let status = match (before, after) {
                (before, after) if before == after => continue,
                (None, _) => "added",
                (_, None) => "removed",
                _ => "modified",
            };
            let (removed, added) = (lines(before), lines(after));
            found.push(json!({
                "sha": after.or(before),
                "filename": path,
                "status": status,
                "additions": added,
                "deletions": removed,
                "changes": added + removed,
            }));
        }
        found
    }
}

fn shape(call: &Call, repo: &Repository, commit: &Commit) -> Value {
    let (full, sha) = (&repo.full_name, &commit.sha);
    let api = format!("{}/repos/{full}", call.base);
    let person = json!({
        "name": commit.author,
        "email": format!("{}@users.noreply.github.com", commit.author),
        "date": commit.date,
    });
    let parent = |sha: &String| json!({"sha": sha, "url": format!("{api}/commits/{sha}")});
    json!({
        "sha": sha,
        "node_id": format!("C_{sha}"),
        "url": format!("{api}/commits/{sha}"),
        "html_url": format!("https://github.com/{full}/commit/{sha}"),
        "commit": {
            "message": commit.message,
            "author": person,
            "committer": person,
            "tree": {"sha": commit.tree, "url": format!("{api}/git/trees/{}", commit.tree)},
            "comment_count": 0,
        },
        "author": shapes::user(&commit.author),
        "committer": shapes::user(&commit.author),
        "parents": commit.parents.iter().map(parent).collect::<Vec<_>>(),
    })
}

fn list(state: &State, call: &Call, repo: &Repository) -> Answer {
    let name = call.query("sha").unwrap_or(&repo.default_branch);
    let sha = state.resolve(repo, name).ok_or_else(Reply::missing)?;
    let (since, until) = (call.query("since"), call.query("until"));
    let items: Vec<_> = state
        .walk(&sha)
        .into_iter()
        .filter(|c| since.is_none_or(|since| c.date.as_str() >= since))
        .filter(|c| until.is_none_or(|until| c.date.as_str() <= until))
        .map(|commit| shape(call, repo, commit))
        .collect();
    Ok(Reply::list(call, repo.id, None, &items))
}

fn get(state: &State, call: &Call, repo: &Repository, name: &str) -> Answer {
    let Some(sha) = state.resolve(repo, name) else {
        return Err(Reply::failure(
            422,
            &format!("No commit found for SHA: {name}"),
        ));
    };
    if call.accept.contains(".sha") {
        return Ok(Reply::new(200, Body::Bytes(sha.into())));
    }
    let commit = &state.commits[&sha];
    let mut shape = shape(call, repo, commit);
    let parent = commit.parents.first().map(String::as_str);
    shape["files"] = state.difference(parent.unwrap_or_default(), &sha).into();
    Ok(Reply::ok(shape))
}

/// `base...head`; either may be `owner:branch` of another fork.
fn compare(state: &State, call: &Call, repo: &Repository, ends: &str) -> Answer {
    let (base, head) = ends.split_once("...").ok_or_else(Reply::missing)?;
    let find = |end: &str| {
        let Some((owner, name)) = end.split_once(':') else {
            return state.resolve(repo, end);
        };
        let mut forks = state.repositories.iter().filter(|r| r.owner() == owner);
        forks.find_map(|fork| state.resolve(fork, name))
    };
    let (base, head) = find(base).zip(find(head)).ok_or_else(Reply::missing)?;
    let Some(merge_base) = state.merge_base(&base, &head) else {
        let message = format!("No common ancestor between {base} and {head}.");
        return Err(Reply::failure(404, &message));
    };
    let (ours, theirs) = (state.ancestors(&base), state.ancestors(&head));
    let behind = ours.difference(&theirs).count();
    let mut ahead: Vec<&Commit> = state.walk(&head);
    ahead.retain(|commit| !ours.contains(&commit.sha));
    ahead.reverse();
    let status = match (ahead.len(), behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let commits: Vec<Value> = ahead.iter().map(|c| shape(call, repo, c)).collect();
    let size = call.query("per_page").and_then(|v| v.parse().ok());
    let page = call.query("page").and_then(|v| v.parse::<usize>().ok());
    let (size, page) = (size.unwrap_or(250), page.unwrap_or(1).max(1));
    let here: Vec<_> = commits.iter().skip((page - 1) * size).take(size).collect();
    // GitHub gives the files on the first page alone, and 300 at most.
    let mut files = state.difference(&merge_base, &head);
    files.truncate(if page == 1 { 300 } else { 0 });
    Ok(Reply::ok(json!({
        "url": format!("{}/repos/{}/compare/{ends}", call.base, repo.full_name),
        "status": status,
        "ahead_by": ahead.len(),
        "behind_by": behind,
        "total_commits": ahead.len(),
        "base_commit": shape(call, repo, &state.commits[&base]),
        "merge_base_commit": shape(call, repo, &state.commits[&merge_base]),
        "commits": here,
        "files": files,
    })))
}

fn entry(call: &Call, repo: &Repository, path: &str, kind: &str, sha: &str, size: usize) -> Value {
    let full = &repo.full_name;
    json!({
        "type": kind,
        "name": path.rsplit('/').next(),
        "path": path,
        "sha": sha,
        "size": size,
        "url": format!("{}/repos/{full}/contents/{path}", call.base),
        "html_url": format!("https://github.com/{full}/blob/HEAD/{path}"),
        "git_url": format!("{}/repos/{full}/git/blobs/{sha}", call.base),
        "download_url": null,
    })
}

fn contents(state: &State, call: &Call, repo: &Repository, path: &str) -> Answer {
    let name = call.query("ref").unwrap_or(&repo.default_branch);
    let Some(commit) = state.resolve(repo, name) else {
        return Err(Reply::failure(
            404,
            &format!("No commit found for the ref {name}"),
        ));
    };
    let files = state.files(&commit);
    let path = path.trim_matches('/');
    let Some(blob) = files.get(path) else {
        return folder(state, call, repo, path, &files);
    };
    let bytes = &state.blobs[blob];
    if call.accept.contains("raw") {
        return Ok(Reply::new(200, Body::Bytes(bytes.to_vec().into())));
    }
    let mut shape = entry(call, repo, path, "file", blob, bytes.len());
    // Files above 1 MB come without their content.
    let small = bytes.len() <= 1_000_000;
    shape["encoding"] = if small { "base64" } else { "none" }.into();
    shape["content"] = if small { wrapped(bytes) } else { String::new() }.into();
    Ok(Reply::ok(shape))
}

/// Base64 in lines of 60 characters, as GitHub sends it.
pub(super) fn wrapped(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut lines = String::new();
    for line in text.as_bytes().chunks(60) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines
}

fn folder(
    state: &State,
    call: &Call,
    repo: &Repository,
    path: &str,
    files: &BTreeMap<String, String>,
) -> Answer {
    let mut inside: BTreeMap<String, Value> = BTreeMap::new();
    for (file, blob) in files {
        let tail = match path {
            "" => Some(file.as_str()),
            path => file.strip_prefix(path).and_then(|t| t.strip_prefix('/')),
        };
        let Some(tail) = tail else { continue };
        let name = tail.split('/').next().unwrap_or_default();
        let full = format!("{path}/{name}");
        let full = full.trim_start_matches('/');
        let value = if name == tail {
            entry(call, repo, full, "file", blob, state.blobs[blob].len())
        } else {
            entry(call, repo, full, "dir", blob, 0)
        };
        inside.insert(name.to_owned(), value);
    }
    if inside.is_empty() {
        return Err(Reply::missing());
    }
    Ok(Reply::ok(inside.into_values().collect()))
}
