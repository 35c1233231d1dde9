//! The comments of one pull request that are ours: found, read, written, deleted.
//!
//! A comment is ours only when our own account wrote it and it begins with our markers: anyone can
//! plant a marker, and whoever owns a comment can rewrite it later.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    github::{
        Answer, Failure, GitHub, GitHubError, Operation, Request, author, give_up,
        operations::{CREATE_COMMENT, DELETE_COMMENT, GET_COMMENT, LIST_COMMENTS, UPDATE_COMMENT},
    },
    ids::{PrNumber, RepoSlug, ReportKey},
    render::{KITT_MARKER, key_marker},
};

/// GitHub takes 2,500 comments on an issue.
const MOST_COMMENTS: usize = 10_000;

/// A comment as GitHub gives it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Comment {
    pub(super) id: u64,
    html_url: String,
    body: Option<String>,
    user: Option<User>,
}

#[derive(Debug, Clone, Deserialize)]
struct User {
    login: String,
}

impl Comment {
    /// Its text.
    pub(super) fn body(&self) -> &str {
        self.body.as_deref().unwrap_or_default()
    }

    /// Its address.
    pub(super) fn url(&self) -> &str {
        &self.html_url
    }
}

/// The comments of one pull request.
#[derive(Debug)]
pub(super) struct Thread<'a> {
    github: &'a GitHub,
    repo: &'a RepoSlug,
    pr: PrNumber,
    key: &'a ReportKey,
    author: String,
    /// Failures of writing in a row.
    failures: u32,
    /// The longest exchange so far.
    slowest: Duration,
}

impl<'a> Thread<'a> {
    /// Asks whose token it is.
    ///
    /// # Errors
    ///
    /// GitHub cannot be reached, or refuses the token.
    pub(super) async fn open(
        github: &'a GitHub,
        repo: &'a RepoSlug,
        pr: PrNumber,
        key: &'a ReportKey,
    ) -> Result<Self, GitHubError> {
        Ok(Self {
            github,
            repo,
            pr,
            key,
            author: author(github).await?,
            failures: 0,
            slowest: Duration::ZERO,
        })
    }

    /// Our comments of this key, oldest first.
    ///
    /// # Errors
    ///
    /// The list cannot be had.
    pub(super) async fn own(&mut self) -> Result<Vec<Comment>, GitHubError> {
        let began = Instant::now();
        let list = self.comments(&LIST_COMMENTS);
        let all = self
            .github
            .pages(list, MOST_COMMENTS, |page: Vec<Comment>| page);
        let mut own = all.await?;
        own.retain(|comment| self.is_own(comment));
        own.sort_by_key(|comment| comment.id);
        self.took(began);
        Ok(own)
    }

    /// The comment as it is now; `None` when it is gone or no longer ours.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) async fn read(&mut self, id: u64) -> Result<Option<Comment>, GitHubError> {
        let began = Instant::now();
        let found = self
            .github
            .ask::<Comment>(&self.one(&GET_COMMENT, id))
            .await;
        self.took(began);
        match found {
            Ok(Answer { value, .. }) => Ok(Some(value).filter(|found| self.is_own(found))),
            Err(GitHubError::Status {
                status: 404 | 410, ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a comment, once: an answer that was lost may hide one that exists. After a failure
    /// that may pass a wait is over, and what stands is not known.
    ///
    /// # Errors
    ///
    /// It was refused for good, or failed too often.
    pub(super) async fn create(&mut self, body: &str) -> Result<(), GitHubError> {
        let request = self.comments(&CREATE_COMMENT).json(json!({ "body": body }));
        self.write(&CREATE_COMMENT, &request).await
    }

    /// Replaces a text, once: by the time of a second attempt the text may be outdated. After a
    /// failure that may pass a wait is over, and what stands is not known.
    ///
    /// # Errors
    ///
    /// It was refused for good, or failed too often.
    pub(super) async fn update(&mut self, id: u64, body: &str) -> Result<(), GitHubError> {
        let request = self.one(&UPDATE_COMMENT, id).json(json!({ "body": body }));
        self.write(&UPDATE_COMMENT, &request).await
    }

    /// Deletes a duplicate of ours.
    ///
    /// # Errors
    ///
    /// It stands still.
    pub(super) async fn delete(&mut self, duplicate: &Comment) -> Result<(), GitHubError> {
        let request = self.one(&DELETE_COMMENT, duplicate.id);
        match self.github.ask::<Value>(&request).await {
            // Another job was faster.
            Ok(_)
            | Err(GitHubError::Status {
                status: 404 | 410, ..
            }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether a comment may be deleted as a duplicate: one of KITT's, which has no key, never.
    pub(super) fn is_keyed(&self, comment: &Comment) -> bool {
        comment.body().lines().map(str::trim).nth(1) == Some(&key_marker(self.key))
    }

    /// Waits before another look: random, so that jobs that started at once do not meet again and
    /// again, longer from conflict to conflict, and longer than GitHub takes for an answer.
    pub(super) async fn wait(&self, conflicts: u32) {
        let factor =
            (1.0 + 2.0 * rand::random::<f64>()) * 1.4_f64.powi(conflicts.min(6).cast_signed());
        let wait = self.github.base_delay().mul_f64(factor);
        tokio::time::sleep(wait.max(self.slowest.saturating_mul(2))).await;
    }

    /// Waits before the first comment of a matrix, so that not every job begins one.
    pub(super) async fn hesitate(&self) {
        let wait = self
            .github
            .base_delay()
            .mul_f64(10.0 * rand::random::<f64>());
        tokio::time::sleep(wait).await;
    }

    async fn write(
        &mut self,
        operation: &'static Operation,
        request: &Request,
    ) -> Result<(), GitHubError> {
        let began = Instant::now();
        let outcome = self.github.attempt::<Comment>(request).await;
        self.took(began);
        let Err(failure) = outcome else {
            self.failures = 0;
            return Ok(());
        };
        self.failures += 1;
        let attempt = self.failures;
        // Somebody deleted it since it was read.
        let gone =
            matches!(&failure, Failure::Refused(refusal) if matches!(refusal.status, 404 | 410));
        if gone && *operation == UPDATE_COMMENT && attempt < 3 {
            return Ok(());
        }
        if self.github.pause(operation, &failure, attempt).await {
            return Ok(());
        }
        Err(give_up(operation, attempt, failure))
    }

    fn took(&mut self, began: Instant) {
        // A retried request is long for another reason than GitHub's pace.
        let took = began.elapsed().min(Duration::from_secs(5));
        self.slowest = self.slowest.max(took);
    }

    fn comments(&self, operation: &'static Operation) -> Request {
        let pr = self.pr.to_string();
        operation.request(&[self.repo.owner(), self.repo.name(), &pr])
    }

    fn one(&self, operation: &'static Operation, id: u64) -> Request {
        operation.request(&[self.repo.owner(), self.repo.name(), &id.to_string()])
    }

    fn is_own(&self, comment: &Comment) -> bool {
        let user = comment.user.as_ref();
        user.is_some_and(|user| user.login.eq_ignore_ascii_case(&self.author))
            && belongs(self.key, comment.body())
    }
}

/// Whether a comment with this text is one of this key. KITT's own comments have no key: the
/// default report adopts them.
pub(super) fn belongs(key: &ReportKey, body: &str) -> bool {
    let mut lines = body.lines().map(str::trim);
    if lines.next() != Some(KITT_MARKER) {
        return false;
    }
    match lines.next() {
        Some(line) if line.starts_with("<!-- kitt-action ") => line == key_marker(key),
        Some(_) | None => *key == ReportKey::default(),
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
}
