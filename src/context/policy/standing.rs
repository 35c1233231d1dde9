//! Whether the label that accepts a regression counts: who set it, when, and for which commit.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    context::{Labelling, Trigger},
    ids::CommitSha,
};

/// How long the label counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Expires {
    /// For the commit that it was set for: a later push needs it set again.
    #[default]
    Head,
    /// As long as it is there.
    Never,
}

/// What an account may do with a repository, ascending.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sort issues and pull requests, and set labels.
    Triage,
    /// Push.
    Write,
    /// Push and manage.
    Maintain,
    /// Everything.
    Admin,
}

impl Role {
    /// The role by GitHub's word for it; `None` for less than triage and for roles of one's own.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "triage" => Some(Self::Triage),
            "write" | "push" => Some(Self::Write),
            "maintain" => Some(Self::Maintain),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// GitHub's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }
}

/// Who set the label, and when, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetBy {
    /// The account.
    pub login: Option<String>,
    /// RFC 3339, UTC.
    pub at: Option<String>,
}

/// How the label stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The pull request does not have it.
    Absent,
    /// It counts.
    Counts(SetBy),
    /// It was set for an earlier commit.
    Stale {
        /// Who set it.
        set: SetBy,
        /// The commit that it was set for, where that is known.
        meant: Option<CommitSha>,
        /// The commit that was measured.
        head: CommitSha,
    },
    /// Who set it may not accept.
    NotAllowed {
        /// Who set it.
        login: String,
        /// The role that the policy asks for.
        least: Role,
    },
    /// It is there, and it cannot be told whether it counts: why, as a sentence fragment.
    NotTold(String),
}

impl Standing {
    /// What the event alone says. It tells who set a label for which commit only where that is
    /// what happened, or where the pull request began with it.
    pub(super) fn of_event(
        label: &str,
        expires: Expires,
        least: Option<Role>,
        trigger: &Trigger,
    ) -> Self {
        let same = |name: &String| is_same_label(label, name);
        if !trigger.labels.iter().any(same) {
            return Self::Absent;
        }
        if least.is_some() {
            return Self::NotTold("GitHub was not asked what its setter may do".to_owned());
        }
        match &trigger.labelling {
            Labelling::Set { label: set, by, at } if is_same_label(label, set) => {
                Self::Counts(SetBy {
                    login: by.clone(),
                    at: at.clone(),
                })
            }
            Labelling::Opened => Self::Counts(SetBy::default()),
            Labelling::Unknown | Labelling::Set { .. } if expires == Expires::Never => {
                Self::Counts(SetBy::default())
            }
            Labelling::Unknown | Labelling::Set { .. } => {
                Self::NotTold("GitHub was not asked for which commit it was set".to_owned())
            }
        }
    }

    /// Whether it counts.
    pub const fn counts(&self) -> bool {
        matches!(self, Self::Counts(_))
    }

    /// Why a label that is there does not count, as a sentence; `None` where it does, or is not
    /// there.
    pub(super) fn objection(&self, label: &str) -> Option<String> {
        Some(match self {
            Self::Absent | Self::Counts(_) => return None,
            Self::Stale { meant, head, .. } => {
                let head = short(head);
                match meant {
                    Some(meant) => format!(
                        "The label `{label}` was set for {}, and this is {head}: set it again to \
                         accept the cost.",
                        short(meant)
                    ),
                    None => format!(
                        "The label `{label}` was set before {head} was pushed: set it again to \
                         accept the cost."
                    ),
                }
            }
            Self::NotAllowed { login, least } => format!(
                "The label `{label}` was set by {login}, and the policy asks for somebody with the \
                 role {}.",
                least.name()
            ),
            Self::NotTold(why) => format!(
                "The label `{label}` is there and does not count: {why}. Set it again in a workflow \
                 that starts on `labeled`, or let the policy say `expires: never`."
            ),
        })
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => out.write_str("is not there"),
            Self::Counts(_) => out.write_str("is there"),
            Self::Stale { .. } => out.write_str("was set for an earlier commit"),
            Self::NotAllowed { login, .. } => write!(out, "was set by {login}, who may not"),
            Self::NotTold(why) => write!(out, "is there, but {why}"),
        }
    }
}

/// Labels are told apart without regard to case, as GitHub does.
pub fn is_same_label(label: &str, other: &str) -> bool {
    label.trim().eq_ignore_ascii_case(other.trim())
}

fn short(sha: &CommitSha) -> String {
    sha.as_str().chars().take(7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[&str], labelling: Labelling, expires: Expires) -> Standing {
        let trigger = Trigger {
            labels: labels.iter().map(|name| (*name).to_owned()).collect(),
            labelling,
            ..Trigger::default()
        };
        Standing::of_event("kitt/accept", expires, None, &trigger)
    }

    fn set(label: &str) -> Labelling {
        Labelling::Set {
            label: label.to_owned(),
            by: Some("octocat".to_owned()),
            at: None,
        }
    }

    #[test]
    fn the_event_alone_shows_it_only_where_the_label_is_what_happened() {
        let label = ["KITT/accept"];
        assert_eq!(of(&[], set("kitt/accept"), Expires::Head), Standing::Absent);
        let counts = of(&label, set("kitt/accept"), Expires::Head);
        let Standing::Counts(by) = counts else {
            panic!("{counts:?}")
        };
        assert_eq!(by.login.as_deref(), Some("octocat"));
        assert!(of(&label, Labelling::Opened, Expires::Head).counts());
        // A push with the label from before, or another label that was set.
        for other in [Labelling::Unknown, set("perf")] {
            let standing = of(&label, other.clone(), Expires::Head);
            assert!(matches!(standing, Standing::NotTold(_)), "{standing:?}");
            assert!(of(&label, other, Expires::Never).counts());
        }
    }

    #[test]
    fn a_policy_that_asks_for_a_role_is_not_met_by_the_event() {
        let trigger = Trigger {
            labels: vec!["a".to_owned()],
            labelling: set("a"),
            ..Trigger::default()
        };
        let least = Some(Role::Maintain);
        let standing = Standing::of_event("a", Expires::Never, least, &trigger);
        assert!(!standing.counts(), "{standing:?}");
    }

    #[test]
    fn a_stale_label_names_both_commits() {
        let sha = |letter: &str| letter.repeat(40).parse::<CommitSha>().unwrap();
        let stale = |meant| Standing::Stale {
            set: SetBy::default(),
            meant,
            head: sha("d"),
        };
        let said = stale(Some(sha("a"))).objection("kitt/accept").unwrap();
        assert_eq!(
            said,
            "The label `kitt/accept` was set for aaaaaaa, and this is ddddddd: set it again to \
             accept the cost."
        );
        let said = stale(None).objection("kitt/accept").unwrap();
        assert!(said.contains("before ddddddd was pushed"), "{said}");
    }

    #[test]
    fn roles_ascend() {
        let words = ["read", "triage", "write", "maintain", "admin"].map(Role::of);
        assert!(words.is_sorted(), "{words:?}");
        assert_eq!(words[0], None);
    }
}
