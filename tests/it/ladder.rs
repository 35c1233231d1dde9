//! Every size of the comment, from everything down to the verdict, on a report that is far too
//! large.

use std::fmt::Write as _;

use insta::assert_snapshot;
use kitt_action::{
    compare::Difference,
    render::{GateWord, Outcome, Push, rungs},
    verdict::Verdict,
};

use super::sample::{self, Sample};

const BUDGET: usize = 60_000;

/// A regression in many scenarios, with everything that a report can have.
fn large(times: usize, config_lines: usize) -> Sample {
    let mut sample = sample::regression();
    let lines = sample.decision.metrics.clone();
    sample.decision.metrics = (0..times)
        .flat_map(|round| {
            lines.iter().cloned().map(move |mut judged| {
                judged.change.scenario = format!("{}/{round}", judged.change.scenario);
                judged
            })
        })
        .collect();
    let difference = sample.comparison.soft_differences[0].clone();
    sample.comparison.soft_differences = (0..30)
        .map(|number| Difference {
            key: format!("engine.flag.{number}"),
            ..difference.clone()
        })
        .collect();
    let changed = (0..config_lines).map(|number| format!("+flag_{number}: {}\n", "é".repeat(60)));
    sample.context.config_diff = changed.collect();
    sample.context.earlier = (0..5)
        .map(|number| Push {
            outcome: Outcome::Of(Verdict::Regressed),
            gate: GateWord::Failed,
            head: Some(format!("{number:012x}")),
            updated: "2026-01-30T10:00:00Z".to_owned(),
            worst: Some("TPOT p50 +10.7 %".to_owned()),
        })
        .collect();
    sample
}

/// Which blocks a text has, and how many rows.
fn blocks(text: &str) -> String {
    let rows = |from: &str, to: &str| {
        let (_, rest) = text.split_once(from)?;
        let part = rest.split(to).next()?;
        Some(part.lines().filter(|line| line.starts_with("| ")).count())
    };
    let mut found = String::new();
    let mut add = |name: &str, rows: Option<usize>| {
        if let Some(rows) = rows {
            write!(found, " · {name} {rows}").unwrap();
        }
    };
    add("changed rows", rows("| Verdict | Metric | Base |", "\n\n"));
    add("all metrics", rows("<summary>All metrics", "</details>"));
    add("environment", rows("<summary>Environment", "</details>"));
    add(
        "known facts",
        rows("<summary>Equal on both sides", "</details>"),
    );
    add("configuration", text.contains("```diff").then_some(1));
    add(
        "earlier pushes",
        rows("<summary>Earlier pushes", "</details>"),
    );
    add("what now", text.contains("**What now**").then_some(1));
    for always in [
        "### ❌ Regressed",
        "> [!CAUTION]",
        "[run](",
        "<!-- kitt-state:2 ",
    ] {
        assert!(text.contains(always), "{always}");
    }
    found
}

/// Rows of one table have the same number of cells, and folds are closed.
fn is_whole(text: &str) {
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    for table in text.split("\n\n").filter(|block| block.starts_with('|')) {
        let first = table.lines().next().map(cells);
        let broken = table.lines().find(|line| Some(cells(line)) != first);
        assert_eq!(broken, None);
    }
    assert_eq!(
        text.matches("<details").count(),
        text.matches("</details>").count()
    );
    assert_eq!(text.matches("```").count() % 2, 0);
}

#[test]
fn every_rung_leaves_out_more() {
    let sample = large(40, 150);
    let rungs = rungs(&sample.input()).unwrap();
    let mut shown = String::new();
    for (number, rung) in rungs.iter().enumerate() {
        println!(
            "rung {number}: {} units, {} bytes",
            rung.units,
            rung.text.len()
        );
        assert_eq!(rung.units, rung.text.encode_utf16().count());
        is_whole(&rung.text);
        writeln!(shown, "{number}{}", blocks(&rung.text)).unwrap();
    }
    assert!(rungs.windows(2).all(|pair| pair[1].units < pair[0].units));
    assert!(rungs[7].text.len() < BUDGET / 4, "the last one always fits");
    assert_snapshot!(shown);
}

#[test]
fn the_largest_rung_that_fits_is_posted() {
    let mut taken = Vec::new();
    let sizes = (12..=24).step_by(2).map(|times| (times, 150));
    for (times, config_lines) in [(1, 0)].into_iter().chain(sizes).chain([(40, 200)]) {
        let sample = large(times, config_lines);
        let rungs = rungs(&sample.input()).unwrap();
        let fits = |text: &str| text.len() <= BUDGET && text.encode_utf16().count() <= BUDGET;
        let first = rungs.iter().position(|rung| fits(&rung.text)).unwrap();
        let documents = sample.render();
        assert_eq!(
            documents.comment, rungs[first].text,
            "{times} {config_lines}"
        );
        assert!(fits(&documents.comment));
        assert!(documents.summary.len() <= 1_000_000);
        assert!(documents.check_summary.len() <= 65_000);
        assert!(!documents.check_summary.contains("<!-- kitt-"));
        taken.push(first);
    }
    println!("rungs taken: {taken:?}");
    taken.sort_unstable();
    taken.dedup();
    assert!(taken.len() >= 3 && taken.first() == Some(&0), "{taken:?}");
}

#[test]
fn a_summary_of_any_size_fits_a_step() {
    let sample = large(600, 200);
    let documents = sample.render();
    println!(
        "{} metrics: comment {}, check {}, summary {} bytes",
        sample.decision.metrics.len(),
        documents.comment.len(),
        documents.check_summary.len(),
        documents.summary.len()
    );
    assert!(documents.comment.len() <= BUDGET);
    assert!(documents.check_summary.len() <= 65_000);
    assert!(documents.summary.len() <= 1_000_000);
    is_whole(&documents.summary);
}

#[test]
fn a_push_that_is_well_again_says_what_is_resolved() {
    let mut sample = sample::unchanged();
    sample.context.earlier = large(1, 0).context.earlier;
    let comment = sample.render().comment;
    let resolved = comment
        .lines()
        .find(|line| line.starts_with("**Resolved**: "));
    let resolved = resolved.unwrap_or_else(|| panic!("{comment}"));
    assert!(
        resolved.ends_with(" had regressed (TPOT p50 +10.7 %)."),
        "{resolved}"
    );
    assert!(comment.contains("<details><summary>Earlier pushes (5)</summary>"));
    sample.context.earlier.remove(0);
    sample.context.earlier[0].outcome = Outcome::Of(Verdict::Unchanged);
    sample.context.earlier[0].gate = GateWord::Passed;
    assert!(!sample.render().comment.contains("Resolved"));
}
