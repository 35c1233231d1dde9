//! Baselines on a branch: stored, found, replaced, and written by several at once.

use kitt_action::{
    ids::{CommitSha, RepoSlug},
    store::{
        branch::{Entry, Pushed, push},
        discover::{Place, Rule},
    },
};

use super::{NAME, World, block_on, usual_conditions};
use crate::{
    github::{GitHub, Level, Rule as Fault, Token, What},
    history::Past,
};

const BRANCH: &str = "kitt-baselines";

fn files(past: &Past) -> Vec<(String, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    past.store(dir.path());
    let read = |name: &str| {
        (
            name.to_owned(),
            std::fs::read(dir.path().join(name)).unwrap(),
        )
    };
    vec![read("metrics.json"), read("config.json")]
}

/// Stores what was measured at an hour, of a commit.
fn store(world: &World, at: usize, hour: u32, keep: usize) -> Pushed {
    let repo: RepoSlug = "org/repo".parse().unwrap();
    let commit: CommitSha = world.commits[at].parse().unwrap();
    let past = Past {
        hour,
        ..Past::default()
    };
    let entry = Entry {
        folder: NAME,
        key: "0123456789abcdef",
        when: past.header().started_at,
        commit: &commit,
        files: files(&past),
    };
    let client = || World::client(&world.gh.url);
    block_on(async { push(&client(), &repo, BRANCH, &entry, keep).await }).unwrap()
}

fn place() -> Place<'static> {
    Place::Branch {
        branch: BRANCH,
        folder: NAME,
    }
}

/// Paths on the branch.
fn paths(gh: &GitHub) -> Vec<String> {
    gh.state(|s| {
        let head = s.head("org/repo", BRANCH);
        let tree = s.commits[&head].tree.clone();
        s.trees[&tree].keys().cloned().collect()
    })
}

#[test]
fn what_is_stored_is_found_by_the_same_rules() {
    let world = World::new(4);
    let search = || world.search_at(&world.gh.url, place(), Some(2), &usual_conditions());
    let none = search().unwrap().found.unwrap_err();
    assert_eq!(none, "the branch kitt-baselines holds no kitt-baseline yet");
    store(&world, 0, 0, 20);
    let found = search().unwrap().found.unwrap();
    assert_eq!(
        (found.rule, &found.commit),
        (Rule::NearestAncestor, &world.commits[0])
    );
    store(&world, 2, 2, 20);
    let found = search().unwrap().found.unwrap();
    assert_eq!(
        (found.rule, &found.commit),
        (Rule::ExactParent, &world.commits[2])
    );
    assert!(found.dir.join("config.json").exists());
    // The first commit of the branch has no parent: nothing of the project is on it.
    let roots = world.gh.state(|s| {
        let head = s.head("org/repo", BRANCH);
        s.ancestors(&head)
            .into_iter()
            .filter(|sha| s.commits[sha].parents.is_empty())
            .count()
    });
    assert_eq!(roots, 1);
    assert!(
        paths(&world.gh)
            .iter()
            .all(|path| path.starts_with("kitt-baseline/"))
    );
    assert_eq!(world.gh.violations(), Vec::<String>::new());
}

#[test]
fn the_oldest_go_and_other_files_stay() {
    let world = World::new(6);
    store(&world, 0, 0, 2);
    world.gh.state(|s| {
        let head = s.head("org/repo", BRANCH);
        let sha = s.commit(&[&head], &[("README.md", b"mine")]);
        s.branch("org/repo", BRANCH, &sha);
    });
    for at in 1..5 {
        let pushed = store(&world, at, u32::try_from(at).unwrap(), 2);
        assert_eq!(pushed.removed, usize::from(at > 1), "{at}");
    }
    let paths = paths(&world.gh);
    assert_eq!(paths.len(), 1 + 2 * 2, "{paths:?}");
    assert!(paths.contains(&"README.md".to_owned()));
    for at in [3, 4] {
        assert!(paths.iter().any(|path| path.contains(&world.commits[at])));
    }
}

#[test]
fn writers_at_once_all_get_their_baseline_in() {
    let world = World::new(9);
    std::thread::scope(|scope| {
        for at in 0..8 {
            let world = &world;
            scope.spawn(move || store(world, at, u32::try_from(at).unwrap(), 20));
        }
    });
    let paths = paths(&world.gh);
    for at in 0..8 {
        let of = |path: &&String| path.contains(&world.commits[at]);
        assert_eq!(paths.iter().filter(of).count(), 2, "{at}: {paths:?}");
    }
}

#[test]
fn a_lost_answer_does_not_store_twice() {
    for (method, path) in [("POST", "/git/refs"), ("PATCH", "/git/refs/")] {
        let world = World::new(3);
        if method == "PATCH" {
            store(&world, 0, 0, 20);
        }
        world.gh.state(|s| {
            s.faults
                .push(Fault::on(method, path, What::CutAfter).times(1));
            s.faults
                .push(Fault::on("POST", "/git/trees", What::Status(502)).times(1));
        });
        let pushed = store(&world, 1, 1, 20);
        let head = world.gh.state(|s| s.head("org/repo", BRANCH));
        assert_eq!(pushed.commit, head, "{method}");
        let commits = world.gh.state(|s| s.ancestors(&head).len());
        assert_eq!(commits, if method == "PATCH" { 2 } else { 1 });
    }
}

#[test]
fn a_token_that_may_not_write_says_what_to_add() {
    let world = World::new(2);
    world.gh.state(|s| {
        let token = Token::read_write().with("contents", Level::Read);
        s.tokens.insert("t0ken".into(), token);
    });
    let repo: RepoSlug = "org/repo".parse().unwrap();
    let commit: CommitSha = world.commits[1].parse().unwrap();
    let entry = Entry {
        folder: NAME,
        key: "k",
        when: Past::default().header().started_at,
        commit: &commit,
        files: files(&Past::default()),
    };
    let error =
        block_on(async { push(&World::client(&world.gh.url), &repo, BRANCH, &entry, 2).await });
    let said = error.unwrap_err().to_string();
    assert!(said.contains("contents: write"), "{said}");
}

#[test]
fn large_and_strange_blobs_are_refused() {
    let world = World::new(2);
    let metrics = files(&Past::default()).remove(0).1;
    let entry = format!("{NAME}/k/20260101T000000Z-{}", world.commits[1]);
    let put = |name: &str, bytes: &[u8]| {
        world.gh.state(|s| {
            let metrics_path = format!("{entry}/metrics.json");
            let other = format!("{entry}/{name}");
            let sha = s.commit(&[], &[(&metrics_path, &metrics), (&other, bytes)]);
            s.branch("org/repo", BRANCH, &sha);
        });
        world
            .search_at(&world.gh.url, place(), Some(1), &usual_conditions())
            .unwrap()
    };
    let search = put("requests.jsonl.zst", &vec![0; (8 << 20) + 1]);
    let why = super::only_reason(&search).to_string();
    assert!(why.contains("requests.jsonl.zst is 8388609 bytes"), "{why}");
    // What nobody reads is not even fetched.
    let search = put("run.sh", b"rm -rf /");
    let found = search.found.unwrap();
    assert_eq!(std::fs::read_dir(found.dir).unwrap().count(), 1);
}
