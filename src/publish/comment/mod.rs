//! The pull request's comment: found by marker and author, begun once, then kept up to date.
//!
//! In: the rendered report. Out: what was done and the comment's address. GitHub cannot be told to
//! write only if nothing changed meanwhile, so jobs of a matrix that write at once may take each
//! other's sections away. Against that (`research/ci-actions.md` §3.7): every write is made from a
//! look just before it and never repeated blindly; after it the comment is looked at again, after
//! a random wait that is longer than GitHub takes to answer; and a job puts back every section it
//! has ever seen, not only its own.

mod thread;
mod wanted;

use std::fmt;

use self::{
    thread::{Comment, Thread},
    wanted::{Wanted, begins},
};
use super::PublishError;
use crate::{
    context::CommentWhen,
    github::GitHub,
    ids::{PrNumber, RepoSlug, ReportKey, Section},
    render::{Form, KITT_MARKER, Posted, State, key_marker, legs, standing_state, timeless},
};

/// GitHub's limit, counted as JavaScript counts.
const BODY_UNITS: usize = 65_536;
/// Looks at the comment before it is given up.
const LOOKS: u32 = 40;
/// Looks in a row, after the last write, at which everything must be there.
const QUIET_WHOLE: u32 = 1;
const QUIET_LEGS: u32 = 2;

/// What became of the comment, with its `https://…` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommentOutcome {
    /// It is new.
    Created(String),
    /// Its text was replaced.
    Updated(String),
    /// It already said this; nothing was sent.
    Unchanged(String),
    /// A newer run has reported meanwhile; nothing was sent.
    Outdated(String),
    /// There is none, and for this report none is begun.
    NotBegun,
}

impl CommentOutcome {
    /// The comment's address.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Created(url)
            | Self::Updated(url)
            | Self::Unchanged(url)
            | Self::Outdated(url) => Some(url),
            Self::NotBegun => None,
        }
    }
}

impl fmt::Display for CommentOutcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Created(_) => "created",
            Self::Updated(_) => "updated",
            Self::Unchanged(_) => "unchanged",
            Self::Outdated(_) => "left to a newer run",
            Self::NotBegun => "not begun: there is nothing that the setting `comment` asks for",
        };
        write!(out, "{what} {}", self.url().unwrap_or_default())
    }
}

/// Begins the comment of this key, or brings it up to date. `when` decides whether one is begun;
/// one that stands is kept up to date in any case.
///
/// # Errors
///
/// [`PublishError::Body`] before anything is sent, when the text is too long or has no markers;
/// [`crate::github::GitHubError::Forbidden`] when the token may not write;
/// [`PublishError::Unsettled`] when other jobs do not stop writing; otherwise what GitHub
/// answered.
pub async fn upsert(
    github: &GitHub,
    repo: &RepoSlug,
    pr: PrNumber,
    posted: &Posted,
    when: CommentWhen,
) -> Result<CommentOutcome, PublishError> {
    if let Form::Whole { body, .. } = &posted.form {
        check(&posted.key, body)?;
    }
    let thread = Thread::open(github, repo, pr, &posted.key).await?;
    let settling = Settling {
        thread,
        wanted: Wanted::new(posted),
        did: None,
        quiet: 0,
        conflicts: 0,
    };
    settling.run(begins(when, posted.weight)).await
}

/// What the standing comment of this key remembers of the report, or of this section of it; `None`
/// when it does not stand or remembers nothing.
///
/// # Errors
///
/// The comments cannot be read.
pub async fn remembered(
    github: &GitHub,
    repo: &RepoSlug,
    pr: PrNumber,
    key: &ReportKey,
    section: Option<&Section>,
) -> Result<Option<State>, PublishError> {
    let mut thread = Thread::open(github, repo, pr, key).await?;
    let own = thread.own().await?;
    let states = own.iter().filter_map(|comment| match section {
        None => standing_state(comment.body()),
        Some(name) => {
            let mut legs = legs(comment.body()).into_iter();
            let leg = legs.find(|leg| leg.name() == name)?;
            Some(leg.state().clone())
        }
    });
    Ok(states.reduce(|one, two| if one.is_older_than(&two) { two } else { one }))
}

