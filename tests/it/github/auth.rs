//! Who asks, and what that token may do.

use std::collections::BTreeMap;

use super::{
    call::{Call, Reply},
    state::{Repository, State},
};

/// What a token may do with one kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    None,
    Read,
    Write,
}

impl Level {
    /// What a request needs of the thing it is about.
    pub(super) fn for_method(method: &str) -> Self {
        if method == "GET" {
            Self::Read
        } else {
            Self::Write
        }
    }
}

/// A token that the fake knows.
#[derive(Debug, Clone)]
pub struct Token {
    pub login: String,
    /// The token of an app's installation, as `GITHUB_TOKEN` is; else a person's.
    pub app: Option<App>,
    pub default: Level,
    /// Names as in a workflow's `permissions`: `issues`, `pull-requests`, `checks`, `actions`,
    /// `contents`, `metadata`.
    pub levels: BTreeMap<String, Level>,
    /// Full names of the repositories it reaches; all when unset.
    pub repos: Option<Vec<String>>,
    /// May change comments of others.
    pub edits_others: bool,
}

/// The app behind a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub id: u64,
    pub slug: String,
}

impl Token {
    /// What a workflow's `GITHUB_TOKEN` is.
    pub fn read_write() -> Self {
        Self {
            login: "github-actions[bot]".to_owned(),
            app: Some(App {
                id: 15368,
                slug: "github-actions".to_owned(),
            }),
            default: Level::Write,
            levels: BTreeMap::new(),
            repos: None,
            edits_others: false,
        }
    }

    /// What a workflow of a fork's pull request gets.
    pub fn read_only() -> Self {
        Self {
            default: Level::Read,
            ..Self::read_write()
        }
    }

    /// A person's token.
    pub fn user(login: &str) -> Self {
        Self {
            login: login.to_owned(),
            app: None,
            ..Self::read_write()
        }
    }

    /// Another app's installation token.
    pub fn app(id: u64, slug: &str) -> Self {
        Self {
            login: format!("{slug}[bot]"),
            app: Some(App {
                id,
                slug: slug.to_owned(),
            }),
            ..Self::read_write()
        }
    }

    #[must_use]
    pub fn with(mut self, permission: &str, level: Level) -> Self {
        self.levels.insert(permission.to_owned(), level);
        self
    }

    pub fn level(&self, permission: &str) -> Level {
        *self.levels.get(permission).unwrap_or(&self.default)
    }

    /// The refusal of this kind of token.
    pub(super) fn refusal(&self) -> Reply {
        if self.app.is_some() {
            Reply::failure(403, "Resource not accessible by integration")
        } else {
            Reply::failure(403, "Resource not accessible by personal access token")
        }
    }

    fn reaches(&self, repo: &Repository) -> bool {
        let named = |repos: &Vec<String>| repos.iter().any(|name| repo.is(name));
        self.repos.as_ref().is_none_or(named)
    }
}

/// The token of a request, `None` without one, or the refusal.
pub(super) fn token(state: &State, authorization: Option<&str>) -> Result<Option<Token>, Reply> {
    let Some(value) = authorization else {
        return Ok(None);
    };
    let bad = || Reply::failure(401, "Bad credentials");
    let (scheme, secret) = value.split_once(' ').ok_or_else(bad)?;
    if !(scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token")) {
        return Err(bad());
    }
    if state.tokens.is_empty() && !secret.is_empty() {
        return Ok(Some(Token::read_write()));
    }
    state.tokens.get(secret).cloned().map(Some).ok_or_else(bad)
}

/// Whether the token has `level` of any of these permissions in the repository.
pub(super) fn need(
    call: &Call,
    repo: &Repository,
    permissions: &[&str],
    level: Level,
) -> Result<(), Reply> {
    let Some(token) = &call.token else {
        return match (level, repo.private) {
            (Level::Write, false) => Err(Reply::failure(401, "Requires authentication")),
            (_, true) => Err(Reply::missing()),
            (_, false) => Ok(()),
        };
    };
    if !token.reaches(repo) {
        return match (level, repo.private) {
            (_, true) => Err(Reply::missing()),
            (Level::Write, false) => Err(token.refusal()),
            (_, false) => Ok(()),
        };
    }
    if permissions.iter().any(|name| token.level(name) >= level) {
        Ok(())
    } else {
        Err(token.refusal())
    }
}
