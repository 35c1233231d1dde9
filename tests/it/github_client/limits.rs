//! Rate limits, by a clock that does not take its time.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use kitt_action::{
    context::CommentWhen,
    github::{Clock, GitHub as Client, GitHubError, MOST_LOST, MOST_REQUESTS},
    publish::{self, CommentOutcome, PublishError},
    secret::Secret,
};
use serde_json::Value;

use super::{TOKEN, repository};
use crate::{
    github::{GitHub, Rule, What},
    publish::comment::posted,
};

const MINUTE: Duration = Duration::from_mins(1);

type Each = Box<dyn Fn(Duration) + Send + Sync>;

/// A clock that goes only while somebody sleeps, and tells when it does.
struct Virtual {
    now: Mutex<Duration>,
    each: Each,
}

impl fmt::Debug for Virtual {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Virtual")
    }
}

impl Clock for Virtual {
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let now = {
            let mut now = self.now.lock().unwrap();
            *now += wait;
            *now
        };
        (self.each)(now);
        Box::pin(tokio::task::yield_now())
    }
}

/// A GitHub that answers everything with `what` until `storm` is over.
fn storm(what: &What, storm: Duration) -> (Arc<GitHub>, Arc<Virtual>, Client) {
    let gh = Arc::new(GitHub::start());
    gh.state(|s| {
        s.pull(7);
        s.fault(Rule::on("", "", what.clone()).always());
    });
    let told = gh.clone();
    let clock = Arc::new(Virtual {
        now: Mutex::default(),
        each: Box::new(move |now| {
            if now >= storm {
                told.state(|s| s.faults.clear());
            }
        }),
    });
    let github = Client::new(&gh.url, Secret::new(TOKEN).unwrap()).unwrap();
    let github = github.with_clock(clock.clone());
    (gh, clock, github)
}

async fn post(github: &Client) -> Result<CommentOutcome, PublishError> {
    let body = "<!-- kitt-benchmark -->\n<!-- kitt-action key=default -->\ntext\n";
    let repo = "org/repo".parse().unwrap();
    let pr = "7".parse().unwrap();
    let posted = posted("default", body.to_owned());
    publish::upsert(github, &repo, pr, &posted, CommentWhen::Always).await
}

fn limits() -> Vec<(&'static str, What)> {
    let secondary = |retry_after| What::Secondary { retry_after };
    vec![
        ("429 without a word", What::Status(429)),
        ("secondary, no retry-after", secondary(None)),
        ("secondary, retry-after 0", secondary(Some(0))),
        ("secondary, retry-after 20", secondary(Some(20))),
        ("secondary, retry-after 110", secondary(Some(110))),
        ("primary, reset in 45 s", What::RateLimited { reset: 45 }),
    ]
}

/// Two minutes of limits before everything: few requests, and the comment is there once.
#[tokio::test]
async fn a_storm_of_limits_ends_with_one_comment_and_few_requests() {
    for (name, what) in limits() {
        let (gh, clock, github) = storm(&what, 2 * MINUTE);
        let posted = post(&github).await;
        let (waited, sent) = (clock.now(), gh.seen("", "").len());
        println!("two minutes of {name}: {sent} requests in {waited:.0?}");
        assert!(
            matches!(posted, Ok(CommentOutcome::Created(_))),
            "{name}: {posted:?}"
        );
        assert_eq!(gh.state(|s| s.comments.len()), 1, "{name}");
        // Without a limit it is five: whose token (twice), the list, the comment, the list again.
        assert!(sent <= 15, "{name}: {sent} requests");
        assert!(
            waited >= 2 * MINUTE && waited <= MOST_LOST,
            "{name}: {waited:?}"
        );
    }
}

/// An answer that was lost behind a limit is looked for before anything is sent again.
#[tokio::test]
async fn a_comment_that_was_taken_during_a_storm_is_not_repeated() {
    let (gh, _, github) = storm(&What::StatusAfter(429), 2 * MINUTE);
    let posted = post(&github).await;
    assert!(
        matches!(posted, Ok(CommentOutcome::Created(_))),
        "{posted:?}"
    );
    assert_eq!(gh.state(|s| s.comments.len()), 1);
    assert_eq!(gh.seen("POST", "/comments").len(), 1);
}

/// A storm of an hour: the client gives up within its patience and is quiet afterwards.
#[tokio::test]
async fn a_limit_without_an_end_is_given_up_and_not_hammered() {
    for (name, what) in limits() {
        let (gh, clock, github) = storm(&what, 60 * MINUTE);
        let error = post(&github).await.unwrap_err();
        let (waited, sent) = (clock.now(), gh.seen("", "").len());
        println!("an hour of {name}: {sent} requests in {waited:.0?}");
        assert!(
            matches!(error, PublishError::GitHub(GitHubError::Limited { .. })),
            "{name}: {error}"
        );
        assert!(!error.to_string().contains(TOKEN), "{error}");
        assert!(sent <= 10, "{name}: {sent} requests");
        assert!(waited <= MOST_LOST, "{name}: {waited:?}");
        // Ten more things to do, and none of them is even tried.
        for _ in 0..10 {
            let error = github.ask::<Value>(&repository()).await.unwrap_err();
            assert!(matches!(error, GitHubError::Limited { .. }), "{error}");
        }
        assert_eq!(gh.seen("", "").len(), sent, "{name}");
        assert_eq!(gh.state(|s| s.comments.len()), 0);
        // When the storm and the quiet are over, the next job of the client goes through.
        clock.sleep(60 * MINUTE).await;
        assert!(post(&github).await.is_ok(), "{name}");
        assert_eq!(gh.state(|s| s.comments.len()), 1);
    }
}

#[tokio::test]
async fn the_hourly_quota_is_not_waited_for() {
    let (gh, clock, github) = storm(&What::RateLimited { reset: 1800 }, 30 * MINUTE);
    for _ in 0..3 {
        let error = post(&github).await.unwrap_err();
        assert!(
            matches!(error, PublishError::GitHub(GitHubError::Limited { .. })),
            "{error}"
        );
    }
    assert_eq!(clock.now(), Duration::ZERO);
    assert_eq!(gh.seen("", "").len(), 1);
    clock.sleep(29 * MINUTE).await;
    assert!(post(&github).await.is_err());
    assert_eq!(gh.seen("", "").len(), 1);
    clock.sleep(2 * MINUTE).await;
    post(&github).await.unwrap();
}

/// Twenty tasks with one client: they wait together, and not each for itself.
#[tokio::test]
async fn tasks_of_one_client_share_its_patience() {
    let (gh, clock, github) = storm(&What::Status(429), 60 * MINUTE);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let github = github.clone();
            tokio::spawn(async move { github.ask::<Value>(&repository()).await })
        })
        .collect();
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert!(matches!(error, GitHubError::Limited { .. }), "{error}");
    }
    let sent = gh.seen("", "").len();
    println!(
        "20 tasks in an hour of 429: {sent} requests in {:?}",
        clock.now()
    );
    assert!(sent <= 100, "{sent}");
}

#[tokio::test]
async fn no_client_sends_without_end() {
    let gh = GitHub::start();
    let github = super::client(&gh.url);
    for _ in 0..MOST_REQUESTS {
        github.ask::<Value>(&repository()).await.unwrap();
    }
    let error = github.ask::<Value>(&repository()).await.unwrap_err();
    assert!(matches!(error, GitHubError::Limited { .. }), "{error}");
    assert_eq!(gh.seen("", "").len(), MOST_REQUESTS as usize);
}
