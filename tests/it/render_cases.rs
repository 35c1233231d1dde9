//! What a report owes to a tired reader, on decisions that the stages made themselves.

use kitt_action::verdict::{GatePolicy, OnUnsure, Verdict};

use super::{
    render::keep,
    sample::{
        self,
        real::{Side, decided},
    },
};

fn gated(gating: &[&str]) -> GatePolicy {
    GatePolicy {
        gate: true,
        gating: gating.iter().map(|name| (*name).to_owned()).collect(),
        ..GatePolicy::default()
    }
}

/// The lines of a comment that are in a folded part, and the others.
fn folded(comment: &str) -> (Vec<&str>, Vec<&str>) {
    let start = comment.find("<details").unwrap();
    let end = comment.rfind("</details>").unwrap();
    let inside = comment[start..end].lines().collect();
    let outside = comment[..start].lines().chain(comment[end..].lines());
    (inside, outside.collect())
}

/// Two scenarios, and the same decoding 8 % slower.
fn slower_decode() -> (Side, Side) {
    let base = Side {
        scenarios: 2,
        ..Side::STEADY
    };
    (
        base,
        Side {
            decode: 1.08,
            ..base
        },
    )
}

#[test]
fn a_gate_with_nothing_to_judge_says_so_and_what_to_do() {
    let few = Side {
        requests: 8,
        runs: 1,
        scenarios: 3,
        ..Side::STEADY
    };
    let default = GatePolicy {
        gate: true,
        ..GatePolicy::default()
    };
    let sample = decided(Some(few), few, &default);
    assert_eq!(sample.decision.verdict, Verdict::Inconclusive);
    let documents = sample.render();
    keep("nothing-to-judge", &documents);
    let comment = &documents.comment;
    for said in [
        "### ⚪ Nothing to judge: too few requests for any gating metric — gate passed",
        "> [!WARNING]\n> The gate had nothing to judge: every metric",
        "at least 20 requests per scenario for means and medians, 100 for p90, 200 for p95, 1,000 for p99",
        "**Next steps**\n- Raise the requests per scenario (input “requests”, now 8) to at least 100",
    ] {
        assert!(comment.contains(said), "{said} in {comment}");
    }
    assert!(!comment.contains("More runs") && !comment.contains("runs a side"));
    assert!(
        documents
            .report_html
            .contains("The gate had nothing to judge")
    );
    let off = decided(Some(few), few, &GatePolicy::default())
        .render()
        .comment;
    assert!(
        off.contains("> [!NOTE]\n> There was nothing to judge"),
        "{off}"
    );
    let strict = GatePolicy {
        on_unsure: OnUnsure::Fail,
        ..default
    };
    let failed = decided(Some(few), few, &strict).render().comment;
    assert!(
        failed.contains("> [!CAUTION]\n> The gate had nothing"),
        "{failed}"
    );
}

#[test]
fn one_run_against_one_judges_what_it_can() {
    let short = Side {
        requests: 24,
        runs: 1,
        scenarios: 3,
        energy: false,
        ..Side::STEADY
    };
    let policy = GatePolicy {
        gate: true,
        run_cv: Some(0.005),
        ..GatePolicy::default()
    };
    let documents = decided(Some(short), short, &policy).render();
    keep("single", &documents);
    let comment = &documents.comment;
    assert!(
        comment.contains("### ✅ Unchanged: 12 gating metrics"),
        "{comment}"
    );
    assert!(
        comment.contains("<sub>inconclusive<br>needs 100 requests</sub>"),
        "{comment}"
    );
    assert!(
        comment.contains("gating with more requests: E2E latency p90 (100 per run)"),
        "{comment}"
    );
    let unsure = decided(
        Some(short),
        Side {
            decode: 1.03,
            ..short
        },
        &GatePolicy::default(),
    );
    let documents = unsure.render();
    keep("single-unsure", &documents);
    let comment = &documents.comment;
    assert!(
        comment.contains("Measure at least 4 runs a side (input “runs”)"),
        "{comment}"
    );
}

