//! The pull request's comment: found by marker and author, created once, then kept up to date.
//!
//! In: the rendered comment. Out: what was done and the comment's address. A comment is ours only
//! when our own account wrote it: anyone can plant the marker, and whoever owns a comment can
//! rewrite it later.

use std::fmt;

use http::{HeaderMap, Method, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    PublishError,
    client::{Answer, Call, GitHub, give_up},
    identity::author,
};
use crate::{
    ids::{PrNumber, RepoSlug, ReportKey},
    render::{KITT_MARKER, key_marker},
};

/// GitHub's limit, counted as JavaScript counts.
const BODY_UNITS: usize = 65_536;
const PER_PAGE: usize = 100;
/// GitHub takes 2,500 comments on an issue; a server that never ends its list is stopped here.
const PAGES: usize = 100;

const CREATE: &str = "create the comment";
const UPDATE: &str = "update the comment";
const SEARCH: &str = "search the pull request's comments";

/// What became of the comment, with its `https://…` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommentOutcome {
    /// It is new.
    Created(String),
    /// Its text was replaced.
    Updated(String),
    /// It already had this text; nothing was sent.
    Unchanged(String),
}

impl CommentOutcome {
    /// The comment's address.
    pub fn url(&self) -> &str {
        match self {
            Self::Created(url) | Self::Updated(url) | Self::Unchanged(url) => url,
        }
    }
}

impl fmt::Display for CommentOutcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Created(_) => "created",
            Self::Updated(_) => "updated",
            Self::Unchanged(_) => "unchanged",
        };
        write!(out, "{what} {}", self.url())
    }
}

#[derive(Debug, Deserialize)]
struct Comment {
    id: u64,
    html_url: String,
    body: Option<String>,
    user: Option<User>,
}

#[derive(Debug, Deserialize)]
struct User {
    login: String,
}

/// Where the comment belongs.
struct Place<'a> {
    github: &'a GitHub,
    repo: &'a RepoSlug,
    pr: PrNumber,
    key: &'a ReportKey,
    author: String,
}

/// Creates the comment of this key, or brings it up to date. `body` starts with the two marker
/// lines of `render`.
///
/// # Errors
///
/// [`PublishError::Body`] before anything is sent, when the text is too long or has no markers;
/// [`PublishError::Forbidden`] when the token may not write; otherwise what GitHub answered.
pub async fn upsert(
    github: &GitHub,
    repo: &RepoSlug,
    pr: PrNumber,
    key: &ReportKey,
    body: &str,
) -> Result<CommentOutcome, PublishError> {
    check(key, body)?;
    let place = Place {
        github,
        repo,
        pr,
        key,
        author: author(github).await?,
    };
    match place.find().await? {
        Some(found) => place.update(found, body).await,
        None => place.create(body).await,
    }
}

impl Place<'_> {
    fn comments_path(&self) -> String {
        let (owner, name, pr) = (self.repo.owner(), self.repo.name(), self.pr);
        let route = format!("/repos/{owner}/{name}/issues/{pr}/comments");
        self.github.rest(&route)
    }

    /// Our oldest comment of this key. GitHub lists comments oldest first.
    async fn find(&self) -> Result<Option<Comment>, PublishError> {
        for page in 1..=PAGES {
            let path = format!("{}?per_page={PER_PAGE}&page={page}", self.comments_path());
            let Answer { value, headers } = self
                .github
                .ask::<Vec<Comment>>(Call {
                    action: SEARCH,
                    method: &Method::GET,
                    path: &path,
                    body: None,
                })
                .await?;
            let last = is_last(value.len(), &headers);
            let own = value.into_iter().filter(|comment| self.is_own(comment));
            let oldest = own.min_by_key(|comment| comment.id);
            if oldest.is_some() || last {
                return Ok(oldest);
            }
        }
        Err(PublishError::Answer {
            action: SEARCH,
            detail: format!("the list does not end after {PAGES} pages"),
        })
    }

    fn is_own(&self, comment: &Comment) -> bool {
        let user = comment.user.as_ref();
        user.is_some_and(|user| user.login.eq_ignore_ascii_case(&self.author))
            && belongs(self.key, comment.body.as_deref().unwrap_or_default())
    }

    /// Creating is not repeatable: an answer lost on the way may hide a comment that exists. So
    /// every new attempt starts with a search.
    async fn create(&self, body: &str) -> Result<CommentOutcome, PublishError> {
        let path = self.comments_path();
        let content = json!({ "body": body });
        let call = Call {
            action: CREATE,
            method: &Method::POST,
            path: &path,
            body: Some(&content),
        };
        let mut attempt = 1;
        loop {
            let failure = match self.github.attempt::<Comment>(call).await {
                Ok(made) => return Ok(CommentOutcome::Created(made.value.html_url)),
                Err(failure) => failure,
            };
            if !self.github.pause(CREATE, &failure, attempt).await {
                return Err(give_up(CREATE, attempt, failure));
            }
            if let Some(found) = self.find().await? {
                return Ok(match self.update(found, body).await? {
                    CommentOutcome::Unchanged(url) => CommentOutcome::Created(url),
                    done @ (CommentOutcome::Created(_) | CommentOutcome::Updated(_)) => done,
                });
            }
            attempt += 1;
        }
    }

    async fn update(&self, found: Comment, body: &str) -> Result<CommentOutcome, PublishError> {
        if normal(found.body.as_deref().unwrap_or_default()) == normal(body) {
            return Ok(CommentOutcome::Unchanged(found.html_url));
        }
        let (owner, name, id) = (self.repo.owner(), self.repo.name(), found.id);
        let route = format!("/repos/{owner}/{name}/issues/comments/{id}");
        self.github
            .ask::<Value>(Call {
                action: UPDATE,
                method: &Method::PATCH,
                path: &self.github.rest(&route),
                body: Some(&json!({ "body": body })),
            })
            .await?;
        Ok(CommentOutcome::Updated(found.html_url))
    }
}

