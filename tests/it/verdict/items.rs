//! Evaluated items from the files of two result sets to a decision.

use std::path::Path;

use kitt_action::{
    compare::{CompareOptions, Obstacle, compare},
    results::{ITEMS_FILE, Item, Items, Limits, ResultSet, read_items, take_items},
    verdict::{Decision, GatePolicy, Judged, Verdict, Zone, decide},
};

use super::{record, set};

/// A file of `items` items in one task: right but for the first `wrong` ones, with a confidence
/// of 90 % and, for the first half of them, `over` more.
fn lines(items: usize, wrong: usize, over: f64) -> String {
    (0..items)
        .map(|item| {
            let confidence = if item < items / 2 { 0.9 + over } else { 0.9 };
            format!(
                "{{\"task\":\"gsm8k\",\"item\":\"{item}\",\"correct\":{},\"confidence\":{confidence}}}\n",
                item >= wrong
            )
        })
        .collect::<Vec<_>>()
        .concat()
}

fn read(text: &str) -> Items {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.jsonl");
    std::fs::write(&path, text).unwrap();
    take_items(Some(&path), dir.path()).unwrap();
    read_items(&dir.path().join(ITEMS_FILE), &Limits::default()).unwrap()
}

fn side(items: Items) -> ResultSet {
    let mut side = set(vec![vec![("chat", record(&[("output_tps", 100.0)]))]]);
    side.facts.items = items;
    side
}

fn decided(baseline: Items, current: Items, policy: &GatePolicy) -> Decision {
    let (baseline, current) = (side(baseline), side(current));
    let comparison = compare(Some(&baseline), &current, &CompareOptions::default()).unwrap();
    decide(&comparison, &current, Some(&baseline), policy).unwrap()
}

fn found<'a>(decision: &'a Decision, metric: &str) -> &'a Judged {
    let of =
        |judged: &&Judged| judged.change.scenario == "gsm8k" && judged.change.metric.name == metric;
    decision.metrics.iter().find(of).unwrap()
}

#[test]
fn the_same_answers_are_unchanged_and_gate() {
    let items = read(&lines(1000, 100, 0.0));
    let decision = decided(items.clone(), items, &GatePolicy::default());
    let accuracy = found(&decision, "accuracy");
    assert_eq!(accuracy.verdict, Verdict::Unchanged, "{}", accuracy.reason);
    assert!(accuracy.gating);
    assert_eq!(accuracy.change.current, Some(0.9));
    for metric in ["ece", "brier", "mce"] {
        let judged = found(&decision, metric);
        assert_eq!(judged.verdict, Verdict::Unchanged, "{}", judged.reason);
        assert!(!judged.gating);
        assert!(judged.q.is_some());
    }
}

#[test]
fn the_largest_gap_of_few_items_is_not_judged() {
    let items = read(&lines(999, 100, 0.0));
    let decision = decided(items.clone(), items, &GatePolicy::default());
    let mce = found(&decision, "mce");
    assert_eq!(mce.verdict, Verdict::Inconclusive);
    assert_eq!(
        mce.change.obstacle,
        Some(Obstacle::TooFewItems { needed: 1000 })
    );
    assert!(
        mce.reason.contains("999 items and needs 1000"),
        "{}",
        mce.reason
    );
    assert_eq!(found(&decision, "ece").verdict, Verdict::Unchanged);
}

#[test]
fn forty_more_wrong_answers_of_a_thousand_are_a_regression() {
    let (before, after) = (read(&lines(1000, 100, 0.0)), read(&lines(1000, 140, 0.0)));
    let decision = decided(before.clone(), after.clone(), &GatePolicy::default());
    let accuracy = found(&decision, "accuracy");
    assert_eq!(accuracy.verdict, Verdict::Regressed, "{}", accuracy.reason);
    assert_eq!(decision.verdict, Verdict::Regressed);
    let items = accuracy.change.items.unwrap();
    assert_eq!((items.items, items.lost, items.gained), (1000, 40, 0));
    assert!(
        accuracy
            .reason
            .contains("of 1000 items 40 got worse and 0 better, −4.0 points")
    );
    assert!((accuracy.points().unwrap() + 0.04).abs() < 1e-12);
    // The other way round it is a gain.
    let decision = decided(after, before, &GatePolicy::default());
    assert_eq!(found(&decision, "accuracy").verdict, Verdict::Improved);
}

