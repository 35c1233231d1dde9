//! What each event means, on the shapes that GitHub documents.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn env(pairs: &[(&str, &str)]) -> EnvSnapshot {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn a_pull_request_of_a_fork_is_one() {
    let sha = "a".repeat(40);
    let pr = |head: Value| {
        let payload = json!({"number": 7, "pull_request": {
            "number": 7, "head": {"sha": sha, "repo": head}, "base": {"sha": sha, "repo": {"id": 1}}}});
        Trigger::from_parts(&env(&[("GITHUB_REPOSITORY", "o/r")]), &payload)
    };
    let own = pr(json!({"id": 1}));
    assert_eq!(
        (own.pr.unwrap().to_string().as_str(), own.fork),
        ("7", false)
    );
    assert_eq!(own.head.unwrap().as_str(), sha);
    assert!(pr(json!({"id": 2})).fork);
    assert!(pr(Value::Null).fork, "a deleted fork is still one");
}

#[test]
fn an_issue_number_is_no_pull_request() {
    let payload = json!({"number": 7, "issue": {}});
    assert_eq!(Trigger::from_parts(&env(&[]), &payload).pr, None);
}

/// Keys and nesting as GitHub sends them: labels are objects, refs are short in a pull request
/// and full in a merge group.
#[test]
fn labels_base_and_description_are_those_of_the_event() {
    let label = |name: &str| json!({"id": 208, "name": name, "color": "f29513", "default": false});
    let payload = json!({"action": "labeled", "number": 7, "pull_request": {
        "number": 7, "body": "Adds a layer.\r\nkitt-accept: two more layers",
        "labels": [label("perf"), label("kitt/accept-regression")],
        "base": {"ref": "release/1.2", "repo": {"id": 1}}, "head": {"ref": "x", "repo": {"id": 1}}}});
    let env = env(&[("GITHUB_REF", "refs/pull/7/merge")]);
    let trigger = Trigger::from_parts(&env, &payload);
    assert_eq!(trigger.labels, ["perf", "kitt/accept-regression"]);
    assert_eq!(trigger.base_branch.as_deref(), Some("release/1.2"));
    assert!(trigger.body.unwrap().contains("two more layers"));
}

#[test]
fn every_event_has_the_branch_it_goes_to() {
    let of = |pairs: &[(&str, &str)], payload: Value| {
        Trigger::from_parts(&env(pairs), &payload).base_branch
    };
    let main = Some("main".to_owned());
    assert_eq!(of(&[("GITHUB_REF", "refs/heads/main")], Value::Null), main);
    let merge = json!({"merge_group": {"base_ref": "refs/heads/main", "head_ref": "refs/heads/gh-readonly-queue/main/pr-1-a"}});
    assert_eq!(
        of(
            &[("GITHUB_REF", "refs/heads/gh-readonly-queue/main/pr-1-a")],
            merge
        ),
        main
    );
    assert_eq!(
        of(
            &[
                ("GITHUB_BASE_REF", "main"),
                ("GITHUB_REF", "refs/pull/7/merge")
            ],
            Value::Null
        ),
        main
    );
    assert_eq!(of(&[("GITHUB_REF", "refs/tags/v1")], Value::Null), None);
    let odd = json!({"pull_request": {"labels": [{"name": 7}, "x", {}], "body": null}});
    let odd = Trigger::from_parts(&env(&[]), &odd);
    assert_eq!((odd.labels, odd.body), (Vec::new(), None));
}

#[test]
fn nothing_known_is_no_error() {
    let nothing = Trigger {
        // Nobody says that it is not.
        self_hosted: true,
        ..Trigger::default()
    };
    assert_eq!(Trigger::from_parts(&env(&[]), &Value::Null), nothing);
    let broken = env(&[("GITHUB_REPOSITORY", "not a slug"), ("GITHUB_SHA", "zz")]);
    assert_eq!(Trigger::from_parts(&broken, &json!([1])).repo, None);
}

/// A fixture's environment and payload.
fn fixture(name: &str) -> (EnvSnapshot, Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/events/{name}.json"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut fixture: Value = serde_json::from_str(&text).unwrap();
    let env = fixture["env"].as_object().unwrap().iter();
    let env = env.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    (env.collect(), fixture["payload"].take())
}

