//! Which rights a job needs for what it is asked to do.
//!
//! In: the settings. Out: a `permissions:` block, whole, since naming one key takes all others
//! away. The documentation's table comes from here as well.

use std::collections::BTreeMap;

use super::operations::{
    Access, COMPARE, CREATE_BLOB, CREATE_CHECK, CREATE_COMMENT, CREATE_COMMIT,
    CREATE_COMMIT_COMMENT, CREATE_REF, CREATE_TREE, DELETE_COMMENT, DOWNLOAD_ARTIFACT, GET_BLOB,
    GET_COMMENT, GET_COMMIT, GET_GIT_COMMIT, GET_PERMISSION, GET_PULL, GET_REF, GET_REPOSITORY,
    GET_RUN, GET_TREE, GET_USER, GRAPHQL, LIST_ACTIVITY, LIST_ARTIFACTS, LIST_CHECKS,
    LIST_COMMENTS, LIST_COMMIT_COMMENTS, LIST_COMMITS, LIST_EVENTS, LIST_PULL_FILES, LIST_PULLS,
    LIST_RUN_ARTIFACTS, Operation, UPDATE_CHECK, UPDATE_COMMENT, UPDATE_COMMIT_COMMENT, UPDATE_REF,
};
use crate::context::{CommentWhen, Publish};

/// Something that kitt does with GitHub's API.
#[derive(Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name in the documentation.
    pub name: &'static str,
    /// What turns it on or off.
    pub setting: &'static str,
    /// What it asks of GitHub.
    pub operations: &'static [&'static Operation],
}

/// The comment on a pull request.
pub static COMMENT: Feature = Feature {
    name: "comment on the pull request",
    setting: "`comment`, `post-comment`",
    operations: &[
        &GET_USER,
        &GRAPHQL,
        &LIST_COMMENTS,
        &GET_COMMENT,
        &CREATE_COMMENT,
        &UPDATE_COMMENT,
        &DELETE_COMMENT,
    ],
};
/// Baselines in artifacts.
pub static BASELINE: Feature = Feature {
    name: "baseline from artifacts",
    setting: "`baseline`, `baseline-artifact`",
    operations: &[
        &GET_REPOSITORY,
        &LIST_ARTIFACTS,
        &LIST_RUN_ARTIFACTS,
        &DOWNLOAD_ARTIFACT,
        &GET_RUN,
        &GET_COMMIT,
        &LIST_COMMITS,
        &COMPARE,
    ],
};
/// Baselines in a branch, read.
pub static BASELINE_BRANCH: Feature = Feature {
    name: "baseline from a branch",
    setting: "`baseline-branch`",
    operations: &[
        &GET_REPOSITORY,
        &GET_REF,
        &GET_GIT_COMMIT,
        &GET_TREE,
        &GET_BLOB,
        &GET_COMMIT,
        &LIST_COMMITS,
        &COMPARE,
    ],
};
/// Baselines in a branch, written.
pub static STORE: Feature = Feature {
    name: "baseline stored in a branch",
    setting: "`kitt baseline push`",
    operations: &[
        &GET_REF,
        &GET_GIT_COMMIT,
        &GET_TREE,
        &CREATE_BLOB,
        &CREATE_TREE,
        &CREATE_COMMIT,
        &CREATE_REF,
        &UPDATE_REF,
    ],
};
/// The check run.
pub static CHECK: Feature = Feature {
    name: "check run",
    setting: "`check-run`",
    operations: &[&CREATE_CHECK, &UPDATE_CHECK, &LIST_CHECKS],
};
/// The comment on a commit.
pub static COMMIT_COMMENT: Feature = Feature {
    name: "comment on a pushed commit",
    setting: "`commit-comment`",
    operations: &[
        &GET_USER,
        &GRAPHQL,
        &LIST_COMMIT_COMMENTS,
        &CREATE_COMMIT_COMMENT,
        &UPDATE_COMMIT_COMMENT,
    ],
};
/// Acceptance by label.
pub static ACCEPT: Feature = Feature {
    name: "accepting a regression by label",
    setting: "the label",
    operations: &[
        &GET_PULL,
        &LIST_EVENTS,
        &LIST_ACTIVITY,
        &GET_PERMISSION,
        &GET_RUN,
    ],
};
/// Limits that go by what changed.
pub static CHANGED: Feature = Feature {
    name: "policy by changed files",
    setting: "`paths` in the policy",
    operations: &[&GET_PULL, &LIST_PULL_FILES, &COMPARE],
};
/// Publishing for forks.
pub static FORKS: Feature = Feature {
    name: "publishing for forks",
    setting: "`kitt ci publish`",
    operations: &[
        &GET_RUN,
        &LIST_RUN_ARTIFACTS,
        &DOWNLOAD_ARTIFACT,
        &LIST_PULLS,
        &GET_PULL,
        &LIST_COMMENTS,
        &CREATE_COMMENT,
        &UPDATE_COMMENT,
    ],
};
/// What `kitt doctor` asks.
pub static DOCTOR: Feature = Feature {
    name: "looking at the token",
    setting: "`kitt doctor`",
    operations: &[&GET_REPOSITORY],
};