#[test]
fn one_more_wrong_answer_of_fifty_is_open_and_says_how_many_would_tell() {
    let (before, after) = (read(&lines(50, 5, 0.0)), read(&lines(50, 6, 0.0)));
    let decision = decided(before, after, &GatePolicy::default());
    let accuracy = found(&decision, "accuracy");
    assert_eq!(accuracy.verdict, Verdict::Inconclusive);
    assert!(accuracy.gating, "few items widen the limits, no more");
    assert!(
        accuracy.reason.contains("evaluated items would settle it"),
        "{}",
        accuracy.reason
    );
}

#[test]
fn other_items_are_incomparable() {
    let (before, mut after) = (read(&lines(100, 10, 0.0)), read(&lines(100, 10, 0.0)));
    let task = after.get_mut("gsm8k").unwrap();
    task.remove("7");
    let item = Item {
        correct: true,
        confidence: Some(0.5),
    };
    task.insert("new one".to_owned(), item);
    task.insert("another".to_owned(), item);
    let decision = decided(before, after, &GatePolicy::default());
    for metric in ["accuracy", "ece"] {
        let judged = found(&decision, metric);
        assert_eq!(judged.verdict, Verdict::Incomparable);
        let differ = Obstacle::ItemsDiffer { gone: 1, new: 2 };
        assert_eq!(judged.change.obstacle, Some(differ));
        assert!(
            judged.reason.contains("evaluate the same items"),
            "{}",
            judged.reason
        );
    }
}

#[test]
fn items_that_are_gone_are_missing_and_first_ones_are_new() {
    let items = read(&lines(100, 10, 0.0));
    let decision = decided(items.clone(), Items::new(), &GatePolicy::default());
    let accuracy = found(&decision, "accuracy");
    assert_eq!(accuracy.verdict, Verdict::Missing);
    assert!(accuracy.gating);
    let decision = decided(Items::new(), items, &GatePolicy::default());
    assert_eq!(found(&decision, "accuracy").verdict, Verdict::New);
    assert_eq!(found(&decision, "brier").verdict, Verdict::New);
}

#[test]
fn confidence_that_promises_more_than_before_is_a_regression_where_it_is_listed() {
    let (before, after) = (read(&lines(4000, 400, 0.0)), read(&lines(4000, 400, 0.1)));
    let mut policy = GatePolicy::default();
    policy.gating.push("ece".to_owned());
    let decision = decided(before, after, &policy);
    let ece = found(&decision, "ece");
    // The first half is right in 80 % of cases and says 100 % now.
    assert_eq!(ece.verdict, Verdict::Regressed, "{}", ece.reason);
    assert!(ece.gating && ece.q.is_none());
    assert_eq!(found(&decision, "accuracy").verdict, Verdict::Unchanged);
    let zone = Zone::of(kitt_action::metric::Statistic::Proportion);
    assert_eq!(ece.zone, Some(zone));
}

#[test]
fn a_broken_file_beside_results_is_an_error_not_silence() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/results/v1/complete");
    std::fs::copy(
        fixture.join("metrics.json"),
        dir.path().join("metrics.json"),
    )
    .unwrap();
    std::fs::write(dir.path().join(ITEMS_FILE), "{\"task\": 1}\n").unwrap();
    let path = dir.path().join("metrics.json");
    let error = kitt_action::results::read(&path, &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("items.jsonl:1:"), "{error}");
    std::fs::write(dir.path().join(ITEMS_FILE), lines(10, 1, 0.0)).unwrap();
    let set = kitt_action::results::read(&path, &Limits::default()).unwrap();
    assert_eq!(set.facts.items["gsm8k"].len(), 10);
}
