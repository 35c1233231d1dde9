//! Why GitHub did not do what was asked, and what to do about it.
//!
//! Every error is one line, for logs and annotations. What is longer, the block of permissions, is
//! given by [`GitHubError::permissions`].

use super::{
    operations::{Access, Operation},
    permissions,
    refusal::Denial,
};
use crate::context::Publish;

/// Why GitHub did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// The token may not do this: expected for pull requests from forks.
    #[error("the token may not {action} ({message}): {}", remedy(*denial, *access))]
    Forbidden {
        /// What was attempted.
        action: &'static str,
        /// The right it needs.
        access: Access,
        /// Which of the reasons it is.
        denial: Denial,
        /// GitHub's words.
        message: String,
    },
    /// Too many requests, and waiting longer is not worth it.
    #[error(
        "GitHub's rate limit stops kitt, while trying to {action}: {message}; run fewer jobs at once, or give `github-token` the token of a GitHub App, which has a limit of its own"
    )]
    Limited {
        /// What was attempted.
        action: &'static str,
        /// How often it was sent; 0 when an earlier request had met the limit.
        attempts: u32,
        /// GitHub's words.
        message: String,
    },
    /// What was asked for is kept no longer: artifacts live for some days.
    #[error("cannot {action}: GitHub keeps it no longer ({message})")]
    Expired {
        /// What was attempted.
        action: &'static str,
        /// GitHub's words.
        message: String,
    },
    /// There is more than may be taken.
    #[error("cannot {action}: it has more than {most} bytes")]
    TooLarge {
        /// What was attempted.
        action: &'static str,
        /// The cap, bytes.
        most: u64,
    },
    /// A redirect that is not followed. The token was not sent there.
    #[error("GitHub's redirect is not followed, while trying to {action}: {detail}")]
    Redirected {
        /// What was attempted.
        action: &'static str,
        /// Why.
        detail: String,
    },
    /// An Enterprise Server without this route.
    #[error(
        "this GitHub Enterprise Server cannot {action}: it does not have `{} {}`; update the server, or turn the feature off (docs/permissions.md)",
        operation.method,
        operation.route
    )]
    NotOnServer {
        /// What was attempted.
        action: &'static str,
        /// The route.
        operation: &'static Operation,
    },
    /// GitHub answered with an error that does not go away.
    #[error("GitHub answered {status} to {action}: {message}{}", hint(*status, *access))]
    Status {
        /// What was attempted.
        action: &'static str,
        /// The right it needs.
        access: Access,
        /// HTTP status.
        status: u16,
        /// GitHub's words.
        message: String,
    },
    /// GitHub cannot be reached, or answers with server errors, after all retries.
    #[error("GitHub could not be reached to {action} after {attempts} attempts: {detail}")]
    Unreachable {
        /// What was attempted.
        action: &'static str,
        /// How often it was sent; 0 when earlier requests had failed.
        attempts: u32,
        /// The last error.
        detail: String,
    },
    /// The server's certificate is not trusted here.
    #[error(
        "GitHub's certificate is not trusted on this host, so kitt does not {action}: name the file of your authority in SSL_CERT_FILE, or install it on the host ({detail})"
    )]
    Untrusted {
        /// What was attempted.
        action: &'static str,
        /// What the check said.
        detail: String,
    },
    /// The API's address is no URL.
    #[error("`{url}` is no GitHub API address: {detail}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The client cannot be set up.
    #[error("the connection to GitHub cannot be set up: {detail}")]
    Client {
        /// What is wrong.
        detail: String,
    },
    /// A success with an answer that makes no sense.
    #[error("GitHub's answer cannot be understood, while trying to {action}: {detail}")]
    Answer {
        /// What was attempted.
        action: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

impl GitHubError {
    /// The error for a run whose trigger is known. A pull request from a fork gets a read-only
    /// token: no setting of its workflow changes that, so none is named.
    pub fn told(&self, from_fork: bool) -> String {
        if let Self::Forbidden {
            action,
            denial: Denial::Integration,
            message,
            ..
        } = self
            && from_fork
        {
            return format!(
                "the token may not {action} ({message}): a pull request from a fork gets a read-only token, and no `permissions:` can add to it; the report is in the job summary and in the results directory, and `kitt ci publish` in a `workflow_run` workflow can publish it"
            );
        }
        self.to_string()
    }

    /// The whole `permissions:` block that the job needs, as YAML, when that is what is missing:
    /// one named key removes every other, so that a single line would break the next step.
    pub fn permissions(&self, publish: &Publish) -> Option<String> {
        let access = match self {
            Self::Forbidden {
                access,
                denial: Denial::Integration,
                ..
            }
            // A private repository hides what a token may not see.
            | Self::Status {
                access,
                status: 404,
                ..
            } => *access,
            Self::Forbidden { .. }
            | Self::Limited { .. }
            | Self::Expired { .. }
            | Self::TooLarge { .. }
            | Self::Redirected { .. }
            | Self::NotOnServer { .. }
            | Self::Status { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Address { .. }
            | Self::Client { .. }
            | Self::Answer { .. } => return None,
        };
        access
            .is_granted()
            .then(|| permissions::block(&permissions::wanted(publish), Some(access)))
    }
}

/// What helps against a 403.
fn remedy(denial: Denial, access: Access) -> String {
    let Access { permission, level } = access;
    let text = match denial {
        Denial::Integration if !access.is_granted() => {
            "the token of a workflow or app never may; that is no fault of the workflow"
        }
        Denial::Integration => {
            return format!(
                "add `{permission}: {level}` to the job's `permissions:` beside every other key it needs, since naming one takes the others away; a pull request from a fork gets a read-only token whatever the workflow says"
            );
        }
        Denial::PersonalToken | Denial::Role | Denial::Other if access.is_granted() => {
            return format!(
                "give the token, and the account behind it, `{permission}: {level}` in this repository, or use the workflow's own `github.token`"
            );
        }
        Denial::PersonalToken | Denial::Role | Denial::Other => {
            "look at the token's settings, or use the workflow's own `github.token`"
        }
        Denial::AppOnly => {
            "only an app's token will do, and a personal access token cannot: use the workflow's own `github.token` or a GitHub App's"
        }
        Denial::TokenPolicy => {
            "the organization does not take this kind of token; use the workflow's own `github.token` or a GitHub App's"
        }
        Denial::SingleSignOn => {
            "authorize the token for the organization's single sign-on (\"Configure SSO\" in the token's settings), or use the workflow's own `github.token`"
        }
        Denial::AddressList => {
            "add this runner's address to the organization's IP allow list, or run the job on a listed machine"
        }
        Denial::AppPolicy => "an owner of the organization must approve the app of this token",
        Denial::Archived => {
            "an archived repository takes nothing; the report is in the job summary"
        }
        Denial::Locked => "unlock the conversation; until then the report is in the job summary",
        Denial::Suspended => {
            "the account, the app's installation or the repository is suspended; ask its owner"
        }
        Denial::UserAgent => "a proxy on the way removes the User-Agent header; let it pass",
        Denial::Foreign => {
            "GitHub itself did not answer; look at the proxy in HTTPS_PROXY, or name GitHub's host in NO_PROXY"
        }
    };
    text.to_owned()
}

/// What helps against another status, as the end of a sentence.
fn hint(status: u16, access: Access) -> String {
    let Access { permission, level } = access;
    let text = match status {
        401 => {
            "; the token is wrong, expired or revoked: look at the `github-token` input; a workflow's own token ends with its job"
        }
        404 if access.is_granted() => {
            return format!(
                "; it does not exist, or the token may not see it: a private repository needs `{permission}: {level}`"
            );
        }
        404 => "; it does not exist, or the token may not see it",
        410 => "; it was deleted, or this part of the repository is turned off",
        422 => "; GitHub refuses what was sent",
        451 => "; the repository is not available for legal reasons",
        _ => "",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::operations::{CREATE_COMMENT, GET_USER};

    const ALL: [Denial; 14] = [
        Denial::Integration,
        Denial::PersonalToken,
        Denial::AppOnly,
        Denial::TokenPolicy,
        Denial::Role,
        Denial::SingleSignOn,
        Denial::AddressList,
        Denial::AppPolicy,
        Denial::Archived,
        Denial::Locked,
        Denial::Suspended,
        Denial::UserAgent,
        Denial::Foreign,
        Denial::Other,
    ];

    fn forbidden(denial: Denial) -> GitHubError {
        GitHubError::Forbidden {
            action: CREATE_COMMENT.action,
            access: CREATE_COMMENT.access,
            denial,
            message: "no".into(),
        }
    }

    #[test]
    fn every_reason_has_a_remedy_on_one_line() {
        for denial in ALL {
            let text = forbidden(denial).to_string();
            assert!(!text.contains('\n'), "{text}");
            assert!(text.len() > "the token may not create the comment (no): ".len() + 20);
        }
    }

    #[test]
    fn a_fork_is_not_told_to_change_permissions() {
        let error = forbidden(Denial::Integration);
        assert!(error.told(false).contains("`pull-requests: write`"));
        let fork = error.told(true);
        assert!(!fork.contains("pull-requests"), "{fork}");
        assert!(fork.contains("job summary"), "{fork}");
        // Another reason stays what it is.
        let archived = forbidden(Denial::Archived);
        assert_eq!(archived.told(true), archived.to_string());
    }

    #[test]
    fn no_workflow_can_grant_what_needs_no_right() {
        let error = GitHubError::Forbidden {
            action: GET_USER.action,
            access: GET_USER.access,
            denial: Denial::Integration,
            message: "no".into(),
        };
        assert!(!error.to_string().contains("metadata"), "{error}");
    }
}
