//! Whose token this is: the account that will have written our comments.
//!
//! In: a client. Out: a login. A user's token is told by `GET /user`. An installation's token is
//! refused there; GraphQL's `viewer` names its bot. When neither answers it is taken for the
//! workflow's own token, whose account is `github-actions[bot]`.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    PublishError,
    client::{Call, GitHub},
};

const WORKFLOW_BOT: &str = "github-actions[bot]";
const ACTION: &str = "ask whose token this is";

#[derive(Debug, Deserialize)]
struct User {
    login: String,
}

/// The login behind the token.
pub(super) async fn author(github: &GitHub) -> Result<String, PublishError> {
    let asked = github
        .ask::<User>(Call {
            action: ACTION,
            method: &Method::GET,
            path: &github.rest("/user"),
            body: None,
        })
        .await;
    match asked {
        Ok(user) => Ok(user.value.login),
        Err(PublishError::Forbidden { .. } | PublishError::Status { status: 404, .. }) => {
            Ok(viewer(github).await.unwrap_or_else(|| WORKFLOW_BOT.into()))
        }
        Err(error) => Err(error),
    }
}

/// The bot of an installation token. Asked once: without an answer there is a good guess.
async fn viewer(github: &GitHub) -> Option<String> {
    let query = json!({ "query": "query { viewer { login } }" });
    let answer = github
        .attempt::<Value>(Call {
            action: ACTION,
            method: &Method::POST,
            path: &github.graphql(),
            body: Some(&query),
        })
        .await
        .ok()?;
    let login = answer.value.pointer("/data/viewer/login")?.as_str()?;
    (!login.is_empty()).then(|| login.to_owned())
}
