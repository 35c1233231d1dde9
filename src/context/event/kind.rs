//! The kinds of events, as far as they differ in what they mean for a benchmark.

use serde_json::Value;

/// What started the workflow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A pull request; code and workflow are its own. Reviews of one run alike.
    PullRequest,
    /// A pull request; the workflow is the base's, with secrets.
    PullRequestTarget,
    /// A branch or tag moved.
    Push,
    /// An entry of the merge queue.
    MergeGroup,
    /// Started by hand.
    WorkflowDispatch,
    /// Started by the clock.
    Schedule,
    /// Another workflow ran; this one has secrets.
    WorkflowRun,
    /// A comment on an issue or pull request; the workflow has secrets.
    IssueComment,
    /// Anything else, or none.
    #[default]
    Other,
}

impl EventKind {
    /// By the event's name, else by what only payloads of one kind have.
    pub(super) fn of(name: Option<&str>, payload: &Value) -> Self {
        match name {
            Some("pull_request" | "pull_request_review" | "pull_request_review_comment") => {
                Self::PullRequest
            }
            Some("pull_request_target") => Self::PullRequestTarget,
            Some("push") => Self::Push,
            Some("merge_group") => Self::MergeGroup,
            Some("workflow_dispatch") => Self::WorkflowDispatch,
            Some("schedule") => Self::Schedule,
            Some("workflow_run") => Self::WorkflowRun,
            Some("issue_comment") => Self::IssueComment,
            Some(_) => Self::Other,
            None => Self::told_by(payload),
        }
    }

    /// `pull_request_target` has the payload of `pull_request`: without a name it is taken for
    /// that one.
    fn told_by(payload: &Value) -> Self {
        let telling = [
            ("merge_group", Self::MergeGroup),
            ("workflow_run", Self::WorkflowRun),
            ("pull_request", Self::PullRequest),
            ("comment", Self::IssueComment),
            ("pusher", Self::Push),
            ("schedule", Self::Schedule),
            ("inputs", Self::WorkflowDispatch),
        ];
        let found = telling
            .into_iter()
            .find(|(key, _)| payload.get(key).is_some());
        found.map_or(Self::Other, |(_, kind)| kind)
    }

    /// Whether a run of this kind has the repository's secrets and a token that may write, also
    /// where a stranger's pull request is what it is about.
    pub const fn is_privileged(self) -> bool {
        matches!(
            self,
            Self::PullRequestTarget | Self::WorkflowRun | Self::IssueComment
        )
    }
}
