//! Which stored baseline is chosen.

use kitt_action::{
    github::GitHubError,
    store::discover::{Conditions, Place, Refused, Rule},
};

use super::{NAME, World, archive, only_reason, usual_conditions};
use crate::{
    github::{Level, Rule as Fault, Token, What},
    history::Past,
};

fn hour(hour: u32) -> Past {
    Past {
        hour,
        ..Past::default()
    }
}

fn other_hardware(hour: u32) -> Past {
    Past {
        hour,
        cpu: "Intel Xeon 6972P",
        ..Past::default()
    }
}

#[test]
fn the_exact_parent_wins_over_anything_newer() {
    let world = World::new(5);
    for at in 0..5 {
        world.stored(at, &hour(u32::try_from(at).unwrap()));
    }
    let search = world.search(2, &usual_conditions()).unwrap();
    let found = search.found.unwrap();
    assert_eq!(found.rule, Rule::ExactParent);
    assert_eq!(found.commit, world.commits[2]);
    assert!(found.dir.join("metrics.json").exists());
    assert!(search.refused.is_empty(), "{:?}", search.refused);
    // One list, one list of commits, one run, one download: nothing else was asked.
    assert_eq!(world.gh.seen("", "").len(), 5);
    assert_eq!(world.gh.violations(), Vec::<String>::new());
}

#[test]
fn the_nearest_ancestor_with_comparable_results_is_next() {
    let world = World::new(6);
    world.stored(1, &hour(1));
    world.stored(2, &hour(2));
    // Newer than the parent: no ancestor of what is measured.
    world.stored(5, &hour(5));
    let search = world.search(4, &usual_conditions()).unwrap();
    let found = search.found.unwrap();
    assert_eq!(found.rule, Rule::NearestAncestor);
    assert_eq!(found.commit, world.commits[2]);
}

#[test]
fn other_hardware_is_passed_over_and_named() {
    let world = World::new(4);
    world.stored(0, &hour(0));
    world.stored(2, &other_hardware(2));
    let search = world.search(2, &usual_conditions()).unwrap();
    let found = search.found.as_ref().unwrap();
    assert_eq!(
        (found.rule, &found.commit),
        (Rule::NearestAncestor, &world.commits[0])
    );
    let why = only_reason(&search);
    assert!(matches!(why, Refused::Hardware(_)));
    let said = why.to_string();
    assert!(
        said.contains("cpu.model: Intel Xeon 6972P there, AMD EPYC 9654 here"),
        "{said}"
    );
}

#[test]
fn where_all_were_measured_elsewhere_the_nearest_tells_what_differs() {
    let world = World::new(4);
    world.stored(0, &other_hardware(0));
    world.stored(2, &other_hardware(2));
    let search = world.search(3, &usual_conditions()).unwrap();
    let found = search.found.unwrap();
    assert_eq!(
        (found.rule, &found.commit),
        (Rule::OtherConditions, &world.commits[2])
    );
    assert_eq!(found.rule.name(), "other-conditions");
    assert!(found.dir.join("metrics.json").exists());
}

#[test]
fn without_an_ancestor_the_newest_few_are_a_pool() {
    let world = World::new(14);
    for at in 2..14 {
        world.stored(at, &hour(u32::try_from(at).unwrap()));
    }
    world.stored(13, &other_hardware(20));
    // The oldest commit: nothing before it is stored.
    let search = world.search(0, &usual_conditions()).unwrap();
    let found = search.found.unwrap();
    assert_eq!(
        (found.rule, &found.commit),
        (Rule::Pool, &world.commits[13])
    );
    let pool = found.history.unwrap();
    assert_eq!(
        std::fs::read_dir(&pool).unwrap().count(),
        10,
        "the newest ten"
    );
    assert!(found.dir.starts_with(&pool));
    assert!(world.gh.seen("GET", "/zip").len() <= 12);
}

#[test]
fn the_history_beside_the_baseline_is_used_and_a_broken_one_is_not() {
    let world = World::new(2);
    let dir = tempfile::tempdir().unwrap();
    hour(1).store(dir.path());
    let metrics = std::fs::read(dir.path().join("metrics.json")).unwrap();
    let with = |history: &[u8]| {
        crate::github::zip(&[("metrics.json", &metrics), ("history.jsonl", history)])
    };
    world.stored_by("push", 0, &with(b""));
    let found = world.search(0, &usual_conditions()).unwrap().found.unwrap();
    assert!(found.history.unwrap().ends_with("history.jsonl"));
    world.stored_by("push", 1, &with(b"{}\n{}\n"));
    let found = world.search(1, &usual_conditions()).unwrap().found.unwrap();
    assert_eq!((found.rule, found.history), (Rule::ExactParent, None));
}

