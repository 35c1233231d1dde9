//! Other tools' numbers, made from recorded streams of the shapes that tell them apart. The
//! expected values are worked by hand from the definitions; where the tools were run against
//! such a stream, what they printed stands in a comment.

use std::collections::BTreeMap;

use kitt_action::{
    load::RequestTrace,
    measure::{Dialect, DialectAccumulator, DialectReport, request_times},
    results::{Limits, traces},
};

use crate::harness::fixture;

fn recorded(name: &str) -> Vec<RequestTrace> {
    let path = fixture(&format!("streams/{name}.jsonl"));
    let read = traces(&path, &Limits::default()).unwrap();
    read.map(|request| request.unwrap().trace).collect()
}

fn report(name: &str, dialect: Dialect) -> DialectReport {
    let mut accumulator = DialectAccumulator::new(dialect);
    for trace in recorded(name) {
        accumulator.add(&trace);
    }
    accumulator.finish()
}

/// Every expected key is there with its value, to a hundred thousandth.
fn says(name: &str, dialect: Dialect, expected: &[(&str, f64)]) {
    let report = report(name, dialect);
    for (key, wanted) in expected {
        let found = report.value(key);
        let near = found.is_some_and(|found| (found - wanted).abs() < 1e-5);
        assert!(
            near,
            "{name}, {}, {key}: {found:?} is not {wanted}",
            dialect.name()
        );
    }
}

/// Gaps of `streams/stall`: 60 of 10 ms and 3 of 60 ms in each of 4 answers.
const STALLED_MEAN: f64 = (60.0 * 10.0 + 3.0 * 60.0) / 63.0; // 12.38

#[test]
fn a_role_event_at_once_is_vllms_first_token() {
    // Sent at 0, role at 0.18, tokens at 50, 60, … 680, usage at 680.02, [DONE] at 680.07.
    let ours = request_times(&recorded("role-at-once")[0]).unwrap();
    assert!((ours.ttft_ms - 50.0).abs() < 1e-9);
    // Measured: 0.18 (vllm-bench), 3.1 (Python).
    let vllm = [
        ("mean_ttft_ms", 0.18),
        ("p99_ttft_ms", 0.18),
        // The wait for the first token is an ITL sample of 49.82, once in 64.
        ("mean_itl_ms", (49.82 + 63.0 * 10.0) / 64.0),
        ("median_itl_ms", 10.0),
        ("mean_tpot_ms", (680.0 - 0.18) / 63.0),
        ("mean_e2el_ms", 680.0),
        ("completed", 4.0),
        ("failed", 0.0),
        ("total_input_tokens", 432.0),
        ("total_output_tokens", 256.0),
        // First send at 0, last end at 3680.07 ms.
        ("duration", 3.680_07),
        ("request_throughput", 4.0 / 3.680_07),
        ("output_throughput", 256.0 / 3.680_07),
        ("total_token_throughput", 688.0 / 3.680_07),
    ];
    says("role-at-once", Dialect::Vllm, &vllm);
    let sglang = [
        ("mean_ttft_ms", 50.0),
        ("mean_itl_ms", 10.0),
        // With [DONE] in the latency: (680.07 - 50) / 63.
        ("mean_e2e_latency_ms", 680.07),
        ("mean_tpot_ms", 630.07 / 63.0),
        ("concurrency", 4.0 * 0.680_07 / 3.680_07),
    ];
    says("role-at-once", Dialect::Sglang, &sglang);
    let guidellm = [
        ("time_to_first_token_ms.successful.mean", 50.0),
        ("inter_token_latency_ms.successful.mean", 10.0),
        // (last - T0) / n: 680 / 64, where (E2E - TTFT) / (n - 1) is 10. Measured: + 0.64.
        ("time_per_output_token_ms.successful.mean", 10.625),
        // From the very first token at 50 ms to the very last at 3680.
        ("output_tokens_per_second.successful.mean", 256.0 / 3.63),
        ("requests_per_second.successful.mean", 4.0 / 3.680_07),
        ("request_latency.successful.median", 0.680_07),
        ("output_token_count.successful.total_sum", 256.0),
    ];
    says("role-at-once", Dialect::GuideLlm, &guidellm);
    let aiperf = [
        ("time_to_first_token.avg", 50.0),
        ("inter_token_latency.p99", 10.0),
        ("request_latency.avg", 680.0),
        ("benchmark_duration.avg", 3.68),
        ("output_token_throughput.avg", 256.0 / 3.68),
        ("time_to_second_token.p50", 10.0),
    ];
    says("role-at-once", Dialect::Aiperf, &aiperf);
}

