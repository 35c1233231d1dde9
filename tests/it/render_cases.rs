//! What a report owes to a tired reader, on decisions that the stages made themselves.

use kitt_action::verdict::{GatePolicy, On, Verdict};

use super::{
    render::keep,
    sample::{
        self,
        real::{Side, decided, decided_by_history},
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
        "**What now**\n- Set <code>requests: 100</code>: from so many requests per scenario (now 8) on,",
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
        on: On::STRICT,
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
        comment.contains(
            "**What now**\n- Set <code>baseline: ab</code>, so that baseline and current"
        ),
        "{comment}"
    );
}

#[test]
fn shares_differ_in_points_everywhere() {
    let base = Side {
        scenarios: 2,
        correct: 412.0,
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
    assert!(
        comment.contains("- Evaluate more items: about"),
        "{comment}"
    );
    assert!(
        comment.contains("is 1.4 points lower, 82.4 % → 81.0 % ("),
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
            " is 4.5 points higher, 0.00 % → 4.50 % (",
            "More than 1 point worse counts",
        ] {
            assert!(text.contains(said), "{said} in {name}: {text}");
        }
        assert!(!text.contains(" 1 points"), "{text}");
    }
    let html = plain(&documents.report_html);
    assert!(html.contains("<span class=\"delta\">+4.5 points</span>"));
    assert!(html.contains("1 / 2 points"));
}

#[test]
fn next_steps_say_nothing_twice() {
    let (base, slower) = slower_decode();
    let paired = decided(Some(base), slower, &GatePolicy::default()).render();
    assert!(paired.comment.contains("- Find what made it worse"));
    assert!(
        !paired.comment.contains("In doubt"),
        "pairs have looked often enough"
    );
    let jobs = decided_by_history(base, slower, 20).render().comment;
    assert!(
        jobs.contains("- In doubt, set <code>baseline: ab</code>, so that baseline and current"),
        "{jobs}"
    );

    let comment = sample::inconclusive_runs().render().comment;
    let alert = comment
        .lines()
        .find_map(|line| line.strip_prefix("> Not proven either way: "));
    let alert = alert.unwrap();
    assert_eq!(comment.matches(alert).count(), 1, "{comment}");
    for line in comment.lines().filter(|line| line.starts_with("- ")) {
        assert!(line.matches("TTFT").count() <= 1, "{line}");
    }
}

#[test]
fn the_confidence_of_the_intervals_is_said() {
    let (base, slower) = slower_decode();
    let sample = decided(Some(base), slower, &GatePolicy::default());
    let documents = sample.render();
    let regressed = sample.decision.metrics.iter();
    let regressed = regressed.filter(|judged| judged.verdict == Verdict::Regressed);
    let levels: Vec<f64> = regressed.filter_map(|judged| judged.confidence).collect();
    assert!(!levels.is_empty());
    for text in [&documents.comment, &documents.report_html] {
        let text = text.replace('\u{a0}', " ");
        let said = text.split("intervals: ").nth(1).unwrap();
        let said = said.split(" for regressed").next().unwrap();
        let shown: Vec<f64> = said
            .replace("over ", "")
            .replace(" %", "")
            .split(" to ")
            .map(|level| level.parse::<f64>().unwrap() / 100.0)
            .collect();
        let (low, high) = (shown[0], *shown.last().unwrap());
        for level in &levels {
            assert!(
                (low - 1e-4..=high + 1e-4).contains(level),
                "{level} not in {said}"
            );
        }
    }
    let text = documents.comment.replace('\u{a0}', " ");
    let alert = text.lines().find(|line| line.contains(" % interval "));
    let alert = alert.unwrap();
    assert!(alert.starts_with("> "), "{alert}");
    assert!(alert.contains(" pairs)."), "{alert}");
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
