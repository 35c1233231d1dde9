//! Every request that kitt can make of GitHub, with the right it needs.
//!
//! A path is made of one of these, so that the list is complete by construction. `kitt about
//! operations` prints it; the documentation's table and the check against GitHub's own description
//! are made from it. Routes are written as in that description.

use http::Method;
use serde::Serialize;
use serde_json::Value;

/// What a token must be allowed to do for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Access {
    /// The key below `permissions:` in a workflow.
    pub permission: &'static str,
    /// `read` or `write`.
    pub level: &'static str,
}

impl Access {
    /// Whether a workflow's `permissions:` can grant it; every token may read metadata.
    pub fn is_granted(self) -> bool {
        self.permission != "metadata"
    }
}

const fn read(permission: &'static str) -> Access {
    Access {
        permission,
        level: "read",
    }
}

const fn write(permission: &'static str) -> Access {
    Access {
        permission,
        level: "write",
    }
}

/// No particular right.
const ANY: Access = read("metadata");

/// One request that kitt can make.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// HTTP method.
    pub method: &'static str,
    /// Route with its parameters in braces.
    pub route: &'static str,
    /// What it is for, as an infinitive: `create the comment`.
    pub action: &'static str,
    /// The right it needs.
    pub access: Access,
}

/// A request ready to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it is.
    pub operation: &'static Operation,
    /// Path below the API's address, with its query.
    pub(super) path: String,
    /// JSON to send.
    pub(super) body: Option<Value>,
}

impl Operation {
    /// The request with these values in the route's braces, in order. Each is percent-encoded, so
    /// that no value can become another path; a missing one leaves its braces, which no server
    /// knows.
    pub fn request(&'static self, values: &[&str]) -> Request {
        let mut values = values.iter();
        let mut path = String::new();
        let mut rest = self.route;
        while let Some((before, after)) = rest.split_once('{') {
            path.push_str(before);
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            match values.next() {
                Some(value) => path.push_str(&segment(name, value)),
                None => path.extend(["{", name, "}"]),
            }
            rest = after;
        }
        path.push_str(rest);
        Request {
            operation: self,
            path,
            body: None,
        }
    }

    /// The method for a request.
    pub(super) fn http_method(&self) -> Method {
        match self.method {
            "POST" => Method::POST,
            "PATCH" => Method::PATCH,
            "PUT" => Method::PUT,
            "DELETE" => Method::DELETE,
            _ => Method::GET,
        }
    }
}

impl Request {
    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.path
            .push(if self.path.contains('?') { '&' } else { '?' });
        let pair = url::form_urlencoded::Serializer::new(String::new())
            .append_pair(name, value)
            .finish();
        self.path.push_str(&pair);
        self
    }

    /// Adds the JSON to send.
    #[must_use]
    pub fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

/// A value as part of a path. Refs may hold slashes; nothing may climb.
fn segment(name: &str, value: &str) -> String {
    let slashes = name == "ref";
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
        // Dots alone are steps of a path.
        let dot = byte == b'.' && !value.split('/').any(|part| part == "." || part == "..");
        if plain || dot || (slashes && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.extend(['%', hex(byte >> 4), hex(byte)]);
        }
    }
    out
}

/// The lower four bits as a hexadecimal digit.
fn hex(byte: u8) -> char {
    let digit = char::from_digit(u32::from(byte & 0xf), 16);
    digit.unwrap_or_default().to_ascii_uppercase()
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident: $method:literal $route:literal, $action:literal, $access:expr;)*) => {
        $(
            $(#[$doc])*
            pub static $name: Operation = Operation {
                method: $method,
                route: $route,
                action: $action,
                access: $access,
            };
        )*

        /// All of them.
        pub static OPERATIONS: &[&Operation] = &[$(&$name),*];
    };
}