#[test]
fn a_role_event_at_once_is_nothing_to_inference_perf() {
    let inference_perf = [
        ("successes.latency.time_to_first_token.mean", 0.05),
        ("successes.latency.time_per_output_token.mean", 0.01),
        (
            "successes.latency.normalized_time_per_output_token.mean",
            0.680_07 / 64.0,
        ),
        ("successes.latency.request_latency.median", 0.680_07),
        (
            "successes.throughput.output_tokens_per_sec",
            256.0 / 3.680_07,
        ),
        ("load_summary.schedule_delay.mean", 0.0),
    ];
    says("role-at-once", Dialect::InferencePerf, &inference_perf);
}

#[test]
fn four_tokens_in_a_chunk_are_four_tokens_to_some_only() {
    // Role at 49.99, chunks at 50, 60, … 200 ms, 64 tokens in all: true mean gap 150 / 63.
    let per_token = 150.0 / 63.0; // 2.38
    // Measured: 9.38 (vllm-bench), 9.36 (Python).
    let vllm = [
        ("mean_itl_ms", (0.01 + 15.0 * 10.0) / 16.0), // 9.376
        ("mean_tpot_ms", (200.0 - 49.99) / 63.0),     // 2.381
    ];
    says("four-per-chunk", Dialect::Vllm, &vllm);
    // Measured: 9.98, TPOT 2.38.
    let sglang = [("mean_itl_ms", 10.0), ("mean_tpot_ms", 150.07 / 63.0)];
    says("four-per-chunk", Dialect::Sglang, &sglang);
    let guidellm = [("inter_token_latency_ms.successful.median", per_token)];
    says("four-per-chunk", Dialect::GuideLlm, &guidellm);
    // Measured: ITL 2.39, ICL 10.0.
    let aiperf = [
        ("inter_token_latency.avg", per_token),
        ("inter_chunk_latency.avg", 10.0),
    ];
    says("four-per-chunk", Dialect::Aiperf, &aiperf);
    // Three tokens of a chunk come 0 after the one before: 48 zeros and 15 gaps of 10.
    let inference_perf = [
        (
            "successes.latency.inter_token_latency.mean",
            per_token / 1e3,
        ),
        ("successes.latency.inter_token_latency.median", 0.0),
        ("successes.latency.inter_token_latency.p90", 0.01),
    ];
    says("four-per-chunk", Dialect::InferencePerf, &inference_perf);
}

#[test]
fn a_stall_hides_in_a_mean_per_request() {
    // Measured: GuideLLM 12.5, AIPerf's headline ITL 12.4 and its ICL 60.6; true 60.
    let guidellm = [
        (
            "inter_token_latency_ms.successful.percentiles.p99",
            STALLED_MEAN,
        ),
        (
            "time_per_output_token_ms.successful.mean",
            (50.0 + 780.0) / 64.0,
        ),
    ];
    says("stall", Dialect::GuideLlm, &guidellm);
    let aiperf = [
        ("inter_token_latency.p99", STALLED_MEAN),
        ("inter_chunk_latency.p99", 60.0),
    ];
    says("stall", Dialect::Aiperf, &aiperf);
    // 12 of 252 gaps are 60 ms; position 0.99 · 251 lies among them.
    says(
        "stall",
        Dialect::Vllm,
        &[("p99_itl_ms", 60.0), ("mean_itl_ms", STALLED_MEAN)],
    );
    says("stall", Dialect::Sglang, &[("p99_itl_ms", 60.0)]);
    let inference_perf = [("successes.latency.inter_token_latency.p99", 0.06)];
    says("stall", Dialect::InferencePerf, &inference_perf);
}