/// All of them.
pub static FEATURES: [&Feature; 10] = [
    &COMMENT,
    &BASELINE,
    &BASELINE_BRANCH,
    &STORE,
    &CHECK,
    &COMMIT_COMMENT,
    &ACCEPT,
    &CHANGED,
    &FORKS,
    &DOCTOR,
];

impl Feature {
    /// The rights it needs: each key below `permissions:` with its level.
    pub fn rights(&self) -> BTreeMap<&'static str, &'static str> {
        let accesses = self.operations.iter().map(|operation| operation.access);
        rights(accesses)
    }
}

/// The features that these settings turn on. The baseline is looked for by default.
pub fn wanted(publish: &Publish) -> Vec<&'static Feature> {
    let comments = publish.post_comment && publish.comment != CommentWhen::Never;
    let choices = [
        (true, &BASELINE),
        (comments, &COMMENT),
        (publish.check_run, &CHECK),
        (publish.commit_comment, &COMMIT_COMMENT),
    ];
    let on = choices.into_iter().filter(|(on, _)| *on);
    on.map(|(_, feature)| feature).collect()
}

/// The block for these features and one more right.
pub fn block(features: &[&Feature], more: Option<Access>) -> String {
    let operations = features.iter().flat_map(|feature| feature.operations);
    // Every job checks its repository out.
    let checkout = Access {
        permission: "contents",
        level: "read",
    };
    let accesses = operations.map(|operation| operation.access);
    let rights = rights(accesses.chain(more).chain([checkout]));
    let lines = rights
        .iter()
        .map(|(permission, level)| format!("  {permission}: {level}\n"));
    format!("permissions:\n{}", lines.collect::<String>())
}

fn rights(accesses: impl Iterator<Item = Access>) -> BTreeMap<&'static str, &'static str> {
    let mut rights = BTreeMap::new();
    for Access { permission, level } in accesses.filter(|access| access.is_granted()) {
        let known = rights.entry(permission).or_insert(level);
        if level == "write" {
            *known = level;
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::OPERATIONS;

    #[test]
    fn every_operation_serves_a_feature() {
        for operation in OPERATIONS {
            let serves = |feature: &&Feature| feature.operations.contains(operation);
            assert!(
                FEATURES.iter().any(serves),
                "{} {} stands in no feature",
                operation.method,
                operation.route
            );
        }
    }

    #[test]
    fn the_block_names_every_key_with_its_highest_level() {
        let block = block(&[&COMMENT, &BASELINE, &CHECK, &STORE], None);
        assert_eq!(
            block,
            "permissions:\n  actions: read\n  checks: write\n  contents: write\n  pull-requests: write\n"
        );
    }

    #[test]
    fn a_right_of_its_own_is_added() {
        let statuses = Access {
            permission: "statuses",
            level: "write",
        };
        let block = block(&[], Some(statuses));
        assert_eq!(block, "permissions:\n  contents: read\n  statuses: write\n");
    }
}