#[test]
fn a_fork_cannot_put_a_baseline_in_our_way() {
    let world = World::new(2);
    // Its run is of our repository, its branch is called main, its artifact as ours, and its
    // commit is the one that is looked for.
    let poisoned = world.stored_by("pull_request", 1, &archive(&hour(1)));
    let fork = world.gh.state(|s| s.fork("mallory/repo"));
    world.edit_run(poisoned, |run| run.head_repo = Some(fork));
    let search = world.search(1, &usual_conditions()).unwrap();
    assert_eq!(only_reason(&search), &Refused::Foreign);
    assert!(
        search
            .found
            .unwrap_err()
            .contains("1 of another repository")
    );
    assert!(
        world.gh.seen("GET", "/zip").is_empty(),
        "not even downloaded"
    );
}

#[test]
fn every_other_run_is_refused_with_its_reason() {
    let reason = |edit: &dyn Fn(&World, u64)| {
        let world = World::new(2);
        let artifact = world.stored(1, &hour(1));
        edit(&world, artifact);
        let search = world.search(1, &usual_conditions()).unwrap();
        let why = only_reason(&search).clone();
        let none = search.found.unwrap_err();
        assert!(none.contains(why.kind()), "{none}");
        (why.to_string(), world.gh.seen("GET", "/zip").len())
    };
    for (edit, says) in [
        (
            (&|w: &World, a| w.edit_run(a, |run| run.event = "pull_request".into()))
                as &dyn Fn(&World, u64),
            "`pull_request`",
        ),
        (
            &|w, a| w.edit_run(a, |run| run.event = "workflow_run".into()),
            "`workflow_run`",
        ),
        (
            &|w, a| w.edit_run(a, |run| run.head_branch = Some("feature".into())),
            "branch `feature`",
        ),
        (
            &|w, a| w.edit_run(a, |run| run.conclusion = Some("failure".into())),
            "ended with `failure`",
        ),
        (
            &|w, a| {
                w.edit_run(a, |run| {
                    run.conclusion = None;
                    run.status = "in_progress".into();
                });
            },
            "not ended yet",
        ),
        (&|w, a| w.edit(a, |a| a.expired = true), "expired on"),
    ] {
        let (why, downloads) = reason(edit);
        assert!(why.contains(says), "{why}");
        assert_eq!(downloads, 0, "{says}");
    }
    let (why, _) = reason(&|w, a| {
        w.edit(a, |a| a.digest = Some(format!("sha256:{}", "0".repeat(64))));
    });
    assert!(why.contains("cut or changed"), "{why}");
}

#[test]
fn the_runs_own_artifact_is_no_baseline() {
    let world = World::new(2);
    let own = world.stored(1, &hour(1));
    world.edit_run(own, |run| run.id = 42);
    world.edit(own, |artifact| artifact.run = 42);
    let search = world.search(1, &usual_conditions()).unwrap();
    assert_eq!(only_reason(&search), &Refused::ThisRun);
}

#[test]
fn an_artifact_that_expires_after_it_was_listed_is_expired() {
    let world = World::new(2);
    world.stored(0, &hour(0));
    world.stored(1, &hour(1));
    world.gh.state(|s| {
        let rule = Fault::on("GET", "/zip", What::Status(410));
        s.faults.push(rule.times(1));
    });
    let search = world.search(1, &usual_conditions()).unwrap();
    assert_eq!(only_reason(&search), &Refused::Expired(None));
    let found = search.found.unwrap();
    assert_eq!(found.rule, Rule::NearestAncestor);
}

#[test]
fn results_that_are_none_are_passed_over() {
    let world = World::new(3);
    world.stored(0, &hour(0));
    world.stored_by("push", 1, &crate::github::zip(&[("metrics.json", b"{}")]));
    let unfinished = Past {
        status: kitt_action::results::RunStatus::Failed,
        ..hour(2)
    };
    world.stored(2, &unfinished);
    let search = world.search(2, &usual_conditions()).unwrap();
    let said: Vec<String> = search
        .refused
        .iter()
        .map(|(_, why)| why.to_string())
        .collect();
    assert!(said[0].contains("did not come to an end"), "{said:?}");
    assert!(said[1].contains("no results file"), "{said:?}");
    assert_eq!(search.found.unwrap().commit, world.commits[0]);
}

#[test]
fn server_faults_and_cut_connections_are_ridden_out() {
    let world = World::new(3);
    world.stored(1, &hour(1));
    world.gh.state(|s| {
        for (path, what) in [
            ("/actions/artifacts?", What::Status(502)),
            ("/commits?", What::CutBody),
            ("/actions/runs/", What::Status(503)),
            ("/zip", What::Cut),
            ("/blob/", What::CutBody),
        ] {
            s.faults.push(Fault::on("GET", path, what).times(2));
        }
    });
    let found = world.search(1, &usual_conditions()).unwrap().found.unwrap();
    assert_eq!(found.rule, Rule::ExactParent);
}

