//! What a token may do, as far as GitHub tells without trying: one cheap read of the repository.
//!
//! In: a client and a repository. Out: [`TokenFacts`]. The token itself is never in them.

use serde::Deserialize;

use super::{GitHubError, client::GitHub, operations::GET_REPOSITORY};
use crate::ids::RepoSlug;

/// What GitHub told of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenFacts {
    /// Scopes of a classic token, as its header lists them; other tokens have none.
    pub scopes: Option<String>,
    /// Whether its user may push; `None` when GitHub does not tell.
    pub may_write: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    permissions: Option<Permissions>,
}

#[derive(Debug, Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

/// Reads the repository with the token.
///
/// # Errors
/// The token is refused, the repository is not to be seen, or GitHub cannot be reached.
pub async fn token_facts(github: &GitHub, repo: &RepoSlug) -> Result<TokenFacts, GitHubError> {
    let request = GET_REPOSITORY.request(&[repo.owner(), repo.name()]);
    let answer = github.ask::<Repository>(&request).await?;
    let scopes = answer.headers.get("x-oauth-scopes");
    // A foreign text on its way to a terminal.
    let plain = |text: &str| -> String {
        let kept = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
        kept.take(200).collect()
    };
    Ok(TokenFacts {
        scopes: scopes.and_then(|value| value.to_str().ok()).map(plain),
        may_write: answer.value.permissions.map(|may| may.push),
    })
}
