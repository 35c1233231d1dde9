//! Jobs of a matrix that report into one comment at once, against a GitHub in trouble.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kitt_action::{
    context::CommentWhen,
    github::GitHub as Client,
    ids::{PrNumber, RepoSlug},
    publish::{self, CommentOutcome},
    render::{Leg, Posted, legs},
    secret::Secret,
    verdict::{Gate, Verdict},
};

use super::{
    github::{Chaos, GitHub, Rule, What},
    sample::{self, Sample},
};

const HEAD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn client(gh: &GitHub, base_ms: u64) -> Client {
    // Jobs are programs of their own: what one has used up is no other's.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let token = Secret::new(format!("ghs_{number}")).unwrap();
    let client = Client::new(&gh.url, token).unwrap();
    client.with_base_delay(Duration::from_millis(base_ms))
}

/// What the job of this name has to say in an attempt of a run.
fn said(sample: &Sample, name: &str, run: u64, attempt: u32, head: &str) -> Posted {
    let mut sample = sample.clone();
    sample.context.key = None;
    sample.context.section = Some(name.parse().unwrap());
    sample.context.head = Some(head.to_owned());
    sample.context.run = Some(run);
    sample.context.attempt = Some(attempt);
    sample.context.run_url = Some(format!("https://github.com/org/repo/actions/runs/{run}"));
    sample.render().posted
}

fn report(name: &str, run: u64, attempt: u32) -> Posted {
    said(&sample::regression(), name, run, attempt, HEAD)
}

async fn post(client: &Client, pr: u64, posted: &Posted) -> CommentOutcome {
    let repo: RepoSlug = "org/repo".parse().unwrap();
    let pr: PrNumber = pr.to_string().parse().unwrap();
    let outcome = publish::upsert(client, &repo, pr, posted, CommentWhen::Always);
    outcome.await.unwrap()
}

/// Bodies of a pull request's comments that the workflow's own account wrote.
fn own(gh: &GitHub, pr: u64) -> Vec<String> {
    gh.state(|s| {
        let own = s
            .comments
            .iter()
            .filter(|comment| comment.issue == pr && comment.author == "github-actions[bot]");
        own.map(|comment| comment.body.clone()).collect()
    })
}

fn names(legs: &[Leg]) -> Vec<&str> {
    legs.iter().map(|leg| leg.name().as_str()).collect()
}

/// A person's comments that try to be taken for ours, and ours of another key.
fn plant(gh: &GitHub, pr: u64) -> Vec<(u64, String)> {
    let marked = "<!-- kitt-benchmark -->\n<!-- kitt-action key=default -->\n### planted";
    let other = "<!-- kitt-benchmark -->\n<!-- kitt-action key=other -->\n### of another key";
    gh.state(|s| {
        s.pull(pr);
        let planted = [
            (s.comment(pr, "mallory", marked), marked),
            (s.comment(pr, "github-actions[bot]", other), other),
            (
                s.comment(pr, "github-actions[bot]", "a bot's talk"),
                "a bot's talk",
            ),
            (s.comment(pr, "octocat", "nice"), "nice"),
        ];
        planted.map(|(id, body)| (id, body.to_owned())).to_vec()
    })
}

fn bodies(gh: &GitHub, ids: &[(u64, String)]) -> Vec<(u64, String)> {
    gh.state(|s| {
        let comments = s.comments.iter();
        let known = comments.filter(|comment| ids.iter().any(|(id, _)| *id == comment.id));
        known
            .map(|comment| (comment.id, comment.body.clone()))
            .collect()
    })
}

const LEGS: usize = 20;
const REPETITIONS: u64 = 50;

/// What one repetition came to.
struct Course {
    requests: usize,
    writes: usize,
    begun: usize,
    took: Duration,
}

