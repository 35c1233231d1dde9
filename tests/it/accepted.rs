//! A regression that somebody accepts on GitHub: who, when, and for which commit.

use super::{
    gate::{Bench, PLAIN, SLOW, Said},
    github::{GitHub, Level, Rule, Token, What},
};

const LABEL: &str = "kitt/accept-regression";
const REASON: &str = "Adds guards.\r\nkitt-accept: guards cost a pass";

/// A pull request with a regression, and GitHub to ask about it.
struct Case {
    github: GitHub,
    /// What the event says that happened.
    action: &'static str,
    /// Labels of the event.
    labels: &'static [&'static str],
    policy: &'static str,
    /// The commit that is measured: the head when the event happened.
    head: String,
}

impl Case {
    fn new() -> Self {
        let github = GitHub::start();
        let head = github.state(|s| {
            let pull = s.pull(7);
            pull.body = Some(REASON.to_owned());
            pull.head_sha.clone()
        });
        Self {
            github,
            action: "synchronize",
            labels: &[],
            policy: "",
            head,
        }
    }

    /// A minute passes.
    fn later(&self) {
        self.github.state(|s| s.clock_ahead += 60);
    }

    fn label(&self, actor: &str) {
        self.later();
        self.github.state(|s| s.label(7, LABEL, actor));
        self.later();
    }

    /// A new head, which is measured from now on.
    fn push(&mut self) {
        self.head = self.github.state(|s| s.push_pull(7, &[("a", b"b")]));
        self.later();
    }

    fn bench(&self) -> Bench {
        let config = format!(
            "gate: true\npolicy: {{accept: {{label: {LABEL}{}}}}}",
            self.policy
        );
        let event = serde_json::json!({"action": self.action, "number": 7,
            "label": {"name": LABEL}, "sender": {"login": "sender"},
            "repository": {"id": 1, "full_name": "org/repo"},
            "pull_request": {
                "number": 7, "body": "kitt-accept: as the event had it",
                "updated_at": "2026-01-15T10:30:00Z",
                "labels": self.labels.iter().map(|name| serde_json::json!({"name": name})).collect::<Vec<_>>(),
                "head": {"sha": self.head, "ref": "pull-7", "repo": {"id": 1}},
                "base": {"sha": "b".repeat(40), "ref": "main", "repo": {"id": 1}}}});
        let bench = Bench::against(PLAIN, SLOW).config(&config);
        bench.write("event.json", &event.to_string());
        let path = bench.path("event.json").display().to_string();
        bench
            .variable("GITHUB_EVENT_NAME", "pull_request")
            .variable("GITHUB_EVENT_PATH", &path)
            .variable("GITHUB_REPOSITORY", "org/repo")
            .variable("GITHUB_RUN_ID", "77")
            .variable("GITHUB_RUN_ATTEMPT", "2")
            .variable("GITHUB_JOB", "bench")
    }

    fn report(&self) -> Said {
        self.told("ghs_token")
    }

    fn told(&self, token: &str) -> Said {
        let mut bench = self.bench().variable("GITHUB_API_URL", &self.github.url);
        if !token.is_empty() {
            bench = bench.variable("KITT_INPUT_GITHUB_TOKEN", token);
        }
        let said = bench.report();
        assert_eq!(self.github.violations(), Vec::<String>::new());
        said
    }

    fn comment(&self) -> String {
        let bodies = self.github.state(|s| {
            let comments = s.comments.iter();
            comments.map(|c| c.body.clone()).collect::<Vec<_>>()
        });
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        bodies[0].clone()
    }
}

#[test]
fn a_re_run_hears_of_the_label_that_came_after_its_event() {
    let case = Case::new();
    case.report().ends(10);
    assert!(
        case.comment().contains("does not count without the label"),
        "{}",
        case.comment()
    );
    case.label("octocat");
    case.report().ends(0);
    let comment = case.comment();
    assert!(comment.contains("set by octocat at 20"), "{comment}");
    assert!(comment.contains("guards cost a pass"), "{comment}");
    assert!(!comment.contains("@octocat"), "{comment}");
    // Taken away again.
    case.github.state(|s| s.unlabel(7, LABEL, "octocat"));
    case.report().ends(10);
}

#[test]
fn a_push_needs_the_label_again_and_the_comment_names_both_commits() {
    let mut case = Case::new();
    case.label("octocat");
    let accepted = case.head[..7].to_owned();
    case.labels = &[LABEL];
    case.push();
    case.report().ends(10);
    let comment = case.comment();
    let said = format!("was set for {accepted}, and this is {}", &case.head[..7]);
    // Commits of foreign text are cut, so that GitHub does not link them.
    let shown = comment.replace('\u{200d}', "");
    assert!(shown.contains(&said), "{said}\n{comment}");
    // Setting it again is enough.
    case.github.state(|s| s.unlabel(7, LABEL, "octocat"));
    case.label("hubot");
    case.report().ends(0);
    assert!(case.comment().contains("set by hubot at"));
}