fn trigger(name: &str) -> Trigger {
    let (env, payload) = fixture(name);
    Trigger::from_parts(&env, &payload)
}

/// The same pull request in the API's shape, for events that have its number only.
fn pull() -> Value {
    fixture("pull_request-opened").1["pull_request"].take()
}

const BASE: &str = "5f2c8d1e9a7b4c6d3e0f1a2b5c8d7e9f0a1b2c3d";
const HEAD: &str = "c0ffee1234567890abcdef1234567890abcdef12";
const MERGE: &str = "0b5e5a7c9d1f2e3a4b6c8d0e1f2a3b4c5d6e7f80";
const OLD: &str = "9d8c7b6a5f4e3d2c1b0a9f8e7d6c5b4a39281706";
const GROUP: &str = "7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b";

fn sha(text: &str) -> CommitSha {
    text.parse().unwrap()
}

/// Name; pull request, head, base, branch it goes to, whether it is foreign.
type Row = (
    &'static str,
    Option<u64>,
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
    bool,
);

const MEANINGS: &[Row] = &[
    (
        "pull_request-opened",
        Some(17),
        Some(HEAD),
        Some(BASE),
        Some("main"),
        false,
    ),
    // `before` of a payload is the head before, not the base.
    (
        "pull_request-synchronize",
        Some(17),
        Some(HEAD),
        Some(BASE),
        Some("main"),
        false,
    ),
    (
        "pull_request-labeled",
        Some(17),
        Some(HEAD),
        Some(BASE),
        Some("main"),
        false,
    ),
    (
        "pull_request-draft",
        Some(17),
        Some(HEAD),
        Some(BASE),
        Some("main"),
        false,
    ),
    (
        "pull_request-rerun",
        Some(17),
        Some(HEAD),
        Some(BASE),
        Some("main"),
        false,
    ),
    (
        "pull_request-fork",
        Some(17),
        Some(HEAD),
        Some(BASE),
        Some("main"),
        true,
    ),
    (
        "pull_request-fork-deleted",
        Some(17),
        Some(HEAD),
        Some(BASE),
        Some("main"),
        true,
    ),
    (
        "pull_request_target-own",
        Some(17),
        Some(HEAD),
        Some(BASE),
        Some("main"),
        false,
    ),
    (
        "pull_request_target-fork",
        Some(17),
        Some(HEAD),
        Some(BASE),
        Some("main"),
        true,
    ),
    (
        "push-branch",
        None,
        Some(BASE),
        Some(OLD),
        Some("main"),
        false,
    ),
    (
        "push-new-branch",
        None,
        Some(HEAD),
        None,
        Some("faster-decode"),
        false,
    ),
    ("push-tag", None, Some(BASE), None, None, false),
    (
        "push-deleted",
        None,
        Some(BASE),
        Some(HEAD),
        Some("main"),
        false,
    ),
    (
        "push-forced",
        None,
        Some(HEAD),
        Some(OLD),
        Some("faster-decode"),
        false,
    ),
    (
        "merge_group",
        None,
        Some(GROUP),
        Some(OLD),
        Some("main"),
        false,
    ),
    (
        "workflow_dispatch-pr",
        Some(17),
        Some(BASE),
        None,
        Some("main"),
        false,
    ),
    (
        "workflow_dispatch",
        None,
        Some(HEAD),
        None,
        Some("faster-decode"),
        false,
    ),
    ("schedule", None, Some(BASE), None, Some("main"), false),
    (
        "workflow_run-own",
        Some(17),
        Some(HEAD),
        Some(BASE),
        Some("main"),
        false,
    ),
    (
        "workflow_run-fork",
        None,
        Some(HEAD),
        None,
        Some("main"),
        true,
    ),
    ("issue_comment-pr", Some(17), None, None, None, false),
    (
        "issue_comment-issue",
        None,
        Some(BASE),
        None,
        Some("main"),
        false,
    ),
    ("garbage-array", None, Some(BASE), None, Some("main"), false),
    ("garbage-empty", None, Some(BASE), None, Some("main"), false),
    ("garbage-huge", None, Some(BASE), None, Some("main"), false),
    // The environment knows the number; whose it is, nobody does.
    (
        "garbage-types",
        Some(17),
        Some(MERGE),
        None,
        Some("main"),
        true,
    ),
];

