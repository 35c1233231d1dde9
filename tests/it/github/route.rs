//! From a path to its handler.

use serde_json::json;

use super::{
    actions,
    call::{Answer, Body, Call, Reply},
    checks, comments, faults, git, history, pulls, shapes,
    state::{Repository, State},
};

pub(super) fn api(state: &mut State, call: &Call) -> Answer {
    let parts: Vec<String> = call.path.split('/').skip(1).map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (call.method.as_str(), parts.as_slice()) {
        ("GET", ["user"]) => user(call),
        ("POST", ["graphql"] | ["api", "graphql"]) => graphql(state, call),
        ("GET", ["rate_limit"]) => Ok(rate_limit(state)),
        (_, ["repos", owner, name, rest @ ..]) => {
            let full = format!("{owner}/{name}");
            match state.repositories.iter().find(|repo| repo.is(&full)) {
                Some(repo) => repository(state, call, &repo.clone(), rest),
                None => renamed(state, call, &full),
            }
        }
        (_, ["repositories", id, rest @ ..]) => {
            let found = state.repositories.iter();
            let found = found.clone().find(|repo| repo.id.to_string() == *id);
            let repo = found.cloned().ok_or_else(Reply::missing)?;
            repository(state, call, &repo, rest)
        }
        _ => Err(Reply::missing()),
    }
}

fn repository(state: &mut State, call: &Call, repo: &Repository, rest: &[&str]) -> Answer {
    if let ("GET", []) = (call.method.as_str(), rest) {
        super::auth::need(call, repo, &["metadata"], super::auth::Level::Read)?;
        return Ok(Reply::ok(shapes::repository(state, call, repo)));
    }
    if repo.archived && call.method != "GET" {
        let message = "Repository was archived so is read-only.";
        return Err(Reply::failure(403, message));
    }
    let routes = [
        comments::route,
        checks::route,
        pulls::route,
        actions::route,
        history::route,
        git::route,
    ];
    for route in routes {
        if let Some(answer) = route(state, call, repo, rest) {
            return answer;
        }
    }
    Err(Reply::missing())
}

/// 301 for what only reads, 307 for what must be sent again as it is.
fn renamed(state: &State, call: &Call, full: &str) -> Answer {
    let mut known = state.renamed.iter();
    let (old, id) = known
        .find(|(old, _)| old.eq_ignore_ascii_case(full))
        .ok_or_else(Reply::missing)?;
    let tail = &call.path["/repos/".len() + old.len()..];
    let mut to = format!("{}/repositories/{id}{tail}", call.base);
    if !call.query.is_empty() {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        to = format!("{to}?{}", query.extend_pairs(&call.query).finish());
    }
    let status = if call.method == "GET" { 301 } else { 307 };
    Err(faults::moved(status, &to))
}

fn user(call: &Call) -> Answer {
    match &call.token {
        None => Err(Reply::failure(401, "Requires authentication")),
        Some(token) if token.app.is_some() => Err(token.refusal()),
        Some(token) => Ok(Reply::ok(shapes::user(&token.login))),
    }
}

fn graphql(state: &State, call: &Call) -> Answer {
    let Some(token) = &call.token else {
        let message = "This endpoint requires you to be authenticated.";
        return Err(Reply::failure(401, message));
    };
    if call.text("query").is_some_and(|q| q.contains("viewer")) {
        let login = state.viewer.as_ref().unwrap_or(&token.login);
        return Ok(Reply::ok(json!({"data": {"viewer": {"login": login}}})));
    }
    let error = json!({"message": "A query attribute must be specified and must be a string."});
    Ok(Reply::ok(json!({"errors": [error]})))
}

fn rate_limit(state: &State) -> Reply {
    let rate = &state.rate;
    let core = json!({
        "limit": rate.limit,
        "remaining": rate.remaining,
        "used": rate.limit - rate.remaining,
        "reset": state.now().as_second() + rate.reset_in,
    });
    Reply::ok(json!({"resources": {"core": core}, "rate": core}))
}

/// The other origin: a signed address, where a token is an error.
pub(super) fn blob(state: &mut State, call: &Call, authorized: bool) -> Answer {
    if authorized {
        let text = "<?xml version=\"1.0\"?><Error><Code>InvalidAuthenticationInfo</Code></Error>";
        return Err(Reply::new(400, Body::Bytes(text.into())));
    }
    let id = call.path.strip_prefix("/blob/").unwrap_or_default();
    let signed = call.query("sig") == Some("signature");
    let artifact = state.artifacts.iter().find(|a| a.id.to_string() == id);
    match artifact {
        Some(_) if !signed => Err(Reply::new(403, Body::None)),
        Some(artifact) => {
            let bytes = artifact.bytes.to_vec().into();
            Ok(Reply::new(200, Body::Bytes(bytes)).header("content-type", "application/zip"))
        }
        None => Err(Reply::new(404, Body::None)),
    }
}

/// Percent-encoding undone.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