#[test]
fn a_commit_that_comes_back_by_force_is_a_new_push() {
    let mut case = Case::new();
    let first = case.head.clone();
    case.push();
    case.label("octocat");
    // Somebody puts the earlier commit back, which nobody accepted.
    case.github.state(|s| {
        s.branch("org/repo", "pull-7", &first);
        s.pull(7).head_sha.clone_from(&first);
        s.event(7, "head_ref_force_pushed", None, "dev");
    });
    case.head = first;
    case.report().ends(10);
}

#[test]
fn the_policy_may_let_it_stand_for_good() {
    let mut case = Case::new();
    case.policy = ", expires: never";
    case.label("octocat");
    case.push();
    case.report().ends(0);
    assert!(case.comment().contains("set by octocat at"));
    // Nothing but the label is needed for that, not even its events.
    case.github.state(|s| {
        s.faults
            .push(Rule::on("GET", "/issues/7/events", What::Integration).always());
    });
    case.report().ends(0);
    assert!(!case.comment().contains("octocat"));
}

#[test]
fn the_policy_may_ask_who_set_it() {
    let mut case = Case::new();
    case.policy = ", by: maintain";
    case.github.state(|s| {
        s.permissions
            .insert("writer".to_owned(), "write".to_owned());
        s.permissions
            .insert("boss".to_owned(), "maintain".to_owned());
        s.unknown_users.insert("labeler[bot]".to_owned());
    });
    case.label("writer");
    case.report().ends(10);
    assert!(
        case.comment()
            .contains("set by writer, and the policy asks"),
        "{}",
        case.comment()
    );
    case.github.state(|s| s.unlabel(7, LABEL, "writer"));
    case.label("labeler[bot]");
    case.report().ends(10);
    case.github.state(|s| s.unlabel(7, LABEL, "writer"));
    case.label("boss");
    case.report().ends(0);
}

#[test]
fn without_the_pushes_the_run_itself_shows_when_its_commit_was_there() {
    let case = Case::new();
    let head = case.head.clone();
    case.github.state(|s| {
        s.faults
            .push(Rule::on("GET", "/activity", What::Status(404)).always());
        s.run("pull_request", "pull-7", &head).id = 77;
    });
    case.label("octocat");
    case.report().ends(0);
    // A forced push since then may have brought an earlier commit back.
    case.github
        .state(|s| s.event(7, "head_ref_force_pushed", None, "dev"));
    case.report().ends(10);
}

#[test]
fn a_run_that_the_label_started_needs_nothing_else() {
    let mut case = Case::new();
    case.action = "labeled";
    case.labels = &[LABEL];
    case.label("octocat");
    case.github.state(|s| {
        s.faults
            .push(Rule::on("GET", "/activity", What::Integration).always());
    });
    case.report().ends(0);
    // Without a token the event has to do: it says who.
    let said = case.told("").ends(0);
    assert!(said.out.contains("set by sender at 2026"), "{}", said.out);
}

#[test]
fn what_cannot_be_shown_does_not_count() {
    let mut case = Case::new();
    case.labels = &[LABEL];
    case.label("octocat");
    // The event has the label, and nobody tells for which commit.
    let said = case.told("").ends(10);
    assert!(
        said.out.contains("is there and does not count"),
        "{}",
        said.out
    );
    // GitHub answers none of it: the event's labels stand, and no more is known.
    let nothing = Token::read_write().with("pull-requests", Level::None);
    case.github.state(|s| {
        s.tokens.insert("blind".to_owned(), nothing);
        s.tokens.insert("ghs_token".to_owned(), Token::read_write());
    });
    let said = case.told("blind").ends(10);
    assert!(
        said.log.contains("GitHub does not tell today's"),
        "{}",
        said.log
    );
    // Neither pushes nor runs.
    case.github.state(|s| {
        s.faults
            .push(Rule::on("GET", "/activity", What::Integration).always());
        s.faults
            .push(Rule::on("GET", "/actions/runs/", What::Integration).always());
    });
    case.report().ends(10);
    assert!(
        case.comment().contains("does not count"),
        "{}",
        case.comment()
    );
}

#[test]
fn what_was_accepted_stands_in_every_document() {
    let case = Case::new();
    case.label("octo@cat|<b>");
    let bench = case
        .bench()
        .variable("GITHUB_API_URL", &case.github.url)
        .variable("KITT_INPUT_GITHUB_TOKEN", "ghs_token");
    let summary = bench.path("summary").display().to_string();
    let bench = bench.variable("GITHUB_STEP_SUMMARY", &summary);
    bench.report().ends(0);
    let summary = std::fs::read_to_string(summary).unwrap();
    for text in [summary, case.comment()] {
        assert!(text.contains("set by octo\\@"), "{text}");
        assert!(
            !text.contains("<b>") && !text.contains("octo@cat"),
            "{text}"
        );
    }
}