operations! {
    /// Whose token this is.
    GET_USER: "GET" "/user", "ask whose token this is", ANY;
    /// The same for an installation's token.
    GRAPHQL: "POST" "/graphql", "ask whose token this is", ANY;
    /// A repository.
    GET_REPOSITORY: "GET" "/repos/{owner}/{repo}", "read the repository", ANY;
    /// A pull request's comments.
    LIST_COMMENTS: "GET" "/repos/{owner}/{repo}/issues/{issue_number}/comments", "search the pull request's comments", read("pull-requests");
    /// One comment.
    GET_COMMENT: "GET" "/repos/{owner}/{repo}/issues/comments/{comment_id}", "read the comment", read("pull-requests");
    /// A new comment.
    CREATE_COMMENT: "POST" "/repos/{owner}/{repo}/issues/{issue_number}/comments", "create the comment", write("pull-requests");
    /// Another text.
    UPDATE_COMMENT: "PATCH" "/repos/{owner}/{repo}/issues/comments/{comment_id}", "update the comment", write("pull-requests");
    /// A duplicate of our own goes.
    DELETE_COMMENT: "DELETE" "/repos/{owner}/{repo}/issues/comments/{comment_id}", "delete the duplicate comment", write("pull-requests");
    /// A commit's comments.
    LIST_COMMIT_COMMENTS: "GET" "/repos/{owner}/{repo}/commits/{commit_sha}/comments", "search the commit's comments", read("contents");
    /// A comment on a commit.
    CREATE_COMMIT_COMMENT: "POST" "/repos/{owner}/{repo}/commits/{commit_sha}/comments", "comment on the commit", write("contents");
    /// Another text.
    UPDATE_COMMIT_COMMENT: "PATCH" "/repos/{owner}/{repo}/comments/{comment_id}", "update the commit's comment", write("contents");
    /// A check run.
    CREATE_CHECK: "POST" "/repos/{owner}/{repo}/check-runs", "create the check run", write("checks");
    /// Its result.
    UPDATE_CHECK: "PATCH" "/repos/{owner}/{repo}/check-runs/{check_run_id}", "update the check run", write("checks");
    /// A commit's check runs.
    LIST_CHECKS: "GET" "/repos/{owner}/{repo}/commits/{ref}/check-runs", "list the commit's check runs", read("checks");
    /// A pull request.
    GET_PULL: "GET" "/repos/{owner}/{repo}/pulls/{pull_number}", "read the pull request", read("pull-requests");
    /// Pull requests by head branch.
    LIST_PULLS: "GET" "/repos/{owner}/{repo}/pulls", "find the pull request", read("pull-requests");
    /// What a pull request changes.
    LIST_PULL_FILES: "GET" "/repos/{owner}/{repo}/pulls/{pull_number}/files", "list the changed files", read("pull-requests");
    /// Who set a label, and when.
    LIST_EVENTS: "GET" "/repos/{owner}/{repo}/issues/{issue_number}/events", "ask who set the label", read("pull-requests");
    /// What an account may do.
    GET_PERMISSION: "GET" "/repos/{owner}/{repo}/collaborators/{username}/permission", "ask what the account may do", ANY;
    /// Pushes to a branch, with GitHub's own time.
    LIST_ACTIVITY: "GET" "/repos/{owner}/{repo}/activity", "ask when the commit was pushed", read("contents");
    /// A commit with its parents.
    GET_COMMIT: "GET" "/repos/{owner}/{repo}/commits/{ref}", "read the commit", read("contents");
    /// Ancestors.
    LIST_COMMITS: "GET" "/repos/{owner}/{repo}/commits", "list the commits before", read("contents");
    /// A merge base.
    COMPARE: "GET" "/repos/{owner}/{repo}/compare/{basehead}", "find the merge base", read("contents");
    /// Artifacts of the repository.
    LIST_ARTIFACTS: "GET" "/repos/{owner}/{repo}/actions/artifacts", "list the artifacts", read("actions");
    /// Artifacts of one run.
    LIST_RUN_ARTIFACTS: "GET" "/repos/{owner}/{repo}/actions/runs/{run_id}/artifacts", "list the run's artifacts", read("actions");
    /// One artifact, as a redirect to where it is.
    DOWNLOAD_ARTIFACT: "GET" "/repos/{owner}/{repo}/actions/artifacts/{artifact_id}/{archive_format}", "download the artifact", read("actions");
    /// A workflow run.
    GET_RUN: "GET" "/repos/{owner}/{repo}/actions/runs/{run_id}", "read the workflow run", read("actions");
    /// A branch's tip.
    GET_REF: "GET" "/repos/{owner}/{repo}/git/ref/{ref}", "read the branch", read("contents");
    /// A commit's tree.
    GET_GIT_COMMIT: "GET" "/repos/{owner}/{repo}/git/commits/{commit_sha}", "read the branch's commit", read("contents");
    /// All files of a tree.
    GET_TREE: "GET" "/repos/{owner}/{repo}/git/trees/{tree_sha}", "list the branch's files", read("contents");
    /// A file's bytes.
    GET_BLOB: "GET" "/repos/{owner}/{repo}/git/blobs/{file_sha}", "read the file", read("contents");
    /// A file's bytes, stored.
    CREATE_BLOB: "POST" "/repos/{owner}/{repo}/git/blobs", "store the file", write("contents");
    /// A tree.
    CREATE_TREE: "POST" "/repos/{owner}/{repo}/git/trees", "store the files", write("contents");
    /// A commit.
    CREATE_COMMIT: "POST" "/repos/{owner}/{repo}/git/commits", "store the commit", write("contents");
    /// A branch.
    CREATE_REF: "POST" "/repos/{owner}/{repo}/git/refs", "create the branch", write("contents");
    /// A branch moved on.
    UPDATE_REF: "PATCH" "/repos/{owner}/{repo}/git/refs/{ref}", "move the branch", write("contents");
}

/// What the newest Enterprise Server does not have, by GitHub's own description of it.
pub static MISSING_ON_SERVER: &[&Operation] = &[];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn values_stay_in_their_place() {
        let path = |values: &[&str]| GET_REF.request(values).path;
        assert_eq!(
            path(&["org", "repo", "heads/a.b"]),
            "/repos/org/repo/git/ref/heads/a.b"
        );
        assert_eq!(
            path(&["org", "../x?y#z", "../../user"]),
            "/repos/org/%2E%2E%2Fx%3Fy%23z/git/ref/%2E%2E/%2E%2E/user"
        );
        assert_eq!(path(&["org"]), "/repos/org/{repo}/git/ref/{ref}");
    }

    #[test]
    fn queries_are_encoded() {
        let request = LIST_ARTIFACTS.request(&["o", "r"]);
        let request = request.query("name", "a&b=c d").query("page", "2");
        assert_eq!(
            request.path,
            "/repos/o/r/actions/artifacts?name=a%26b%3Dc+d&page=2"
        );
    }

    #[test]
    fn no_operation_stands_twice() {
        let mut seen = BTreeSet::new();
        for operation in OPERATIONS {
            assert!(seen.insert((operation.method, operation.route)));
        }
    }
}