/// Delays, errors and cut connections, before and after a request is done.
fn weather(gh: &GitHub, seed: u64) {
    gh.state(|s| {
        (s.rate.limit, s.rate.remaining) = (1_000_000, 1_000_000);
        s.chaos(Chaos {
            seed,
            error: 0.03,
            error_after: 0.02,
            cut: 0.03,
            cut_after: 0.02,
            delay: 4,
        });
    });
}

async fn repetition(
    gh: &GitHub,
    pr: u64,
    clients: &[Client],
    reports: &[Arc<(Posted, Posted)>],
) -> Course {
    let foreign = plant(gh, pr);
    let before = gh.state(|s| s.log.len());
    weather(gh, pr);
    let start = std::time::Instant::now();
    let mut jobs = tokio::task::JoinSet::new();
    for (index, (client, reports)) in clients.iter().zip(reports).enumerate() {
        let (client, reports) = (client.clone(), Arc::clone(reports));
        jobs.spawn(async move {
            post(&client, pr, &reports.0).await;
            // Every fourth job is run again at once.
            if index % 4 == 0 {
                post(&client, pr, &reports.1).await;
            }
        });
    }
    while let Some(ended) = jobs.join_next().await {
        ended.unwrap();
    }
    let took = start.elapsed();
    gh.state(|s| s.chaos = None);
    let own = own(gh, pr);
    // The three are ours of this key, of another key, and no report at all.
    assert_eq!(own.len(), 3, "repetition {pr}: one comment of this key");
    let comment = own
        .iter()
        .find(|body| body.contains("key=default"))
        .unwrap();
    let sections = legs(comment);
    assert_eq!(
        sections.len(),
        LEGS,
        "repetition {pr}: {:?}",
        names(&sections)
    );
    for (index, leg) in sections.iter().enumerate() {
        assert_eq!(leg.name().as_str(), format!("gpu {index}"));
        let attempt = if index % 4 == 0 { 2 } else { 1 };
        assert_eq!(
            leg.state().attempt,
            Some(attempt),
            "repetition {pr}: {}",
            leg.name()
        );
    }
    assert_eq!(bodies(gh, &foreign), foreign, "repetition {pr}");
    let seen = gh.state(|s| s.log.split_off(before));
    let count =
        |wanted: &dyn Fn(&str) -> bool| seen.iter().filter(|one| wanted(&one.method)).count();
    for id in foreign.iter().map(|(id, _)| format!("/comments/{id}")) {
        assert!(
            seen.iter().all(|one| !one.path.ends_with(&id)),
            "repetition {pr}"
        );
    }
    Course {
        requests: seen.len(),
        writes: count(&|method| method == "PATCH"),
        begun: count(&|method| method == "POST"),
        took,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_jobs_at_once_leave_one_comment_with_twenty_sections() {
    let gh = GitHub::start();
    let mut small = sample::regression();
    small.decision.metrics.truncate(2);
    small.context.config_diff = String::new();
    small.comparison.soft_differences = Vec::new();
    let both = |index: usize| {
        let name = format!("gpu {index}");
        let said = |attempt| said(&small, &name, 42, attempt, HEAD);
        Arc::new((said(1), said(2)))
    };
    let reports: Vec<_> = (0..LEGS).map(both).collect();
    let mut clients: Vec<Client> = Vec::new();
    let mut courses = Vec::new();
    for repetition_number in 0..REPETITIONS {
        // A client stops after 500 requests; a new one takes a while to make.
        if repetition_number % 25 == 0 {
            clients = (0..LEGS).map(|_| client(&gh, 4)).collect();
        }
        courses.push(repetition(&gh, 100 + repetition_number, &clients, &reports).await);
    }
    let reported = LEGS + LEGS.div_ceil(4);
    let all = |pick: fn(&Course) -> usize| -> Vec<usize> { courses.iter().map(pick).collect() };
    let told = |what: &str, mut numbers: Vec<usize>| {
        numbers.sort_unstable();
        println!(
            "{what} of {reported} reports: median {}, most {}; per report {:.1}",
            numbers[numbers.len() / 2],
            numbers[numbers.len() - 1],
            numbers.iter().sum::<usize>() as f64 / (numbers.len() * reported) as f64
        );
    };
    told("requests", all(|course| course.requests));
    told("PATCH", all(|course| course.writes));
    told("POST", all(|course| course.begun));
    let longest = courses.iter().map(|course| course.took).max().unwrap();
    let total: Duration = courses.iter().map(|course| course.took).sum();
    println!("{REPETITIONS} repetitions in {total:.1?}, the longest {longest:.2?}");
    assert_eq!(gh.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_section_of_an_older_push_is_kept_greyed_and_never_comes_back_over_a_newer_one() {
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    let client = client(&gh, 1);
    let old = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    for name in ["a", "b"] {
        post(&client, 7, &said(&sample::regression(), name, 41, 1, old)).await;
    }
    post(&client, 7, &said(&sample::unchanged(), "a", 42, 1, HEAD)).await;
    let body = own(&gh, 7).remove(0);
    assert!(
        body.contains("### ✅ Unchanged: 1 job · 1 of an older push — gate passed"),
        "{body}"
    );
    assert!(body.contains("</code>, not this push"), "{body}");
    // The job of the old push ends late, and is even run again.
    let late = post(&client, 7, &said(&sample::regression(), "a", 41, 2, old)).await;
    assert!(matches!(late, CommentOutcome::Unchanged(_)), "{late}");
    assert_eq!(own(&gh, 7), [body]);
}

#[tokio::test]
async fn an_older_report_does_not_overwrite_a_newer_one() {
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    let client = client(&gh, 1);
    let whole = |sample: Sample, run: u64| {
        let mut sample = sample;
        sample.context.key = None;
        sample.context.run = Some(run);
        sample.render().posted
    };
    post(&client, 7, &whole(sample::regression(), 42)).await;
    let standing = own(&gh, 7);
    let late = post(&client, 7, &whole(sample::unchanged(), 41)).await;
    assert!(matches!(late, CommentOutcome::Outdated(_)), "{late}");
    assert_eq!(own(&gh, 7), standing);
    let next = post(&client, 7, &whole(sample::unchanged(), 43)).await;
    assert!(matches!(next, CommentOutcome::Updated(_)), "{next}");
}

#[tokio::test]
async fn the_same_report_with_another_time_is_not_written_again() {
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    let client = client(&gh, 1);
    for section in [None, Some("a".parse().unwrap())] {
        let mut sample = sample::regression();
        sample.context.key = section.as_ref().map(|_| "matrix".parse().unwrap());
        sample.context.section = section;
        post(&client, 7, &sample.render().posted).await;
        let writes = gh.seen("PATCH", "").len() + gh.seen("POST", "/comments").len();
        sample.context.updated = "2026-01-31T18:00:00Z".to_owned();
        let again = post(&client, 7, &sample.render().posted).await;
        assert!(matches!(again, CommentOutcome::Unchanged(_)), "{again}");
        assert_eq!(
            gh.seen("PATCH", "").len() + gh.seen("POST", "/comments").len(),
            writes
        );
        sample.context.attempt = Some(2);
        let rerun = post(&client, 7, &sample.render().posted).await;
        assert!(matches!(rerun, CommentOutcome::Updated(_)), "{rerun}");
    }
}

#[tokio::test]
async fn whoever_loses_the_race_to_begin_moves_its_section_and_deletes_its_own() {
    let gh = GitHub::start();
    let foreign = plant(&gh, 7);
    let (a, b) = (report("a", 42, 1), report("b", 42, 1));
    // Each sees no comment before the other has begun one.
    gh.state(|s| s.fault(Rule::on("POST", "/comments", What::Delay(60..61)).times(2)));
    let (one, two) = (client(&gh, 1), client(&gh, 1));
    tokio::join!(post(&one, 7, &a), post(&two, 7, &b));
    assert_eq!(
        gh.seen("POST", "/issues/7/comments").len(),
        2,
        "both began one"
    );
    let own: Vec<String> = own(&gh, 7);
    let ours: Vec<&String> = own
        .iter()
        .filter(|body| body.contains("key=default"))
        .collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(names(&legs(ours[0])), ["a", "b"]);
    assert_eq!(bodies(&gh, &foreign), foreign);
}

#[tokio::test]
async fn a_comment_that_was_deleted_meanwhile_is_begun_anew() {
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    let client = client(&gh, 1);
    post(&client, 7, &report("a", 42, 1)).await;
    gh.state(|s| {
        let gone = s.comments[0].id;
        s.fault(Rule::on(
            "PATCH",
            &format!("/comments/{gone}"),
            What::Status(404),
        ));
        s.fault(Rule::on(
            "GET",
            &format!("/comments/{gone}"),
            What::Status(404),
        ));
        s.comments.clear();
    });
    let outcome = post(&client, 7, &report("a", 43, 1)).await;
    assert!(matches!(outcome, CommentOutcome::Created(_)), "{outcome}");
    assert_eq!(own(&gh, 7).len(), 1);
}

#[tokio::test]
async fn a_matrix_of_sixty_jobs_stays_within_a_comment() {
    let all: Vec<Posted> = (0..60)
        .map(|index| report(&format!("gpu {index}"), 42, 1))
        .collect();
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    let client = client(&gh, 1);
    for posted in &all {
        post(&client, 7, posted).await;
    }
    let body = own(&gh, 7).remove(0);
    println!(
        "60 regressed jobs: {} bytes, {} units",
        body.len(),
        body.encode_utf16().count()
    );
    assert!(body.len() <= 60_000);
    assert_eq!(legs(&body).len(), 60);
    assert!(
        body.contains("### ❌ Regressed: 60 jobs — gate failed"),
        "{body}"
    );
}

#[tokio::test]
async fn modes_begin_a_comment_or_not_and_always_keep_one_up_to_date() {
    let gh = GitHub::start();
    let client = client(&gh, 1);
    let repo: RepoSlug = "org/repo".parse().unwrap();
    let whole = |mut sample: Sample, run: u64| {
        sample.context.key = None;
        sample.context.run = Some(run);
        sample.render().posted
    };
    let (quiet, bad) = (sample::unchanged(), sample::regression());
    assert!(matches!(bad.decision.gate, Gate::Regression(_)));
    assert_eq!(quiet.decision.verdict, Verdict::Unchanged);
    let table = [
        (CommentWhen::Always, true, true),
        (CommentWhen::OnChange, false, true),
        (CommentWhen::OnRegression, false, true),
        (CommentWhen::Never, false, false),
    ];
    for (index, (when, for_quiet, for_bad)) in table.into_iter().enumerate() {
        let pr = 50 + index as u64;
        gh.state(|s| s.pull(pr).number);
        let number: PrNumber = pr.to_string().parse().unwrap();
        let tell = async |posted: Posted| {
            publish::upsert(&client, &repo, number, &posted, when)
                .await
                .unwrap()
        };
        let first = tell(whole(quiet.clone(), 1)).await;
        assert_eq!(first != CommentOutcome::NotBegun, for_quiet, "{when:?}");
        let second = tell(whole(bad.clone(), 2)).await;
        assert_eq!(second != CommentOutcome::NotBegun, for_bad, "{when:?}");
        if !for_bad {
            assert_eq!(own(&gh, pr).len(), 0);
            // Somebody changed the setting while a comment stands.
            post(&client, pr, &whole(bad.clone(), 2)).await;
        }
        let third = tell(whole(quiet.clone(), 3)).await;
        assert!(
            matches!(third, CommentOutcome::Updated(_)),
            "{when:?}: {third}"
        );
        assert!(own(&gh, pr)[0].contains("### ✅ Unchanged"));
    }
}