#[test]
fn every_fixture_means_what_github_means_by_it() {
    for (name, pr, head, base, branch, fork) in MEANINGS {
        let found = trigger(name);
        assert_eq!(found.pr.map(|pr| pr.0.get()), *pr, "{name}: pull request");
        assert_eq!(
            found.head.as_ref().map(CommitSha::as_str),
            *head,
            "{name}: head"
        );
        assert_eq!(
            found.base.as_ref().map(CommitSha::as_str),
            *base,
            "{name}: base"
        );
        assert_eq!(found.base_branch.as_deref(), *branch, "{name}: branch");
        assert_eq!(found.fork, *fork, "{name}: fork");
        assert_eq!(found.repo.unwrap().to_string(), "octo-org/engine", "{name}");
        assert!(found.self_hosted, "{name}");
        let by_ref = found.event.as_deref() == Some("pull_request");
        assert_eq!(found.kind == EventKind::PullRequest, by_ref, "{name}");
    }
}

#[test]
fn no_fixture_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events");
    let names = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut known: Vec<String> = MEANINGS
        .iter()
        .map(|row| format!("{}.json", row.0))
        .collect();
    known.sort();
    assert_eq!(names, known);
}

#[test]
fn details_of_single_events() {
    assert!(trigger("pull_request-draft").draft);
    assert!(!trigger("pull_request-opened").draft);
    assert!(trigger("push-deleted").deleted && !trigger("push-branch").deleted);
    let again = trigger("pull_request-rerun");
    assert_eq!(again.attempt, Some(2));
    assert!(again.run_url.unwrap().ends_with("/13870054321/attempts/2"));
    let labelled = trigger("pull_request-labeled");
    assert_eq!(labelled.labels, ["performance", "kitt/accept-regression"]);
    assert!(labelled.body.unwrap().contains("kitt-accept:"));
    // A comment's issue is the pull request, with its labels and description.
    let comment = trigger("issue_comment-pr");
    assert_eq!(comment.labels, ["performance"]);
    assert!(comment.body.unwrap().starts_with("Fuses"));
    assert_eq!(trigger("issue_comment-issue").labels, [""; 0]);
    assert_eq!(trigger("pull_request-fork").head_repo_id, Some(812_345_670));
    assert_eq!(trigger("pull_request-fork-deleted").head_repo_id, None);
    assert_eq!(trigger("pull_request-fork").head_branch.unwrap(), "main");
}

#[test]
fn the_api_completes_what_a_comment_does_not_say() {
    let (env, payload) = fixture("issue_comment-pr");
    let bare = Trigger::from_parts(&env, &payload);
    assert_eq!(bare.origin(), Origin::Unknown);
    assert!(!bare.described);
    let whole = Trigger::from_parts(&env, &with_pull(payload, Some(&pull())));
    assert!(whole.described);
    assert_eq!(whole.origin(), Origin::Own);
    assert_eq!((whole.head, whole.base), (Some(sha(HEAD)), Some(sha(BASE))));
    assert_eq!(whole.base_branch.as_deref(), Some("main"));
    assert_eq!(whole.pr, bare.pr);
    let (env, _) = fixture("workflow_dispatch-pr");
    let alone = Trigger::from_parts(&env, &with_pull(Value::Null, Some(&pull())));
    assert_eq!(alone.head, Some(sha(HEAD)));
}

