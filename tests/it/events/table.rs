//! Each event with each token and each baseline: verdict, exit code, what was published. The
//! table of docs/events.md is what came out.
//!
//! `KITT_UPDATE_README=1 cargo nextest run -E 'test(events::table)'` writes it anew.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;

use super::{
    super::{baseline::packed, github::GitHub, readme::with_section},
    fixture::Fixture,
    world::{self, FORK_ID, Rights, World},
};

/// Runs at the same time: they mostly wait.
const WORKERS: usize = 8;

const RIGHTS: [(Rights, &str); 3] = [
    (Rights::Write, "may write"),
    (Rights::Read, "reads only"),
    (Rights::None, "no token"),
];

/// The baseline that the repository has as an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Present,
    Absent,
    Expired,
    Foreign,
    OtherHardware,
}

const BASES: [(Base, &str); 5] = [
    (Base::Present, "present, and faster"),
    (Base::Absent, "absent"),
    (Base::Expired, "expired"),
    (Base::Foreign, "of a fork"),
    (Base::OtherHardware, "of other hardware"),
];

/// Results that are compared.
struct Stored {
    current: tempfile::TempDir,
    baseline: Vec<u8>,
    of_other_hardware: Vec<u8>,
}

impl Stored {
    fn new() -> Self {
        let [current, base] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        world::results(current.path(), "--slowdown=7");
        world::results(base.path(), "");
        let baseline = packed(base.path());
        let path = base.path().join("metrics.json");
        let text = fs::read_to_string(&path).unwrap();
        let mut metrics: Value = serde_json::from_str(&text).unwrap();
        metrics["fingerprint"]["strict"]["cpu.model"] = "Another Processor".into();
        fs::write(&path, metrics.to_string()).unwrap();
        Self {
            current,
            baseline,
            of_other_hardware: packed(base.path()),
        }
    }

    /// Stores the baseline as a green run of `main` would have, on the commit before.
    fn store(&self, base: Base, world: &World, github: &GitHub) {
        if base == Base::Absent {
            return;
        }
        github.state(|s| {
            let run = s.run("push", "main", &world.old);
            if base == Base::Foreign {
                run.head_repo = Some(FORK_ID);
            }
            let run = run.id;
            let bytes = if base == Base::OtherHardware {
                &self.of_other_hardware
            } else {
                &self.baseline
            };
            s.artifact(run, "kitt-baseline", bytes);
            s.artifacts.last_mut().unwrap().expired = base == Base::Expired;
        });
    }

    /// The current results, in a step's own folder.
    fn copy(&self, to: &Path) {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(self.current.path()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// What `kitt ci run` makes of an event before it measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ruling {
    Refused,
    Measured,
    /// Measured, with a warning about the event.
    Warned,
}

fn ruling(world: &World, event: &Fixture, rights: Rights) -> Ruling {
    let github = world.github(event);
    let (_step, mut command) = world::step(event, &github, rights, &["ci", "run"]);
    command.env("GITHUB_WORKSPACE", workspace(world, event));
    let output = world::measuring(&mut command).output().unwrap();
    let stderr = world::said(&output);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let started = stderr.contains("sending 1 request");
    match output.status.code() {
        Some(2) if !started => Ruling::Refused,
        // One request on a busy machine may be one that cannot be trusted.
        Some(0 | 21) if started => {
            let own = format!("::warning title=KITT::{}", event.env["GITHUB_EVENT_NAME"]);
            if stdout.contains(&own) {
                Ruling::Warned
            } else {
                Ruling::Measured
            }
        }
        other => panic!("{} {rights:?}: {other:?} {stderr}", event.name),
    }
}

/// What `actions/checkout` has without further settings.
fn workspace(world: &World, event: &Fixture) -> PathBuf {
    world.workspace(&event.env["GITHUB_SHA"])
}

/// One run, as the table has it: of an event that is refused `kitt ci run`, else `kitt ci report`
/// on stored results, since a machine under load measures what it likes.
fn cell(
    world: &World,
    stored: &Stored,
    event: &Fixture,
    (rights, base, ruling): (Rights, Base, Ruling),
) -> String {
    let github = world.github(event);
    stored.store(base, world, &github);
    let refused = ruling == Ruling::Refused;
    let what = if refused { "run" } else { "report" };
    let (step, mut command) = world::step(event, &github, rights, &["ci", what, "--gate"]);
    command
        .env("GITHUB_WORKSPACE", workspace(world, event))
        .args(["--metrics", "e2e_ms.p50", "--baseline", "stored"])
        .args([
            "--check-run",
            "--commit-comment",
            "--results-dir",
            "results",
        ]);
    if refused {
        world::measuring(&mut command);
    } else {
        stored.copy(&step.path("results"));
    }
    let output = command.output().unwrap();
    let at = format!("{} {rights:?} {base:?}", event.name);
    let stderr = world::said(&output);
    assert!(!stderr.contains("panicked"), "{at}: {stderr}");
    let why = match base {
        Base::Expired => "expired",
        Base::Foreign => "its code is of another repository",
        Base::Present | Base::Absent | Base::OtherHardware => "",
    };
    assert!(
        refused || rights == Rights::None || stderr.contains(why),
        "{at}: {stderr}"
    );
    // Whatever happens, these two are there.
    let outputs = step.outputs();
    let summary = fs::read_to_string(step.path("summary")).unwrap_or_default();
    assert!(!summary.is_empty(), "{at}: {stderr}");
    let code = output.status.code().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(code == 0 || stdout.contains("::error "), "{at}: {stdout}");
    assert_eq!(github.violations(), [""; 0], "{at}");
    let mut words = vec![format!("{}, {code}", outputs["verdict"])];
    words.extend(published(&github));
    if ruling == Ruling::Warned {
        words.push("warned".to_owned());
    }
    words.join(" · ")
}

/// What GitHub has afterwards.
fn published(github: &GitHub) -> Vec<String> {
    let refused = |path: &str| {
        let seen = github.seen("POST", path);
        seen.iter().any(|seen| seen.status == Some(403))
    };
    let mut words = Vec::new();
    let mut say = |there: bool, path: &str, what: &str| {
        if there {
            words.push(what.to_owned());
        } else if refused(path) {
            words.push(format!("{what} refused"));
        }
    };
    let (comments, checks, commits) = github.state(|s| {
        assert!(s.comments.len() < 2, "{:?}", s.comments);
        (s.comments.len(), s.checks.len(), s.commit_comments.len())
    });
    say(comments > 0, "/issues/", "comment");
    say(checks > 0, "/check-runs", "check run");
    say(commits > 0, "/commits/", "commit comment");
    words
}

/// What every job gives, in the order of the jobs.
fn all<J: Sync, T: Send>(jobs: &[J], done: impl Fn(&J) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(at) else {
                return found;
            };
            found.push((at, done(job)));
        }
    };
    let mut found = BTreeMap::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            found.extend(worker.join().unwrap());
        }
    });
    found.into_values().collect()
}