/// A report on its way into the comment.
struct Settling<'a> {
    thread: Thread<'a>,
    wanted: Wanted<'a>,
    /// What was done so far.
    did: Option<Did>,
    /// Looks in a row at which everything was there.
    quiet: u32,
    /// Writes so far.
    conflicts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Did {
    Created,
    Updated,
}

impl Settling<'_> {
    async fn run(mut self, begins: bool) -> Result<CommentOutcome, PublishError> {
        let mut own = self.thread.own().await?;
        if own.is_empty() && !begins {
            return Ok(CommentOutcome::NotBegun);
        }
        if own.is_empty() && self.wanted.is_shared() {
            self.thread.hesitate().await;
            own = self.thread.own().await?;
        }
        for _ in 0..LOOKS {
            let Some(oldest) = own.first().cloned() else {
                own = self.begin().await?;
                continue;
            };
            if self.wanted.is_outdated(&own) {
                return Ok(CommentOutcome::Outdated(oldest.url().to_owned()));
            }
            if let Some(done) = self.look(&oldest, &own).await? {
                return Ok(done);
            }
            self.thread.wait(self.conflicts).await;
            own = self.again(&oldest, own.len()).await?;
        }
        Err(PublishError::Unsettled { looks: LOOKS })
    }

    /// Begins the comment; gives back what stands then.
    async fn begin(&mut self) -> Result<Vec<Comment>, PublishError> {
        let body = self.wanted.body(&[])?;
        self.thread.create(&body).await?;
        self.did = Some(Did::Created);
        self.quiet = 0;
        // Whoever began one at the same time is seen now, and so is one whose answer was lost.
        Ok(self.thread.own().await?)
    }

    /// Writes what is missing; the outcome once nothing was missing often enough.
    async fn look(
        &mut self,
        oldest: &Comment,
        own: &[Comment],
    ) -> Result<Option<CommentOutcome>, PublishError> {
        // Once this job has written, another one may have put the same sections together in its
        // own way: they are not written again for that.
        let whole = self.did.is_some() && own.len() == 1 && self.wanted.is_whole(oldest);
        let body = if whole {
            oldest.body().to_owned()
        } else {
            self.wanted.body(own)?
        };
        if !whole && timeless(oldest.body()) != timeless(&body) {
            self.quiet = 0;
            self.conflicts += 1;
            self.thread.update(oldest.id, &body).await?;
            self.did.get_or_insert(Did::Updated);
            return Ok(None);
        }
        for duplicate in own.iter().skip(1) {
            if self.thread.is_keyed(duplicate) && wanted::holds(oldest, duplicate) {
                self.thread.delete(duplicate).await?;
            }
        }
        self.quiet += 1;
        let url = oldest.url().to_owned();
        let needed = if self.wanted.is_shared() {
            QUIET_LEGS
        } else {
            QUIET_WHOLE
        };
        Ok(match self.did {
            None => Some(CommentOutcome::Unchanged(url)),
            Some(_) if self.quiet < needed => None,
            Some(Did::Created) => Some(CommentOutcome::Created(url)),
            Some(Did::Updated) => Some(CommentOutcome::Updated(url)),
        })
    }

    /// What stands now. One comment alone is read alone: duplicates are begun only by those who
    /// see none, and they look for others themselves.
    async fn again(
        &mut self,
        oldest: &Comment,
        known: usize,
    ) -> Result<Vec<Comment>, PublishError> {
        if known == 1
            && let Some(comment) = self.thread.read(oldest.id).await?
        {
            return Ok(vec![comment]);
        }
        Ok(self.thread.own().await?)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ReportKey {
        text.parse().unwrap()
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
}