#[test]
fn a_server_that_stays_down_is_a_reason_and_no_failure_of_one_download() {
    let world = World::new(3);
    world.stored(1, &hour(1));
    world.gh.state(|s| {
        s.faults
            .push(Fault::on("GET", "/zip", What::Status(502)).always());
    });
    let search = world.search(1, &usual_conditions()).unwrap();
    assert!(matches!(only_reason(&search), Refused::Failed(_)));
    let requests = world.gh.seen("GET", "/zip").len();
    assert!(requests <= 5, "{requests}");
}

#[test]
fn a_server_that_stays_down_is_not_asked_about_everything() {
    let world = World::new(12);
    for at in 0..12 {
        world.stored(at, &hour(u32::try_from(at).unwrap()));
    }
    world.gh.state(|s| {
        s.faults
            .push(Fault::on("GET", "/actions/runs/", What::Status(502)).always());
    });
    let search = world.search(11, &usual_conditions()).unwrap();
    assert!(search.found.unwrap_err().contains("3 not to be had"));
    assert_eq!(world.gh.seen("GET", "/actions/runs/").len(), 15);
}

#[test]
fn commits_that_may_not_be_read_leave_exact_parent_and_pool() {
    let world = World::new(3);
    world.stored(1, &hour(1));
    world.gh.state(|s| {
        let token = Token::read_only().with("contents", Level::None);
        s.tokens.insert("t0ken".into(), token);
    });
    let found = |at| {
        world
            .search(at, &usual_conditions())
            .unwrap()
            .found
            .unwrap()
    };
    assert_eq!(found(1).rule, Rule::ExactParent);
    assert_eq!(found(2).rule, Rule::Pool);
}

#[test]
fn a_missing_right_says_which_one() {
    let world = World::new(2);
    world.gh.state(|s| {
        let token = Token::read_only().with("actions", Level::None);
        s.tokens.insert("t0ken".into(), token);
    });
    let error = world.search(1, &usual_conditions()).unwrap_err();
    assert!(matches!(error, GitHubError::Forbidden { .. }), "{error}");
    assert!(error.to_string().contains("actions: read"), "{error}");
}

#[test]
fn the_token_stays_with_the_api_and_an_enterprise_server_is_below_its_prefix() {
    let world = World::new(2);
    world.stored(1, &hour(1));
    let place = Place::Artifacts(NAME);
    let conditions = usual_conditions();
    for url in [world.gh.url.clone(), world.gh.enterprise()] {
        let search = world.search_at(&url, place, Some(1), &conditions);
        assert_eq!(search.unwrap().found.unwrap().rule, Rule::ExactParent);
    }
    let blobs: Vec<_> = world
        .gh
        .seen("GET", "")
        .into_iter()
        .filter(|seen| seen.blob)
        .collect();
    assert_eq!(blobs.len(), 2);
    assert!(blobs.iter().all(|seen| seen.authorization.is_none()));
    let api = world.gh.seen("GET", "/repos/");
    assert!(api.iter().all(|seen| seen.authorization.is_some()));
}

#[test]
fn nothing_stored_is_said_without_asking_more() {
    let world = World::new(2);
    let search = world.search(1, &usual_conditions()).unwrap();
    assert_eq!(
        search.found.unwrap_err(),
        "no artifact is called kitt-baseline yet"
    );
    assert_eq!(world.gh.seen("", "").len(), 1);
    assert!(search.refused.is_empty());
}

#[test]
fn what_is_known_before_a_measurement_chooses_as_far_as_it_goes() {
    let world = World::new(3);
    world.stored(0, &hour(0));
    world.stored(1, &other_hardware(1));
    let mut before = Conditions {
        whole: false,
        ..usual_conditions()
    };
    before.strict.retain(|name, _| name == "cpu.model");
    let found = world.search(2, &before).unwrap().found.unwrap();
    assert_eq!(
        (found.rule, &found.commit),
        (Rule::NearestAncestor, &world.commits[0])
    );
    // Nothing known at all: the nearest.
    let any = Conditions::default();
    let found = world.search(2, &any).unwrap().found.unwrap();
    assert_eq!(found.commit, world.commits[1]);
}

#[test]
fn many_refused_ones_cost_few_requests() {
    let world = World::new(40);
    for at in 0..40 {
        let artifact = world.stored(at, &hour(u32::try_from(at).unwrap()));
        world.edit_run(artifact, |run| run.conclusion = Some("failure".into()));
    }
    let search = world.search(39, &usual_conditions()).unwrap();
    assert!(search.found.is_err());
    let runs = world.gh.seen("GET", "/actions/runs/").len();
    assert!(runs <= 30, "{runs}");
}