/// Every cell, in the order of events, baselines and tokens.
fn cells(world: &World, stored: &Stored, events: &[Fixture]) -> Vec<String> {
    for event in events {
        workspace(world, event);
    }
    let asked: Vec<(&Fixture, Rights)> = events
        .iter()
        .flat_map(|event| RIGHTS.map(|(rights, _)| (event, rights)))
        .collect();
    let rulings = all(&asked, |(event, rights)| ruling(world, event, *rights));
    let mut jobs = Vec::new();
    for (event, rulings) in events.iter().zip(rulings.chunks(RIGHTS.len())) {
        for (base, _) in BASES {
            for ((rights, _), ruling) in RIGHTS.iter().zip(rulings) {
                jobs.push((event, (*rights, base, *ruling)));
            }
        }
    }
    all(&jobs, |(event, how)| cell(world, stored, event, *how))
}

/// Events whose runs ended alike share a table.
fn tables(events: &[Fixture], cells: &[String]) -> String {
    let mut groups: Vec<(Vec<&Fixture>, &[String])> = Vec::new();
    for (event, own) in events.iter().zip(cells.chunks(BASES.len() * RIGHTS.len())) {
        match groups.iter_mut().find(|(_, cells)| *cells == own) {
            Some((alike, _)) => alike.push(event),
            None => groups.push((vec![event], own)),
        }
    }
    let mut text = String::new();
    for (alike, cells) in groups {
        let names: Vec<String> = alike
            .iter()
            .map(|event| format!("`{}`", event.name))
            .collect();
        let rights: Vec<&str> = RIGHTS.iter().map(|(_, rights)| *rights).collect();
        let heads = [
            names.join(", "),
            "

| baseline | "
                .to_owned(),
            rights.join(" | "),
        ];
        text.push_str(&heads.concat());
        text.push_str(
            " |
",
        );
        text.push_str("|---|---|---|---|\n");
        for ((_, base), row) in BASES.iter().zip(cells.chunks(RIGHTS.len())) {
            let line = format!("| {base} | {} |\n", row.join(" | "));
            text.push_str(&line);
        }
        text.push('\n');
    }
    text
}

#[test]
fn every_event_token_and_baseline_ends_as_documented() {
    let (world, stored) = (World::new(), Stored::new());
    let events: Vec<Fixture> = Fixture::names()
        .iter()
        .map(|name| world.event(name))
        .collect();
    let cells = cells(&world, &stored, &events);
    let made = tables(&events, &cells);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.md");
    let text = fs::read_to_string(&path).unwrap();
    let about: Vec<String> = events
        .iter()
        .map(|event| format!("| `{}` | {} |", event.name, event.about))
        .collect();
    let about = format!("| fixture | what it is |\n|---|---|\n{}", about.join("\n"));
    let wanted = with_section(&with_section(&text, "outcomes", &made), "fixtures", &about);
    if std::env::var_os("KITT_UPDATE_README").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let standing = fs::read_to_string(&path).unwrap();
    assert!(
        standing == wanted,
        "docs/events.md is not what the binary does:\n{}",
        differing(&standing, &wanted)
    );
}

#[test]
fn another_push_brings_the_one_comment_up_to_date() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    world::results(dir.path(), "");
    let github = world.github(&world.event("pull_request-opened"));
    for name in [
        "pull_request-opened",
        "pull_request-synchronize",
        "pull_request-rerun",
    ] {
        let event = world.event(name);
        let (_step, mut command) = world::step(&event, &github, Rights::Write, &["ci", "report"]);
        command.arg("--results-dir").arg(dir.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", world::said(&output));
        assert_eq!(published(&github), ["comment"], "{name}");
    }
    assert_eq!(github.seen("POST", "/comments").len(), 1);
    assert!(!github.seen("PATCH", "/comments").is_empty());
}

fn differing(standing: &str, wanted: &str) -> String {
    let pairs = standing.lines().zip(wanted.lines());
    let differ = pairs.filter(|(old, new)| old != new).take(12);
    let lines: Vec<String> = differ
        .map(|(old, new)| format!("- {old}\n+ {new}"))
        .collect();
    lines.join("\n")
}
