//! The objects and references of Git.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    auth::{Level, need},
    call::{Answer, Call, Reply},
    history,
    state::{Commit, Repository, State, Tree},
};

pub(super) fn route(
    state: &mut State,
    call: &Call,
    repo: &Repository,
    rest: &[&str],
) -> Option<Answer> {
    let ["git", rest @ ..] = rest else {
        return None;
    };
    let level = Level::for_method(&call.method);
    if let Err(refusal) = need(call, repo, &["contents"], level) {
        return Some(Err(refusal));
    }
    Some(match (call.method.as_str(), rest) {
        ("GET", ["ref", name @ ..]) => get_ref(state, call, repo, &name.join("/")),
        ("GET", ["matching-refs", name @ ..]) => Ok(matching(state, call, repo, &name.join("/"))),
        ("POST", ["refs"]) => create_ref(state, call, repo),
        ("PATCH", ["refs", name @ ..]) => update_ref(state, call, repo, &name.join("/")),
        ("GET", ["commits", sha]) => get_commit(state, call, repo, sha),
        ("POST", ["commits"]) => create_commit(state, call, repo),
        ("GET", ["blobs", sha]) => get_blob(state, call, repo, sha),
        ("POST", ["blobs"]) => create_blob(state, call, repo),
        ("GET", ["trees", sha]) => get_tree(state, call, repo, sha),
        ("POST", ["trees"]) => create_tree(state, call, repo),
        _ => return None,
    })
}

fn url(call: &Call, repo: &Repository, tail: &str) -> String {
    format!("{}/repos/{}/git/{tail}", call.base, repo.full_name)
}

fn unprocessable(message: &str) -> Reply {
    Reply::failure(422, message)
}

fn ref_shape(call: &Call, repo: &Repository, name: &str, sha: &str) -> Value {
    let commit = url(call, repo, &format!("commits/{sha}"));
    json!({
        "ref": format!("refs/{name}"),
        "node_id": format!("REF_{name}"),
        "url": url(call, repo, &format!("refs/{name}")),
        "object": {"type": "commit", "sha": sha, "url": commit},
    })
}

fn get_ref(state: &State, call: &Call, repo: &Repository, name: &str) -> Answer {
    let key = (repo.full_name.clone(), name.to_owned());
    let sha = state.refs.get(&key).ok_or_else(Reply::missing)?;
    Ok(Reply::ok(ref_shape(call, repo, name, sha)))
}

fn matching(state: &State, call: &Call, repo: &Repository, prefix: &str) -> Reply {
    let refs = state.refs.iter();
    let refs = refs.filter(|((full, name), _)| *full == repo.full_name && name.starts_with(prefix));
    let shape = |((_, name), sha): (&(String, String), &String)| ref_shape(call, repo, name, sha);
    Reply::ok(refs.map(shape).collect())
}

fn create_ref(state: &mut State, call: &Call, repo: &Repository) -> Answer {
    let full = call.text("ref").unwrap_or_default();
    let name = full.strip_prefix("refs/").filter(|name| name.contains('/'));
    let Some(name) = name else {
        return Err(unprocessable("Reference name must be fully qualified."));
    };
    let sha = call.text("sha").unwrap_or_default();
    if !state.commits.contains_key(sha) {
        return Err(unprocessable("Object does not exist"));
    }
    let key = (repo.full_name.clone(), name.to_owned());
    if state.refs.contains_key(&key) {
        return Err(unprocessable("Reference already exists"));
    }
    state.refs.insert(key, sha.to_owned());
    Ok(Reply::json(201, ref_shape(call, repo, name, sha)))
}

fn update_ref(state: &mut State, call: &Call, repo: &Repository, name: &str) -> Answer {
    let key = (repo.full_name.clone(), name.to_owned());
    let Some(old) = state.refs.get(&key) else {
        return Err(unprocessable("Reference does not exist"));
    };
    let sha = call.text("sha").unwrap_or_default();
    if !state.commits.contains_key(sha) {
        return Err(unprocessable("Object does not exist"));
    }
    let force = call.field("force").as_bool().unwrap_or(false);
    if !force && !state.ancestors(sha).contains(old) {
        return Err(unprocessable("Update is not a fast forward"));
    }
    state.refs.insert(key, sha.to_owned());
    Ok(Reply::ok(ref_shape(call, repo, name, sha)))
}