#[test]
fn reasoning_is_output_to_all() {
    // 8 chunks of reasoning from 50 ms on, 8 of content from 130 ms on.
    says("reasoning-first", Dialect::Vllm, &[("mean_ttft_ms", 50.0)]);
    says(
        "reasoning-first",
        Dialect::Sglang,
        &[("mean_ttft_ms", 50.0)],
    );
    let guidellm = [
        ("time_to_first_token_ms.successful.median", 50.0),
        ("time_to_first_output_token_ms.successful.median", 130.0),
    ];
    says("reasoning-first", Dialect::GuideLlm, &guidellm);
    let aiperf = [
        ("time_to_first_token.p50", 50.0),
        ("time_to_first_output_token.p50", 130.0),
    ];
    says("reasoning-first", Dialect::Aiperf, &aiperf);
    let inference_perf = [("successes.latency.time_to_first_token.mean", 0.05)];
    says("reasoning-first", Dialect::InferencePerf, &inference_perf);
}

#[test]
fn an_error_inside_the_stream_is_a_success_to_four_of_five() {
    // 12 good answers of 64 tokens, 4 that broke off after 32 of 64.
    // Measured: 16 ok and 1024 tokens.
    let sglang = [("completed", 16.0), ("total_output_tokens", 1024.0)];
    says("error-mid-stream", Dialect::Sglang, &sglang);
    // Measured: 16 ok. Delivered: 12 · 64 + 4 · 32.
    let vllm = [
        ("completed", 16.0),
        ("failed", 0.0),
        ("total_output_tokens", 896.0),
    ];
    says("error-mid-stream", Dialect::Vllm, &vllm);
    let aiperf = [
        ("request_count.avg", 16.0),
        ("error_request_count.avg", 0.0),
    ];
    says("error-mid-stream", Dialect::Aiperf, &aiperf);
    let inference_perf = [("successes.count", 16.0), ("failures.count", 0.0)];
    says("error-mid-stream", Dialect::InferencePerf, &inference_perf);
    let guidellm = [
        ("request_totals.successful", 12.0),
        ("request_totals.errored", 4.0),
    ];
    says("error-mid-stream", Dialect::GuideLlm, &guidellm);
    let limits = report("error-mid-stream", Dialect::Vllm).limits.join("\n");
    assert!(
        limits.contains("4 answers count as successes here"),
        "{limits}"
    );
    assert!(
        limits.contains("kitt stops reading at the error"),
        "{limits}"
    );
}

#[test]
fn a_role_without_an_answer_is_a_success_to_two() {
    // 12 good answers, 4 of a role and nothing else. Measured: vLLM and inference-perf 16 ok.
    says("role-only", Dialect::Vllm, &[("completed", 16.0)]);
    let inference_perf = [
        ("successes.count", 16.0),
        // The 12 have a first token, the 4 have none: they add nothing to TTFT.
        ("successes.latency.time_to_first_token.mean", 0.05),
    ];
    says("role-only", Dialect::InferencePerf, &inference_perf);
    says("role-only", Dialect::Sglang, &[("completed", 12.0)]);
    says(
        "role-only",
        Dialect::GuideLlm,
        &[("request_totals.errored", 4.0)],
    );
    says(
        "role-only",
        Dialect::Aiperf,
        &[("error_request_count.avg", 4.0)],
    );
    // Role to first token 0.01, then 63 gaps of 10, in each of the 12; the 4 have one event.
    says(
        "role-only",
        Dialect::Vllm,
        &[("mean_itl_ms", 630.01 / 64.0)],
    ); // 9.84; measured 9.82
}

#[test]
fn without_usage_each_counts_its_own_way() {
    // 16 answers of 64 tokens with a role event each. Measured: 1040 (role counted), 1024 (the
    // requested number), GuideLLM right by counting chunks.
    says(
        "no-usage",
        Dialect::Vllm,
        &[("total_output_tokens", 1040.0)],
    );
    says(
        "no-usage",
        Dialect::Sglang,
        &[("total_output_tokens", 1024.0)],
    );
    let guidellm = [("output_token_count.successful.total_sum", 1024.0)];
    says("no-usage", Dialect::GuideLlm, &guidellm);
    says("no-usage", Dialect::Aiperf, &[("total_osl.avg", 1024.0)]);
    for dialect in Dialect::ALL {
        let limits = report("no-usage", dialect).limits.join("\n");
        assert!(limits.contains("16 answers had no usage"), "{limits}");
    }
}