#[test]
fn shares_differ_in_points_everywhere() {
    let base = Side {
        scenarios: 2,
        ..Side::STEADY
    };
    let plain = |text: &str| text.replace('\u{a0}', " ");
    let failing = Side { failed: 9, ..base };
    let wrong = Side {
        correct: 405.0,
        ..base
    };
    let policy = gated(&["error_rate", "accuracy", "tpot_ms.p50"]);
    let documents = decided(Some(base), wrong, &policy).render();
    keep("accuracy", &documents);
    let comment = plain(&documents.comment);
    assert!(comment.contains("| −1.4 points<br>(−"), "{comment}");
    assert!(!comment.contains("More runs"), "{comment}");
    assert!(comment.contains("evaluate more items"), "{comment}");
    assert!(
        comment.contains("405 of 500 now, −1.4 points ("),
        "{comment}"
    );
    let html = plain(&documents.report_html);
    let chart = html.split("<svg").nth(1).unwrap();
    let chart = chart.split("</svg>").next().unwrap();
    assert!(!chart.contains("accuracy") && chart.contains("TPOT p50"));
    assert!(html.contains("Shares, which differ in points, are in the tables only."));

    let policy = gated(&["error_rate", "tpot_ms.p50"]);
    let documents = decided(Some(base), failing, &policy).render();
    keep("shares", &documents);
    for (name, text) in [
        ("comment", &documents.comment),
        ("summary", &documents.summary),
    ] {
        let text = plain(text);
        for said in [
            "| **+4.5 points**<br>(+2.",
            "| 1 / 2 points |",
            " is 4.5 points higher, 0.00 % → 4.50 % (99 % interval +2.",
            "More than 1 point worse counts",
        ] {
            assert!(text.contains(said), "{said} in {name}: {text}");
        }
        assert!(!text.contains("1 points"), "{text}");
    }
    let html = plain(&documents.report_html);
    assert!(html.contains("<span class=\"delta\">+4.5 points</span>"));
    assert!(html.contains("1 / 2 points"));
}

#[test]
fn next_steps_say_nothing_twice() {
    let (base, slower) = slower_decode();
    let open = decided(Some(base), slower, &GatePolicy::default()).render();
    assert!(open.comment.contains("In doubt, re-run the job:"));
    let policy = GatePolicy {
        gate: true,
        ..GatePolicy::default()
    };
    let closed = decided(Some(base), slower, &policy).render();
    assert!(closed.comment.contains("In doubt, re-run the failed job:"));

    let comment = sample::inconclusive_runs().render().comment;
    let alert = comment
        .lines()
        .find_map(|line| line.strip_prefix("> latency: "));
    let alert = alert.unwrap();
    assert_eq!(comment.matches(alert).count(), 1, "{comment}");
    for line in comment.lines().filter(|line| line.starts_with("- ")) {
        assert!(line.matches("TTFT").count() <= 1, "{line}");
    }
}

#[test]
fn the_confidence_of_the_intervals_is_said() {
    let (base, slower) = slower_decode();
    let documents = decided(Some(base), slower, &GatePolicy::default()).render();
    for text in [&documents.comment, &documents.report_html] {
        let text = text.replace('\u{a0}', " ");
        assert!(
            text.contains("intervals: 99.83 % for regressed and inconclusive, 90 % for unchanged"),
            "{text}"
        );
    }
    let text = documents.comment.replace('\u{a0}', " ");
    assert!(text.contains("(99.83 % interval −8.0 … −6.8 %)"), "{text}");
}

#[test]
fn many_scenarios_stay_readable() {
    let slower = Side {
        decode: 1.08,
        ..Side::STEADY
    };
    let documents = decided(Some(Side::STEADY), slower, &GatePolicy::default()).render();
    keep("many", &documents);
    let comment = &documents.comment;
    assert!(comment.len() < 48_000, "{}", comment.len());
    let (inside, outside) = folded(comment);
    assert!(outside.len() < 60, "{}", outside.len());
    let block: Vec<&&str> = inside
        .iter()
        .skip_while(|line| !line.starts_with("**latency**"))
        .take_while(|line| !line.starts_with("**long"))
        .collect();
    let first_small = block.iter().position(|line| line.starts_with("| <sub>"));
    let last_gating = block
        .iter()
        .rposition(|line| line.starts_with("| ❌") || line.starts_with("| ✅"));
    assert!(last_gating < first_small, "{block:?}");
    let compact = block
        .iter()
        .filter(|line| line.starts_with("<sub>Neither direction is better: "));
    assert_eq!(compact.count(), 1);
    for line in block.iter().filter(|line| line.starts_with('|')) {
        assert!(
            !line.contains("GPU power") && !line.contains(" sd"),
            "{line}"
        );
    }
}

#[test]
fn without_a_baseline_the_numbers_are_one_table() {
    let mut sample = decided(None, Side::STEADY, &GatePolicy::default());
    sample.context.base = None;
    let documents = sample.render();
    keep("first", &documents);
    for text in [&documents.comment, &documents.summary] {
        let text = text.replace('\u{a0}', " ");
        let head = "| Scenario | output throughput ↑ | TTFT p50 ↓ | TPOT p50 ↓ | ITL mean ↓ | E2E latency p90 ↓ | energy per output token ↓ |";
        assert!(text.contains(head), "{text}");
        let rows = text.split("<details").next().unwrap();
        let rows = rows.lines().filter(|line| line.starts_with("| "));
        assert_eq!(rows.count(), 9, "a head and eight scenarios");
        assert!(!text.contains("🆕 new"), "{text}");
    }
    assert!(documents.report_html.contains("<h2>What was measured</h2>"));
}
