//! What a report says of each way to compare: what it rests on, what is seen of it, and what
//! would settle what it leaves open.

use kitt_action::{
    compare::Design,
    render::{Colour, terminal},
    verdict::{Acceptance, GatePolicy, Remedy, Shift, Stage, Verdict, comparison_json},
};

use super::{
    render::keep,
    sample::{
        self, Sample,
        real::{Side, decided, decided_by_history, decided_without},
    },
};

const BASE: Side = Side {
    scenarios: 2,
    ..Side::STEADY
};

fn slower(by: f64, base: Side) -> Side {
    Side { decode: by, ..base }
}

fn plain(text: &str) -> String {
    text.replace(['\u{a0}', '\u{202f}'], " ")
}

/// The comment with ordinary spaces.
fn comment(name: &str, sample: &Sample) -> String {
    let documents = sample.render();
    keep(name, &documents);
    plain(&documents.comment)
}

fn html(sample: &Sample) -> String {
    plain(&sample.render().report_html)
}

#[test]
fn pairs_say_how_many_and_why_no_more() {
    let base = Side { runs: 6, ..BASE };
    let sample = decided(Some(base), slower(1.08, base), &GatePolicy::default());
    assert_eq!(sample.decision.verdict, Verdict::Regressed);
    let text = comment("pairs", &sample);
    for said in [
        "\n12 runs in 6 pairs of fresh servers that took turns, stopped early: all gating metrics are decided.\n",
        "interleaved pairs, moderated paired t with a sequential stop: ",
        " of at most 12 · ",
        "error of all 12 gating tests together 1 %",
        "run-to-run spread 0.",
        "smallest provable worsening ",
        "at least 200 requests per run",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let regressed = sample.decision.metrics.iter();
    let regressed = regressed.filter(|one| one.gating && one.verdict == Verdict::Regressed);
    let heading = format!(" and {} more of 12 gating metrics", regressed.count() - 1);
    let first = text.lines().find(|line| line.starts_with("### ")).unwrap();
    assert!(first.contains("Regressed: "), "{first}");
    assert!(first.contains(&heading), "{first}");
}

#[test]
fn pairs_are_drawn_one_by_one() {
    let base = Side { runs: 6, ..BASE };
    let sample = decided_without(base, slower(1.08, base), &[2]);
    let text = comment("pairs-void", &sample);
    assert!(
        text.contains("; 1 pair is void and does not count."),
        "{text}"
    );
    let html = html(&sample);
    let section = html.split("<h2>Pair by pair</h2>").nth(1).unwrap();
    let section = section.split("<h2>").next().unwrap();
    let charts = sample.decision.metrics.iter();
    let charts = charts.filter(|one| one.gating && one.change.pairs.is_some());
    let charts = charts.count();
    assert_eq!(section.matches("<svg ").count(), charts);
    assert_eq!(section.matches("<desc ").count(), charts);
    let chart = section.split("<figure").nth(1).unwrap();
    assert_eq!(chart.matches("<circle class=\"void\"").count(), 1);
    let counting = chart.matches("<circle class=\"used\"").count()
        + chart.matches("<circle class=\"late\"").count();
    assert_eq!(counting, 5);
    assert!(chart.contains(">decided</text>"), "{chart}");
    assert!(
        chart.contains("<td>void: the engine of the current side died</td>"),
        "{chart}"
    );
    // The second pair was measured head first, and its line has the sides' own values.
    let metric = sample
        .decision
        .metrics
        .iter()
        .find(|one| one.gating && one.verdict == Verdict::Regressed)
        .unwrap();
    let run = &sample.baseline.as_ref().unwrap().runs[1];
    let value = run.scenarios[&metric.change.scenario].metrics[&metric.change.metric.name];
    let digits: String = format!("{value:.4}").chars().take(4).collect();
    let chart = chart.replace("1 ", "1");
    let row = chart
        .split("<tr>")
        .find(|row| row.contains("<td>head</td>"));
    assert!(row.unwrap().contains(&digits), "{digits} in {row:?}");
}

#[test]
fn without_the_file_of_pairs_the_dots_are_still_there() {
    let mut sample = decided(Some(BASE), slower(1.08, BASE), &GatePolicy::default());
    sample.pairs = None;
    let html = html(&sample);
    let section = html.split("<h2>Pair by pair</h2>").nth(1).unwrap();
    let chart = section.split("<figure").nth(1).unwrap();
    assert!(chart.contains("<circle class=\"used\""), "{chart}");
    assert!(comment("pairs-only-logs", &sample).contains("\n8 runs in 4 pairs of"));
}

#[test]
fn a_loud_runner_is_told_to_be_quiet() {
    let loud = Side {
        noise: 0.6,
        runs: 12,
        ..BASE
    };
    let sample = decided(Some(loud), loud, &GatePolicy::default());
    assert_eq!(sample.decision.verdict, Verdict::Inconclusive);
    let text = comment("loud", &sample);
    for said in [
        "> Not proven either way: ",
        " cannot be proven like this.",
        "**What now**\n- Quieten the runner: one run differs from the next by ",
        "not even 30 pairs would decide",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(!text.to_lowercase().contains("no regression"), "{text}");
}

#[test]
fn a_little_more_of_the_same_is_named_by_its_setting() {
    let noisy = Side {
        noise: 0.09,
        runs: 12,
        ..BASE
    };
    let sample = decided(Some(noisy), slower(1.04, noisy), &GatePolicy::default());
    assert_eq!(sample.decision.verdict, Verdict::Inconclusive);
    let text = comment("more-pairs", &sample);
    assert!(text.contains("\n- Set <code>pairs: "), "{text}");
    assert!(
        text.contains(" pairs would decide, and 12 were measured."),
        "{text}"
    );

    // Pairs that the time cut short need time, not a larger maximum.
    let few = Side { runs: 3, ..noisy };
    let mut sample = decided(Some(few), slower(1.03, few), &GatePolicy::default());
    sample.comparison.stopped = Some("the time budget is used up".to_owned());
    for judged in &mut sample.decision.metrics {
        judged.remedy = judged.remedy.map(|_| Remedy::Pairs(9));
    }
    let text = comment("more-time", &sample);
    let step = "- Raise <code>time-budget</code>: about 9 pairs would decide, and 3 were measured.";
    assert!(text.contains(step), "{text}");
    assert!(
        text.contains("stopped early: the time budget is used up."),
        "{text}"
    );
}

#[test]
fn history_says_which_jobs() {
    let base = Side { runs: 1, ..BASE };
    let sample = decided_by_history(base, base, 12);
    // Commits and digests in running text are cut unseen.
    let text = comment("history", &sample).replace('\u{200d}', "");
    for said in [
        "\nThis job against 12 jobs since 0000000 (2026-01-02).\n",
        "Student's t against the comparable jobs before this one: 12",
        "| 12 jobs<br><sub>",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let designs = sample.decision.metrics.iter();
    let designs = designs.filter_map(|one| one.change.estimate.map(|estimate| estimate.design));
    assert!(designs.collect::<Vec<_>>().contains(&Design::History));
}

#[test]
fn one_job_against_one_says_what_would_decide() {
    let base = Side { runs: 1, ..BASE };
    let sample = decided(Some(base), slower(1.03, base), &GatePolicy::default());
    let text = comment("provisional", &sample);
    for said in [
        "\n**Provisional**: one job against one, and how much jobs differ by themselves is assumed, not seen: a worsening below ",
        " % cannot be proven like this.\n",
        "- Set <code>baseline: ab</code>, so that baseline and current take turns on one machine.",
        "| 1 v 1<br>",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(html(&sample).contains("<li class=\"pill\">Provisional</li>"));
}

#[test]
fn what_differs_stands_in_a_table_with_why_it_matters() {
    let sample = sample::incomparable();
    // Commits and digests in running text are cut unseen.
    let text = comment("incomparable", &sample).replace('\u{200d}', "");
    let table = "| Why not comparable | Baseline | Current | Why it matters |\n|---|---|---|---|\n\
        | ⚠️ **gpu.name** | NVIDIA H100 80GB HBM3 | NVIDIA L40S | model of the GPUs: other hardware, other speed |\n";
    assert!(text.contains(table), "{text}");
    let under_test =
        "| **engine.digest** | sha256:1111aaaa | sha256:2222bbbb | the change under test |";
    assert!(text.contains(under_test), "{text}");
    assert!(
        !text.contains("−50.7 %") && !text.contains("+94.3 %"),
        "{text}"
    );
    let html = html(&sample);
    assert!(html.contains("<h2>Why not comparable</h2>"), "{html}");
    assert!(html.contains("<td>the change under test</td>"), "{html}");
}

#[test]
fn what_the_policy_makes_of_it_is_said_first() {
    let mut sample = sample::regression();
    sample.decision.accepted = Some(Acceptance {
        label: "inference-cost-accepted".to_owned(),
        reason: "the new sampler @octocat wanted".to_owned(),
        metrics: vec!["tpot_ms.p50".to_owned()],
        by: Some("octocat".to_owned()),
        at: Some("2026-01-31T16:05:00Z".to_owned()),
    });
    sample.decision.stage = Stage::Warn;
    sample.decision.warnings = vec!["output throughput would have closed the gate".to_owned()];
    sample.decision.metrics[0].stage = Stage::Warn;
    let text = comment("accepted", &sample);
    for said in [
        "**Accepted**: tpot\\_ms.p50, by the label inference-cost-accepted, set by octocat at 2026-01-31T16:05:00Z: the new sampler ",
        "**Stage**: the policy warns here and blocks nothing.",
        "**Warning**: output throughput would have closed the gate",
        "| ❌ regressed, warns |",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(!text.contains(" @octocat"), "{text}");
    let printed = terminal(&sample.decision, &sample.comparison, Colour::Off);
    assert!(printed.contains("WARNING: output throughput"), "{printed}");
    assert!(printed.contains("inference-cost-accepted"), "{printed}");
}

#[test]
fn a_shift_of_the_base_branch_is_told_apart_from_the_verdict() {
    let mut sample = sample::unchanged();
    sample.decision.shifts = vec![Shift {
        scenario: "latency".to_owned(),
        metric: "ttft_ms.p50".to_owned(),
        commit: None,
        at: None,
        before: 88.0,
        after: 93.4,
        worse: Some(true),
        words: "TTFT p50 of latency: shift since abc1234 (2026-01-15), +6.1 %".to_owned(),
    }];
    // Commits and digests in running text are cut unseen.
    let text = comment("shift", &sample).replace('\u{200d}', "");
    let said = "**On the base branch**, no part of the verdict\n- TTFT p50 of latency: shift since abc1234 (2026-01-15), +6.1 %\n";
    assert!(text.contains(said), "{text}");
    assert!(html(&sample).contains("<h2>On the base branch</h2>"));
}

fn json(sample: &Sample) -> serde_json::Value {
    let value = comparison_json(&sample.decision, &sample.comparison);
    serde_json::from_str(&value.to_string()).unwrap()
}

fn metric<'a>(document: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let metrics = document["metrics"].as_array().unwrap();
    metrics.iter().find(|one| one["metric"] == name).unwrap()
}

#[test]
fn the_document_for_programs_holds_what_each_design_rests_on() {
    let base = Side { runs: 6, ..BASE };
    let pairs = json(&decided(
        Some(base),
        slower(1.08, base),
        &GatePolicy::default(),
    ));
    assert_eq!(pairs["schema_version"], 1);
    assert_eq!(pairs["family"]["tests"], 12);
    assert_eq!(pairs["family"]["alpha"], 0.01);
    assert_eq!(pairs["planned_pairs"], 12);
    assert_eq!(pairs["stopped"], "all gating metrics are decided");
    let tpot = metric(&pairs, "tpot_ms.p50");
    assert_eq!(tpot["design"], "paired");
    assert_eq!(tpot["pairs"]["measured"], 6);
    assert_eq!(tpot["pairs"]["log_ratios"].as_array().unwrap().len(), 6);
    assert_eq!(tpot["pairs"]["used"], tpot["estimate"]["runs"]["baseline"]);
    assert_eq!(tpot["pairs"]["prior"]["df"], 8.0);
    // The look's own share of the error of its test, not all of it.
    let alpha = tpot["levels"]["alpha"].as_f64().unwrap();
    assert!(alpha > 0.0 && alpha < 0.01 / 12.0, "{alpha}");
    let level = tpot["confidence"].as_f64().unwrap();
    assert!((level - (1.0 - 2.0 * alpha)).abs() < 1e-12, "{level}");
    for number in ["spread", "detectable", "change"] {
        assert!(tpot[number].as_f64().unwrap() > 0.0, "{number}");
    }
    let memory = metric(&pairs, "gpu_memory_peak_gb");
    assert_eq!(memory["design"], "exact");
    assert!(memory["pairs"].is_null());
    let errors = metric(&pairs, "error_rate");
    assert_eq!(errors["design"], "shares");
    assert!(errors["counts"]["current"]["trials"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_document_for_programs_knows_history_and_one_against_one() {
    let single = Side { runs: 1, ..BASE };
    let history = json(&decided_by_history(single, single, 12));
    let tpot = metric(&history, "tpot_ms.p50");
    assert_eq!(tpot["design"], "history");
    assert_eq!(tpot["estimate"]["runs"]["baseline"], 12);
    assert!(tpot["spread"].as_f64().unwrap() > 0.0);
    assert!(history["planned_pairs"].is_null() && history["stopped"].is_null());

    let one = json(&decided(
        Some(single),
        slower(1.03, single),
        &GatePolicy::default(),
    ));
    let tpot = metric(&one, "tpot_ms.p50");
    assert_eq!(tpot["design"], "single");
    assert_eq!(tpot["verdict"], "inconclusive");
    assert_eq!(tpot["remedy"]["setting"], "baseline");
    assert_eq!(tpot["remedy"]["value"], "ab");
    assert!(tpot["pairs"].is_null());
}