fn commit_shape(call: &Call, repo: &Repository, commit: &Commit) -> Value {
    let (sha, tree) = (&commit.sha, &commit.tree);
    let person = json!({
        "name": commit.author,
        "email": format!("{}@users.noreply.github.com", commit.author),
        "date": commit.date,
    });
    let parent =
        |sha: &String| json!({"sha": sha, "url": url(call, repo, &format!("commits/{sha}"))});
    json!({
        "sha": sha,
        "node_id": format!("C_{sha}"),
        "url": url(call, repo, &format!("commits/{sha}")),
        "html_url": format!("https://github.com/{}/commit/{sha}", repo.full_name),
        "message": commit.message,
        "author": person,
        "committer": person,
        "tree": {"sha": tree, "url": url(call, repo, &format!("trees/{tree}"))},
        "parents": commit.parents.iter().map(parent).collect::<Vec<_>>(),
    })
}

fn get_commit(state: &State, call: &Call, repo: &Repository, sha: &str) -> Answer {
    let commit = state.commits.get(sha).ok_or_else(Reply::missing)?;
    Ok(Reply::ok(commit_shape(call, repo, commit)))
}

fn create_commit(state: &mut State, call: &Call, repo: &Repository) -> Answer {
    let Some(message) = call.text("message") else {
        return Err(unprocessable(
            "Invalid request.\n\n\"message\" wasn't supplied.",
        ));
    };
    let tree = call.text("tree").unwrap_or_default();
    if !state.trees.contains_key(tree) {
        return Err(unprocessable("Tree SHA does not exist"));
    }
    let parents = call.field("parents").as_array();
    let parents = parents.into_iter().flatten();
    let parents: Vec<String> = parents
        .map(|sha| sha.as_str().unwrap_or_default().to_owned())
        .collect();
    if parents.iter().any(|sha| !state.commits.contains_key(sha)) {
        return Err(unprocessable(
            "Parent SHA does not exist or is not a commit object",
        ));
    }
    let author = call.field("author")["name"].as_str();
    let author = author.unwrap_or(call.login()).to_owned();
    let sha = state.add_commit(None, tree, parents, message, &author);
    let shape = commit_shape(call, repo, &state.commits[&sha]);
    Ok(Reply::json(201, shape))
}

fn get_blob(state: &State, call: &Call, repo: &Repository, sha: &str) -> Answer {
    let bytes = state.blobs.get(sha).ok_or_else(Reply::missing)?;
    if call.accept.contains("raw") {
        let body = super::call::Body::Bytes(bytes.to_vec().into());
        return Ok(Reply::new(200, body));
    }
    Ok(Reply::ok(json!({
        "sha": sha,
        "node_id": format!("B_{sha}"),
        "size": bytes.len(),
        "url": url(call, repo, &format!("blobs/{sha}")),
        "encoding": "base64",
        "content": history::wrapped(bytes),
    })))
}

fn create_blob(state: &mut State, call: &Call, repo: &Repository) -> Answer {
    let Some(content) = call.text("content") else {
        return Err(unprocessable(
            "Invalid request.\n\n\"content\" wasn't supplied.",
        ));
    };
    let bytes = match call.text("encoding").unwrap_or("utf-8") {
        "utf-8" => content.as_bytes().to_vec(),
        "base64" => {
            let text: String = content.chars().filter(|c| !c.is_whitespace()).collect();
            STANDARD
                .decode(text)
                .map_err(|error| unprocessable(&format!("content is not Base64: {error}")))?
        }
        _ => return Err(unprocessable("encoding must be utf-8 or base64")),
    };
    let sha = state.add_blob(&bytes);
    let at = url(call, repo, &format!("blobs/{sha}"));
    Ok(Reply::json(201, json!({"sha": sha, "url": at})))
}