#[test]
fn a_comment_leaves_no_mark_and_a_finish_event_does() {
    // Tokens at 50, 60, … 200 ms, the finish event at 200.4, usage at 200.42.
    let vllm = [
        ("mean_ttft_ms", 50.0),
        ("mean_itl_ms", 150.4 / 16.0),
        ("mean_e2el_ms", 200.4),
        ("mean_tpot_ms", 150.4 / 15.0),
    ];
    says("ping", Dialect::Vllm, &vllm);
    says(
        "ping",
        Dialect::Sglang,
        &[("mean_ttft_ms", 50.0), ("mean_itl_ms", 10.0)],
    );
    let limits = report("ping", Dialect::Vllm).limits.join("\n");
    assert!(limits.contains("vllm-bench"), "{limits}");
}

#[test]
fn a_late_send_is_in_no_tools_times_but_ours() {
    let mut late = recorded("ping").remove(0);
    late.sent_at += std::time::Duration::from_millis(20);
    let ours = request_times(&late).unwrap();
    assert!((ours.ttft_ms - 50.0).abs() < 1e-9);
    for (dialect, key, expected) in [
        (Dialect::Vllm, "mean_ttft_ms", 30.0),
        (Dialect::Sglang, "mean_ttft_ms", 30.0),
        (
            Dialect::GuideLlm,
            "time_to_first_token_ms.successful.mean",
            30.0,
        ),
        (Dialect::Aiperf, "time_to_first_token.avg", 30.0),
        (
            Dialect::InferencePerf,
            "successes.latency.time_to_first_token.mean",
            0.03,
        ),
        (
            Dialect::InferencePerf,
            "load_summary.schedule_delay.mean",
            0.02,
        ),
    ] {
        let mut accumulator = DialectAccumulator::new(dialect);
        accumulator.add(&late);
        let found = accumulator.finish().value(key).unwrap();
        assert!(
            (found - expected).abs() < 1e-9,
            "{} {found}",
            dialect.name()
        );
    }
}

#[test]
fn guidellm_weights_by_tokens() {
    // 16 tokens with a gap of 10 and 64 with one of 12.38: (15 · 10 + 63 · 12.38) / 78.
    let mut accumulator = DialectAccumulator::new(Dialect::GuideLlm);
    accumulator.add(&recorded("ping")[0]);
    accumulator.add(&recorded("stall")[0]);
    let found = accumulator.finish();
    let mean = found
        .value("inter_token_latency_ms.successful.mean")
        .unwrap();
    assert!((mean - (150.0 + 780.0) / 78.0).abs() < 1e-9, "{mean}");
}

#[test]
fn every_table_says_how_it_differs_and_what_is_missing() {
    let ours = BTreeMap::from([("ttft_ms.mean".to_owned(), 50.0)]);
    for dialect in Dialect::ALL {
        let report = report("role-at-once", dialect);
        assert!(report.metrics.iter().all(|metric| !metric.why.is_empty()));
        assert!(report.limits.len() >= 2);
        let table = report.table(&ours);
        assert!(table.starts_with(dialect.tool()), "{table}");
        assert!(table.lines().all(|line| line == line.trim_end()));
        assert!(report.json().is_object());
    }
    let table = report("role-at-once", Dialect::Vllm).table(&ours);
    assert!(table.contains("mean_ttft_ms (ms)"), "{table}");
    let row = table
        .lines()
        .find(|line| line.starts_with("mean_ttft_ms"))
        .unwrap();
    let cells: Vec<&str> = row.split_whitespace().take(4).collect();
    assert_eq!(cells, ["mean_ttft_ms", "(ms)", "0.18", "50.00"]);
}