#[test]
fn the_workspace_tells_a_merge_from_a_head() {
    let at = |name: &str, commit: &str, parents: &[&str]| {
        let mut found = trigger(name);
        found.checkout = Some(Checkout {
            commit: sha(commit),
            parents: parents.iter().map(|parent| sha(parent)).collect(),
        });
        found
    };
    let merged = at("pull_request-opened", MERGE, &[OLD, HEAD]);
    // base.sha of an event may lag behind; the merge's own parent does not.
    assert_eq!(merged.measured(), Measured::Merge { base: &sha(OLD) });
    assert_eq!(merged.commit(), Some(&sha(HEAD)));
    // An event that was queued: GITHUB_SHA is the merge of a newer head.
    let moved = at("pull_request-opened", MERGE, &[OLD, GROUP]);
    assert_eq!(moved.measured(), Measured::Merge { base: &sha(OLD) });
    let head = at("pull_request-opened", HEAD, &[OLD]);
    assert_eq!(head.measured(), Measured::Head);
    let target = at("pull_request_target-own", BASE, &[OLD]);
    assert_eq!(target.measured(), Measured::Tip);
    assert_eq!(target.commit(), Some(&sha(BASE)), "not the head's numbers");
    assert_eq!(target.has_code_of_pull_request(), Some(false));
    let unsafe_target = at("pull_request_target-fork", MERGE, &[BASE, HEAD]);
    assert_eq!(
        unsafe_target.measured(),
        Measured::Merge { base: &sha(BASE) }
    );
    assert_eq!(unsafe_target.has_code_of_pull_request(), Some(true));
    let other = at("issue_comment-pr", HEAD, &[OLD]);
    assert_eq!(
        other.measured(),
        Measured::Other,
        "nobody says what the head is"
    );
    assert_eq!(other.commit(), Some(&sha(HEAD)));
    assert_eq!(trigger("push-branch").measured(), Measured::Unknown);
    assert_eq!(at("push-branch", BASE, &[OLD]).measured(), Measured::Head);
}

#[test]
fn without_a_name_the_payload_tells_the_event() {
    for (name, kind) in [
        ("pull_request-opened", EventKind::PullRequest),
        ("push-branch", EventKind::Push),
        ("merge_group", EventKind::MergeGroup),
        ("workflow_run-own", EventKind::WorkflowRun),
        ("workflow_dispatch", EventKind::WorkflowDispatch),
        ("schedule", EventKind::Schedule),
        ("issue_comment-pr", EventKind::IssueComment),
    ] {
        let (full, payload) = fixture(name);
        assert_eq!(Trigger::from_parts(&full, &payload).kind, kind, "{name}");
        let alone = Trigger::from_parts(&env(&[]), &payload);
        assert_eq!(alone.kind, kind, "{name}");
        assert_eq!(alone.pr, Trigger::from_parts(&full, &payload).pr, "{name}");
    }
}

/// Any JSON, with the keys that are read among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-f]{40}|0{40}|refs/heads/\\PC{0,8}|\\PC{0,12}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "pull_request",
        "head",
        "base",
        "repo",
        "id",
        "sha",
        "ref",
        "number",
        "labels",
        "name",
        "body",
        "issue",
        "workflow_run",
        "head_repository",
        "pull_requests",
        "merge_group",
        "head_sha",
        "base_ref",
        "before",
        "deleted",
        "inputs",
        "pr",
        "repository",
        "full_name",
        "comment",
        "draft",
        "default_branch",
    ]);
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..8).prop_map(|map| {
                let map = map.into_iter().map(|(key, value)| (key.to_owned(), value));
                Value::Object(map.collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_payload_is_survived(
        payload in any_json(),
        event in prop::option::of(prop::sample::select(vec![
            "pull_request", "pull_request_target", "push", "merge_group", "workflow_dispatch",
            "schedule", "workflow_run", "issue_comment", "\u{1f980}",
        ])),
        reference in "refs/(heads|pull|tags)/[0-9]{0,3}(/merge)?|\\PC{0,9}",
        text in "\\PC{0,12}|[0-9]{1,40}",
    ) {
        let mut pairs = vec![
            ("GITHUB_REF", reference.as_str()),
            ("GITHUB_SHA", &text),
            ("GITHUB_REPOSITORY", &text),
            ("GITHUB_REPOSITORY_ID", &text),
            ("GITHUB_RUN_ATTEMPT", &text),
        ];
        pairs.extend(event.map(|event| ("GITHUB_EVENT_NAME", event)));
        let found = Trigger::from_parts(&env(&pairs), &payload);
        // What nobody shows to be ours is foreign.
        let pull = matches!(found.kind, EventKind::PullRequest | EventKind::PullRequestTarget);
        let shown = found.head_repo_id.is_some();
        prop_assert!(!pull || shown || found.fork, "{found:?}");
        prop_assert!(found.base.as_ref().is_none_or(|base| base.as_str() != "0".repeat(40)));
        let _ = (found.measured(), found.origin(), found.commit(), found.has_code_of_pull_request());
    }
}