/// One level, or everything with `recursive`.
fn tree_shape(state: &State, call: &Call, repo: &Repository, sha: &str) -> Value {
    let recursive = call.query("recursive").is_some();
    let mut entries = std::collections::BTreeMap::new();
    for (path, (mode, blob)) in &state.trees[sha] {
        let folder = path.split_once('/').filter(|_| !recursive);
        let (name, entry) = match folder {
            None => {
                let size = state.blobs.get(blob).map(|bytes| bytes.len());
                let entry =
                    json!({"path": path, "mode": mode, "type": "blob", "sha": blob, "size": size});
                (path.as_str(), entry)
            }
            Some((name, _)) => {
                let below = super::world::tree_sha(&super::world::below(&state.trees[sha], name));
                (
                    name,
                    json!({"path": name, "mode": "040000", "type": "tree", "sha": below}),
                )
            }
        };
        entries.insert(name, entry);
    }
    let entries: Vec<Value> = entries.into_values().collect();
    let at = url(call, repo, &format!("trees/{sha}"));
    json!({"sha": sha, "url": at, "tree": entries, "truncated": false})
}

fn get_tree(state: &State, call: &Call, repo: &Repository, name: &str) -> Answer {
    let commit = state.resolve(repo, name);
    let sha = commit.map_or(name, |sha| state.commits[&sha].tree.as_str());
    if !state.trees.contains_key(sha) {
        return Err(Reply::missing());
    }
    Ok(Reply::ok(tree_shape(state, call, repo, sha)))
}

fn create_tree(state: &mut State, call: &Call, repo: &Repository) -> Answer {
    let mut tree = match call.text("base_tree") {
        None => Tree::new(),
        Some(base) => {
            let commit = state.commits.get(base).map(|commit| &commit.tree);
            let base = commit.map_or(base, String::as_str);
            let known = state.trees.get(base);
            known
                .ok_or_else(|| unprocessable("base_tree is not a valid tree oid"))?
                .clone()
        }
    };
    let Some(entries) = call.field("tree").as_array() else {
        return Err(unprocessable(
            "Invalid request.\n\n\"tree\" wasn't supplied.",
        ));
    };
    for entry in entries {
        put(state, &mut tree, entry)?;
    }
    let sha = state.add_tree(tree);
    Ok(Reply::json(201, tree_shape(state, call, repo, &sha)))
}

/// A file by its content or its blob, a folder by its tree; a null `sha` removes.
fn put(state: &mut State, tree: &mut Tree, entry: &Value) -> Result<(), Reply> {
    let path = entry["path"].as_str().unwrap_or_default().to_owned();
    if path.is_empty() || path.starts_with('/') || path.split('/').any(str::is_empty) {
        return Err(unprocessable(
            "tree.path contains a malformed path component",
        ));
    }
    let inside = format!("{path}/");
    if let Some(content) = entry["content"].as_str() {
        let blob = state.add_blob(content.as_bytes());
        let mode = entry["mode"].as_str().unwrap_or("100644").to_owned();
        tree.insert(path, (mode, blob));
        return Ok(());
    }
    let removes = entry.get("sha").is_some_and(Value::is_null);
    tree.retain(|name, _| *name != path && !name.starts_with(&inside));
    if removes {
        return Ok(());
    }
    let sha = entry["sha"].as_str().unwrap_or_default();
    if entry["type"] == "tree" {
        let unknown = || unprocessable("tree.sha is not a valid tree");
        let below = state.trees.get(sha).ok_or_else(unknown)?;
        let below = below.iter();
        tree.extend(below.map(|(name, file)| (format!("{inside}{name}"), file.clone())));
        return Ok(());
    }
    if !state.blobs.contains_key(sha) {
        let why = format!("tree.sha {sha} is not a valid blob");
        return Err(unprocessable(&why));
    }
    let Some(mode) = entry["mode"].as_str() else {
        return Err(unprocessable("Must supply a valid tree.mode"));
    };
    tree.insert(path, (mode.to_owned(), sha.to_owned()));
    Ok(())
}
