//! A regression that somebody accepts.

use super::{Bench, PLAIN, SLOW};

const POLICY: &str = "policy: {accept: {label: kitt/accept-regression}}";
const LABEL: &[&str] = &["kitt/accept-regression"];

fn bench(labels: &[&str], body: &str) -> Bench {
    Bench::against(PLAIN, SLOW)
        .config(POLICY)
        .pull_request("main", labels, body)
}

#[test]
fn a_label_and_a_reason_open_the_gate() {
    let said = bench(
        LABEL,
        "Adds guards.\r\nKitt-Accept: guards cost a pass\u{202e}",
    )
    .gate(&[]);
    let said = said
        .ends(0)
        .says("gate: passed (verdict: regressed, stage: block)");
    said.row(&["output_tps", "accepted"]);
    said.row(&["Accepted by the label `kitt/accept-regression`: guards cost a pass (output_tps)."]);
    bench(LABEL, "")
        .gate(&["--accept-reason", "costs a pass"])
        .ends(0)
        .says("costs a pass");
    bench(LABEL, "")
        .variable("KITT_INPUT_ACCEPT_REASON", "why")
        .gate(&[])
        .ends(0);
    let document = bench(LABEL, "kitt-accept: why")
        .gate(&["--json"])
        .ends(0)
        .json();
    assert_eq!(document["accepted"]["reason"], "why");
    assert_eq!(document["accepted"]["metrics"][0], "output_tps");
    assert_eq!(document["gate"]["state"], "passed");
}

#[test]
fn one_without_the_other_does_not_count_and_says_what_to_do() {
    let said = bench(LABEL, "Adds guards. <!-- kitt-accept: example -->")
        .gate(&[])
        .ends(10);
    insta::assert_snapshot!(said.row(&["does not count without a reason"]), @"1 of 2 gating metrics regressed; the worst, in latency: output throughput is 50.0 % lower (99 % interval −59.2 % to −38.7 %, one job against one): proven worse by more than 1 %. Find what slowed it, or say why it is worth it. The label `kitt/accept-regression` does not count without a reason: write a line `kitt-accept: <why>` in the pull request's description, or set accept-reason.");
    let said = bench(&["other"], "kitt-accept: guards cost a pass")
        .gate(&[])
        .ends(10);
    said.row(&[
        "does not count without the label",
        "`kitt/accept-regression`",
    ]);
    let said = bench(&[], "").gate(&[]).ends(10);
    said.row(&[
        "To accept the cost, set the label",
        "write a line `kitt-accept: <why>`",
    ]);
    // Nobody allowed it.
    let said = Bench::against(PLAIN, SLOW)
        .pull_request("main", LABEL, "kitt-accept: why")
        .gate(&[]);
    said.ends(10)
        .row(&["Find what slowed it, or widen its limit"]);
}

#[test]
fn only_what_the_policy_and_the_reason_name_is_accepted() {
    let only = "policy: {accept: {label: kitt/accept-regression, metrics: ['ttft_ms.*']}}";
    let bench = |config: &str, body: &str| {
        Bench::against(PLAIN, SLOW)
            .config(config)
            .pull_request("main", LABEL, body)
            .gate(&[])
    };
    bench(only, "kitt-accept: why").ends(10);
    bench(POLICY, "kitt-accept(ttft_ms.*): why").ends(10);
    bench(POLICY, "kitt-accept(output_*): why").ends(0);
}

#[test]
fn a_broken_limit_is_accepted_only_where_the_policy_says_so() {
    let config = |limits: bool| {
        format!(
            "limits: [{{metric: ttft_ms.p50, max: 1}}]\n\
             policy: {{accept: {{label: kitt/accept-regression, limits: {limits}}}}}"
        )
    };
    let gate = |limits| {
        let bench = Bench::new(PLAIN).config(&config(limits));
        bench
            .pull_request("main", LABEL, "kitt-accept: why")
            .gate(&[])
    };
    gate(false).ends(12);
    gate(true).ends(0).row(&["ttft_ms.p50", "accepted"]);
}