fn check(key: &ReportKey, body: &str) -> Result<(), PublishError> {
    let units = body.encode_utf16().count();
    if units > BODY_UNITS {
        return Err(PublishError::Body {
            detail: format!("it has {units} characters and GitHub takes {BODY_UNITS}"),
        });
    }
    // Without its markers the next run would not find it and add a second one.
    let mut lines = body.lines();
    if lines.next() == Some(KITT_MARKER) && lines.next() == Some(&key_marker(key)) {
        Ok(())
    } else {
        Err(PublishError::Body {
            detail: format!("it does not start with the markers of key `{key}`"),
        })
    }
}

/// Whether a comment with this text is the one of this key. KITT's own comments have no key: the
/// default report adopts them.
fn belongs(key: &ReportKey, body: &str) -> bool {
    let mut lines = body.lines().map(str::trim);
    if lines.next() != Some(KITT_MARKER) {
        return false;
    }
    match lines.next() {
        Some(line) if line.starts_with("<!-- kitt-action ") => line == key_marker(key),
        Some(_) | None => key.as_str() == "default",
    }
}

/// The text as GitHub gives it back: line ends may come as CRLF, white space at the end is gone.
fn normal(body: &str) -> String {
    body.replace("\r\n", "\n").trim_end().to_owned()
}

/// The `link` header decides; without it, a page that is not full.
fn is_last(comments: usize, headers: &HeaderMap) -> bool {
    match headers
        .get(header::LINK)
        .and_then(|link| link.to_str().ok())
    {
        Some(link) => !link.contains("rel=\"next\""),
        None => comments < PER_PAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ReportKey {
        text.parse().unwrap()
    }

    #[test]
    fn a_comment_belongs_by_its_first_two_lines() {
        let ours = "<!-- kitt-benchmark -->\r\n<!-- kitt-action key=a100 -->\r\ntext";
        assert!(belongs(&key("a100"), ours));
        assert!(!belongs(&key("a10"), ours));
        assert!(!belongs(&key("default"), ours));
        assert!(!belongs(&key("a100"), &format!("> quoted\n{ours}")));
    }

    #[test]
    fn kitts_own_comment_is_adopted_by_the_default_report_only() {
        for old in [
            "<!-- kitt-benchmark -->\n## KITT",
            "<!-- kitt-benchmark -->",
        ] {
            assert!(belongs(&key("default"), old));
            assert!(!belongs(&key("a100"), old));
        }
    }

    #[test]
    fn length_is_counted_in_utf16_units() {
        let head = "<!-- kitt-benchmark -->\n<!-- kitt-action key=default -->\n";
        let room = BODY_UNITS - head.len();
        let fits = format!("{head}{}", "é".repeat(room));
        assert!(check(&key("default"), &fits).is_ok());
        assert!(check(&key("default"), &format!("{fits}x")).is_err());
        // Outside the basic plane a character is two units.
        let rockets = format!("{head}{}", "🚀".repeat(room / 2 + 1));
        assert!(check(&key("default"), &rockets).is_err());
    }

    #[test]
    fn a_text_without_its_markers_is_refused() {
        let body = "<!-- kitt-benchmark -->\n<!-- kitt-action key=default -->\n";
        assert!(check(&key("default"), body).is_ok());
        assert!(check(&key("other"), body).is_err());
        assert!(check(&key("default"), "text").is_err());
    }

    #[test]
    fn line_ends_and_trailing_space_do_not_make_a_difference() {
        assert_eq!(normal("a\r\nb  \r\n\n"), normal("a\nb"));
        assert_ne!(normal("a\n\nb"), normal("a\nb"));
    }

    #[test]
    fn a_full_page_without_a_link_is_not_the_last() {
        let none = HeaderMap::new();
        assert!(is_last(99, &none));
        assert!(!is_last(100, &none));
        let mut more = HeaderMap::new();
        more.insert(
            header::LINK,
            "<http://x?page=2>; rel=\"next\"".parse().unwrap(),
        );
        assert!(!is_last(30, &more));
        let mut end = HeaderMap::new();
        end.insert(
            header::LINK,
            "<http://x?page=1>; rel=\"prev\"".parse().unwrap(),
        );
        assert!(is_last(100, &end));
    }
}
