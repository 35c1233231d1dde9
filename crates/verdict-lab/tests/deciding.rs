//! `docs/deciding.md` states the constants that the code has, and the tables are there.

use std::fs;

use kitt_action::{
    compare::{FEWEST_JOBS, MOST_PRIOR_DF, exact_tolerance, needed_requests, run_cv},
    metric::Statistic,
    verdict::{GatePolicy, Looks, Zone},
};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/deciding.md");
    fs::read_to_string(path).expect("docs/deciding.md is there")
}

fn percent(share: f64) -> String {
    format!("{}", (share * 1e4).round() / 100.0)
}

fn zone(statistic: Statistic, unit: &str) -> String {
    let zone = Zone::of(statistic);
    let (min, gate) = (percent(zone.min_effect), percent(zone.gate_effect));
    match unit {
        "%" => format!("{min} % / {gate} %"),
        _ => format!("{min} / {gate} {unit}"),
    }
}

#[test]
fn the_constants_are_those_of_the_code() {
    use Statistic::{Max, Mean, P50, P90, P95, P99, Proportion};
    let policy = GatePolicy::default();
    let looks: Vec<String> = Looks::up_to(12).at().iter().map(usize::to_string).collect();
    let run_cv = |statistic| format!("{} %", percent(run_cv(statistic, None)));
    let needed = |statistic| needed_requests(statistic).to_string();
    for alike in [[Mean, P50], [P90, P95], [P99, Max]] {
        assert_eq!(Zone::of(alike[0]), Zone::of(alike[1]), "one row for both");
    }
    let rows = [
        ("family-wise alpha", policy.alpha.to_string()),
        ("beta", policy.beta.to_string()),
        ("looks", looks.join(", ")),
        ("min_effect / gate_effect: mean, p50", zone(P50, "%")),
        ("min_effect / gate_effect: p90, p95", zone(P90, "%")),
        ("min_effect / gate_effect: p99, extremes", zone(P99, "%")),
        (
            "min_effect / gate_effect: shares",
            zone(Proportion, "points"),
        ),
        ("requests to gate: mean, p50", needed(P50)),
        ("requests to gate: p90", needed(P90)),
        ("requests to gate: p95", needed(P95)),
        ("requests to gate: p99, extremes", needed(P99)),
        (
            "degrees of freedom of a learned noise",
            format!("{MOST_PRIOR_DF} at most"),
        ),
        ("past jobs", format!("{FEWEST_JOBS} at least")),
        ("assumed run CV", run_cv(P50)),
        ("the same at p90, p95", run_cv(P90)),
        ("the same at p99 and beyond", run_cv(P99)),
        (
            "exact quantities",
            format!(
                "{} % or {} MiB, the larger",
                percent(exact_tolerance(1e6) / 1e6),
                exact_tolerance(0.0) * 1024.0
            ),
        ),
    ];
    let text = document();
    for (name, value) in rows {
        let row = format!("| {name} | {value} |");
        assert!(text.contains(&row), "docs/deciding.md has no row {row}");
    }
}

#[test]
fn the_tables_were_written() {
    let text = document();
    for title in [
        "### Pairs, noise learned before",
        "### History, then pairs",
        "### One run against one",
        "### Pairs under other laws",
        "### The same pull requests through other rules",
        "### Change points",
    ] {
        assert!(
            text.contains(title),
            "run scripts/verdict-lab.sh: {title} is missing"
        );
    }
}
