//! Whose token this is: the account that will have written our comments.
//!
//! In: a client. Out: a login. A user's token is told by `GET /user`. An installation's token is
//! refused there; GraphQL's `viewer` names its bot. When neither answers it is taken for the
//! workflow's own token, whose account is `github-actions[bot]`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    GitHubError,
    client::GitHub,
    operations::{GET_USER, GRAPHQL},
};

const WORKFLOW_BOT: &str = "github-actions[bot]";

#[derive(Debug, Deserialize)]
struct User {
    login: String,
}

/// The login behind the token; asked for once for each client.
///
/// # Errors
///
/// GitHub cannot be reached, or refuses the token itself.
pub async fn author(github: &GitHub) -> Result<String, GitHubError> {
    let login = github.author().get_or_try_init(|| ask(github)).await?;
    Ok(login.clone())
}

async fn ask(github: &GitHub) -> Result<String, GitHubError> {
    let asked = github.ask::<User>(&GET_USER.request(&[])).await;
    match asked {
        Ok(user) => Ok(user.value.login),
        Err(GitHubError::Forbidden { .. } | GitHubError::Status { status: 404, .. }) => {
            Ok(viewer(github).await?.unwrap_or_else(|| WORKFLOW_BOT.into()))
        }
        Err(error) => Err(error),
    }
}

/// The bot of an installation token; `None` when GraphQL does not tell. A limit or a cut
/// connection is no answer: a wrong guess would not find an app's own comment and add a second.
async fn viewer(github: &GitHub) -> Result<Option<String>, GitHubError> {
    let query = json!({ "query": "query { viewer { login } }" });
    let request = GRAPHQL.request(&[]).json(query);
    let answer = match github.ask::<Value>(&request).await {
        Ok(answer) => answer.value,
        Err(error @ (GitHubError::Limited { .. } | GitHubError::Unreachable { .. })) => {
            return Err(error);
        }
        Err(_) => return Ok(None),
    };
    // GraphQL answers 200 to a spent quota as well.
    if answer.pointer("/errors/0/type").and_then(Value::as_str) == Some("RATE_LIMITED") {
        return Err(GitHubError::Limited {
            action: GRAPHQL.action,
            attempts: 1,
            message: "GraphQL's own limit is used up".to_owned(),
        });
    }
    let login = answer.pointer("/data/viewer/login").and_then(Value::as_str);
    Ok(login.filter(|login| !login.is_empty()).map(str::to_owned))
}
