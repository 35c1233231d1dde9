//! The comment on a pushed commit.

use super::{
    gate::{Bench, PLAIN, SLOW, Side},
    github::{GitHub, Rule, Token, What},
};

fn report(github: &GitHub, side: Side<'_>, variables: &[(&str, &str)]) {
    let sha = github.state(|s| s.head("org/repo", "main"));
    let mut bench = Bench::against(PLAIN, side)
        .variable("GITHUB_API_URL", &github.url)
        .variable("GITHUB_REPOSITORY", "org/repo")
        .variable("GITHUB_EVENT_NAME", "push")
        .variable("GITHUB_REF", "refs/heads/main")
        .variable("GITHUB_SHA", &sha)
        .variable("KITT_INPUT_COMMIT_COMMENT", "true")
        .variable("KITT_INPUT_GITHUB_TOKEN", "ghs_token");
    for (name, value) in variables {
        bench = bench.variable(name, value);
    }
    bench.report().ends(0);
    assert_eq!(github.violations(), Vec::<String>::new());
}

fn bodies(github: &GitHub) -> Vec<String> {
    github.state(|s| s.commit_comments.iter().map(|c| c.body.clone()).collect())
}

#[test]
fn a_push_is_commented_once_and_kept_up_to_date() {
    let github = GitHub::start();
    report(&github, PLAIN, &[]);
    report(&github, SLOW, &[]);
    let bodies = bodies(&github);
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert!(bodies[0].contains("Regressed"), "{}", bodies[0]);
}

#[test]
fn a_comment_that_cannot_be_changed_is_followed_by_a_new_one() {
    let github = GitHub::start();
    report(&github, PLAIN, &[]);
    let locked =
        r#"{"message":"Validation Failed","errors":[{"message":"commit_id has been locked"}]}"#;
    github.state(|s| {
        let what = What::Answer(422, locked.to_owned());
        s.faults
            .push(Rule::on("PATCH", "/comments/", what).always());
    });
    report(&github, SLOW, &[]);
    let bodies = bodies(&github);
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    assert!(bodies[0].contains("Inconclusive") || bodies[0].contains("Unchanged"));
    assert!(bodies[1].contains("Regressed"));
}

#[test]
fn legs_and_other_peoples_comments_are_left_alone() {
    let github = GitHub::start();
    report(&github, PLAIN, &[("KITT_INPUT_SECTION", "h100")]);
    report(&github, PLAIN, &[("KITT_INPUT_SECTION", "a100")]);
    assert_eq!(bodies(&github).len(), 2);
    // Somebody copies ours, marker and all.
    github.state(|s| {
        let mut copy = s.commit_comments[0].clone();
        copy.id += 1_000_000;
        copy.author = "mallory".to_owned();
        s.commit_comments.push(copy);
    });
    let before = bodies(&github);
    report(&github, SLOW, &[("KITT_INPUT_SECTION", "h100")]);
    let after = bodies(&github);
    assert_eq!(after.len(), 3);
    assert_ne!(after[0], before[0]);
    assert_eq!((&after[1], &after[2]), (&before[1], &before[2]));
}

#[test]
fn a_lost_answer_makes_no_second_comment() {
    let github = GitHub::start();
    github.state(|s| {
        s.faults.push(Rule::on("POST", "/comments", What::CutAfter));
    });
    report(&github, PLAIN, &[]);
    assert_eq!(bodies(&github).len(), 1);
}

#[test]
fn only_a_push_is_commented_and_a_read_only_token_costs_nothing() {
    let github = GitHub::start();
    report(&github, PLAIN, &[("GITHUB_EVENT_NAME", "schedule")]);
    assert!(bodies(&github).is_empty());
    github.state(|s| {
        s.tokens.insert("ghs_token".to_owned(), Token::read_only());
    });
    report(&github, PLAIN, &[]);
    assert!(bodies(&github).is_empty());
}
