//! What lies in the workspace, held against what the event is about.

use super::{Checkout, EventKind, Trigger};
use crate::ids::CommitSha;

/// Where what the event is about comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This very repository.
    Own,
    /// Another one, by its id; `None` where it was deleted or is not named.
    Foreign(Option<u64>),
    /// A pull request of which the event says nothing but the number.
    Unknown,
}

/// Which commit is in the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured<'a> {
    /// The head of the pull request, or what was pushed.
    Head,
    /// The pull request merged into its base: its change alone is the difference to `base`.
    Merge {
        /// The commit of the base branch that it was merged into.
        base: &'a CommitSha,
    },
    /// What the run itself is on and not the pull request: the tip of the default branch, or of
    /// the base.
    Tip,
    /// Another commit.
    Other,
    /// Git cannot tell: nothing is checked out in the workspace itself.
    Unknown,
}

impl Trigger {
    /// Where what the event is about comes from.
    pub const fn origin(&self) -> Origin {
        if self.fork {
            Origin::Foreign(self.head_repo_id)
        } else if self.pr.is_some() && !self.described && self.head_repo_id.is_none() {
            Origin::Unknown
        } else {
            Origin::Own
        }
    }

    /// Which commit is in the workspace.
    pub fn measured(&self) -> Measured<'_> {
        let Some(checkout) = &self.checkout else {
            return Measured::Unknown;
        };
        let at = |commit: &Option<CommitSha>| commit.as_ref() == Some(&checkout.commit);
        if at(&self.head) {
            return Measured::Head;
        }
        if let Some(base) = self.merged_into(checkout) {
            return Measured::Merge { base };
        }
        // GITHUB_SHA of a pull request is the merge, also of one whose head moved on since.
        let tip = (self.kind != EventKind::PullRequest && at(&self.sha)) || at(&self.base);
        if tip { Measured::Tip } else { Measured::Other }
    }

    fn merged_into<'a>(&self, checkout: &'a Checkout) -> Option<&'a CommitSha> {
        match checkout.parents.as_slice() {
            [base, head] if self.head.as_ref() == Some(head) => Some(base),
            [base, _] if self.kind == EventKind::PullRequest => {
                (self.sha.as_ref() == Some(&checkout.commit)).then_some(base)
            }
            _ => None,
        }
    }

    /// The commit that results belong to: what is in the workspace, where a merge stands for the
    /// head that was merged. What the event is about, where git cannot tell.
    pub fn commit(&self) -> Option<&CommitSha> {
        let checkout = self.checkout.as_ref().map(|checkout| &checkout.commit);
        match self.measured() {
            Measured::Head | Measured::Merge { .. } | Measured::Unknown => {
                self.head.as_ref().or(checkout)
            }
            Measured::Tip | Measured::Other => checkout,
        }
    }

    /// Whether the pull request's own code is in the workspace or in a folder of it. What is
    /// neither its base nor the run's own commit is taken for it; `None` where git cannot tell.
    pub fn has_code_of_pull_request(&self) -> Option<bool> {
        let its = |checkout: &Checkout| {
            self.head.as_ref() == Some(&checkout.commit) || self.merged_into(checkout).is_some()
        };
        if self.nested.iter().any(its) {
            return Some(true);
        }
        match self.measured() {
            Measured::Head | Measured::Merge { .. } | Measured::Other => Some(true),
            Measured::Tip => Some(false),
            Measured::Unknown => None,
        }
    }
}
