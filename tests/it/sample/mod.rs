//! Decisions to render: invented numbers, shaped like the stages make them.

pub mod real;

use std::collections::BTreeMap;

use kitt_action::{
    compare::{Change, Comparison, Design, Difference, Estimate, Noise, PairedLogs, Reference},
    measure::Validity,
    metric::describe,
    render::{Documents, NoBaseline, ReportContext, ReportInput, render},
    results::{
        Fingerprint, Origin, Pairs, Provenance, ResultSet, RunRecord, RunStatus, ScenarioRecord,
    },
    verdict::{
        Decision, Family, Gate, Judged, Levels, Limit, LimitCheck, Remedy, Stage, Verdict, Zone,
    },
};

/// Everything a report is made of, owned.
#[derive(Debug, Clone)]
pub struct Sample {
    pub decision: Decision,
    pub comparison: Comparison,
    pub current: ResultSet,
    pub baseline: Option<ResultSet>,
    pub no_baseline: String,
    pub pairs: Option<Pairs>,
    pub context: ReportContext,
}

impl Sample {
    pub fn render(&self) -> Documents {
        render(&self.input()).unwrap()
    }

    pub fn input(&self) -> ReportInput<'_> {
        ReportInput {
            decision: &self.decision,
            comparison: &self.comparison,
            current: &self.current,
            baseline: self.baseline.as_ref().ok_or(NoBaseline(&self.no_baseline)),
            pairs: self.pairs.as_ref(),
            context: &self.context,
        }
    }
}

/// One metric: name, base, head, standard error of the log-ratio, verdict.
pub type Line = (&'static str, &'static str, f64, f64, f64, Verdict);

const GATING: [&str; 5] = [
    "output_tps",
    "ttft_ms.p50",
    "tpot_ms.p50",
    "itl_ms.mean",
    "e2e_ms.p90",
];

/// A first token that nothing happened to.
const STEADY_TTFT: Line = (
    "latency",
    "ttft_ms.p50",
    88.0,
    88.2,
    0.006,
    Verdict::Unchanged,
);

pub fn judged(line: Line, design: Design) -> Judged {
    let (scenario, name, base, head, error, verdict) = line;
    let metric = describe(name);
    let label = metric.label.clone();
    let gating = GATING.contains(&name);
    let log_ratio = (head / base).ln();
    let quantile = 2.9;
    let zone = Zone::of(metric.statistic);
    Judged {
        change: Change {
            baseline: Some(base),
            current: Some(head),
            requests: Some(200),
            estimate: Some(Estimate {
                log_ratio,
                standard_error: error,
                reference: Reference::StudentT(6.0),
                design,
                runs: if design == Design::Single {
                    (1, 1)
                } else {
                    (4, 4)
                },
            }),
            pairs: (design == Design::Paired).then(|| five_pairs(log_ratio, error)),
            spread: Some(0.006),
            ..Change::new(scenario, metric)
        },
        verdict,
        gating,
        stage: if gating { Stage::Block } else { Stage::Observe },
        stands: if gating && verdict == Verdict::Regressed {
            Stage::Block
        } else {
            Stage::Observe
        },
        needs: None,
        zone: gating.then_some(zone),
        interval: Some((
            (log_ratio - quantile * error).exp_m1(),
            (log_ratio + quantile * error).exp_m1(),
        )),
        confidence: Some(0.97),
        levels: Some(Levels {
            alpha: 0.015,
            beta: 0.05,
        }),
        q: None,
        detectable: Some((quantile * error + zone.min_effect).exp_m1()),
        remedy: (verdict == Verdict::Inconclusive).then_some(match design {
            Design::Paired => Remedy::Pairs(9),
            Design::Single | Design::History | Design::Exact => Remedy::Interleave,
        }),
        reason: format!("{label} {}", said(verdict)),
    }
}

/// Five pairs around a mean, of which four led to the decision.
fn five_pairs(log_ratio: f64, error: f64) -> PairedLogs {
    PairedLogs {
        log_ratios: [-1.0, 0.4, 1.2, -0.6, 0.1]
            .map(|step| log_ratio + step * error)
            .to_vec(),
        prior: Some(Noise {
            log_sd_pair: 0.008,
            df: 8.0,
        }),
    }
}

fn said(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Inconclusive => {
            "looks changed, not proven (97 % interval beside): about 9 pairs would settle it"
        }
        Verdict::Regressed => "is worse: proven worse by more than 1 %",
        Verdict::Incomparable => {
            "was not measured under the baseline's conditions: measure both sides alike"
        }
        Verdict::Improved => "is better: proven better by more than 1 %",
        Verdict::Missing => "was not measured, and the baseline has it",
        Verdict::New => "is not in the baseline, so there is nothing to compare",
        Verdict::Unchanged => "is the same: a worsening of 5 % is ruled out",
    }
}

fn values(seed: f64, middle: f64) -> Vec<Option<f64>> {
    (0..200_u32)
        .map(|place| {
            let wave = (f64::from(place) * 0.7548 + seed).fract();
            Some(middle * (0.92 + 0.06 * wave + 0.12 * wave.powi(6)))
        })
        .collect()
}

fn results(shift: f64, fingerprint: Fingerprint) -> ResultSet {
    let record = |number: u32, latency: f64| ScenarioRecord {
        passed: true,
        errors: Vec::new(),
        metrics: BTreeMap::new(),
        samples: BTreeMap::new(),
        sent: Some(200),
        ok: Some(200),
        output_tokens_mean: Some(128.0),
        validity: Some(Validity::Valid),
        per_request: BTreeMap::from([
            ("ttft_ms".to_owned(), values(f64::from(number), 88.0)),
            (
                "tpot_ms".to_owned(),
                values(f64::from(number), latency * shift),
            ),
        ]),
        facts: kitt_action::results::ScenarioFacts::default(),
    };
    ResultSet {
        origin: Origin::Own,
        path: "kitt-results/metrics.json".into(),
        status: RunStatus::Complete,
        suite: "standard".to_owned(),
        engine: "llama_cpp".to_owned(),
        model: "org/Tiny-Model_1B@a1b2c3d".to_owned(),
        timestamp: Some("2026-01-31T17:00:00Z".to_owned()),
        total_time_s: Some(300.0),
        provenance: Provenance {
            engine_version: Some("b4567".to_owned()),
            ..Provenance::default()
        },
        fingerprint: Some(fingerprint),
        runs: (1..=4)
            .map(|number| RunRecord {
                number,
                scenarios: BTreeMap::from([
                    ("batch_inference/c32".to_owned(), record(number, 11.2)),
                    ("latency".to_owned(), record(number, 6.1)),
                ]),
            })
            .collect(),
        facts: kitt_action::results::RunFacts::default(),
    }
}

fn fingerprint() -> Fingerprint {
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    Fingerprint {
        strict: pairs(&[
            ("cpu.model", "AMD EPYC 9354 32-Core"),
            ("gpu.count", "1"),
            ("workload", "sha256:0f3c9a"),
        ]),
        soft: pairs(&[
            ("gpu.driver", "570.124.06"),
            ("host.kernel", "6.8.0-45-generic"),
        ]),
        ..Fingerprint::default()
    }
}

/// A report of these lines with this overall verdict and gate.
pub fn sample(lines: &[Line], design: Design, verdict: Verdict, gate: Gate) -> Sample {
    let runs = if design == Design::Single {
        (1, 1)
    } else {
        (4, 4)
    };
    let metrics: Vec<Judged> = lines.iter().map(|line| judged(*line, design)).collect();
    Sample {
        comparison: Comparison {
            changes: metrics.iter().map(|one| one.change.clone()).collect(),
            fingerprint_differences: Vec::new(),
            soft_differences: Vec::new(),
            runs,
            planned_pairs: (design == Design::Paired).then_some(12),
            stopped: (design == Design::Paired)
                .then(|| "all gating metrics are decided".to_owned()),
        },
        decision: Decision {
            verdict,
            family: Family {
                alpha: 0.01,
                tests: lines.iter().filter(|line| GATING.contains(&line.1)).count(),
            },
            metrics,
            limits: Vec::new(),
            gate,
            stage: Stage::Block,
            warnings: Vec::new(),
            accepted: None,
            to_accept: None,
            shifts: Vec::new(),
        },
        current: results(1.09, fingerprint()),
        baseline: Some(results(1.0, fingerprint())),
        no_baseline: "no artifact of the base branch was found".to_owned(),
        pairs: None,
        context: ReportContext {
            key: Some("chat-h100".parse().unwrap()),
            head: Some("def5678901234567890123456789012345678901".to_owned()),
            base: Some("abc1234567890123456789012345678901234567".to_owned()),
            run_url: Some("https://github.com/org/repo/actions/runs/42".to_owned()),
            results: Some("artifact kitt-results".to_owned()),
            updated: "2026-01-31T17:05:00Z".to_owned(),
            attempt: Some(1),
            reproduce: Some("kitt run -m org/Tiny-Model_1B -e llama_cpp -s standard".to_owned()),
            config_diff: String::new(),
            ..ReportContext::default()
        },
    }
}

const BATCH: &str = "batch_inference/c32";

pub fn regression() -> Sample {
    use Verdict::{Improved, Inconclusive, Regressed, Unchanged};
    let lines = [
        (BATCH, "tpot_ms.p50", 11.23, 12.43, 0.004, Regressed),
        (BATCH, "output_tps", 2_860.0, 2_590.0, 0.006, Regressed),
        (BATCH, "e2e_ms.p90", 1_540.0, 1_583.0, 0.030, Inconclusive),
        ("latency", "ttft_ms.p50", 88.0, 79.0, 0.006, Improved),
        ("latency", "tpot_ms.p50", 6.12, 6.13, 0.004, Unchanged),
        ("latency", "itl_ms.mean", 6.10, 6.08, 0.005, Unchanged),
        (BATCH, "ttft_ms.p50", 402.0, 405.0, 0.006, Unchanged),
        (BATCH, "ttft_ms.p99", 880.0, 912.0, 0.050, Inconclusive),
        ("latency", "gpu_power_avg_w", 512.0, 515.0, 0.010, Unchanged),
    ];
    let mut sample = sample(
        &lines,
        Design::Paired,
        Regressed,
        Gate::Regression("2 gating metrics regressed".to_owned()),
    );
    sample.comparison.soft_differences = vec![Difference {
        key: "engine.digest".to_owned(),
        baseline: "sha256:1111aaaa".to_owned(),
        current: "sha256:2222bbbb".to_owned(),
    }];
    "--- base\n+++ head\n@@ -1,2 +1,2 @@\n engine: llama_cpp\n-threads: 8\n+threads: 7\n"
        .clone_into(&mut sample.context.config_diff);
    sample
}

pub fn improved() -> Sample {
    let lines = [
        (BATCH, "tpot_ms.p50", 11.23, 10.04, 0.004, Verdict::Improved),
        (
            BATCH,
            "output_tps",
            2_590.0,
            2_860.0,
            0.006,
            Verdict::Improved,
        ),
        STEADY_TTFT,
    ];
    sample(&lines, Design::Paired, Verdict::Improved, Gate::Passed)
}

pub fn unchanged() -> Sample {
    let lines = [
        (
            BATCH,
            "output_tps",
            2_860.0,
            2_855.0,
            0.004,
            Verdict::Unchanged,
        ),
        STEADY_TTFT,
    ];
    sample(&lines, Design::Paired, Verdict::Unchanged, Gate::Passed)
}

pub fn inconclusive() -> Sample {
    let lines = [
        (
            BATCH,
            "output_tps",
            2_860.0,
            2_741.0,
            0.051,
            Verdict::Inconclusive,
        ),
        (
            "latency",
            "ttft_ms.p50",
            88.0,
            90.1,
            0.050,
            Verdict::Inconclusive,
        ),
    ];
    sample(&lines, Design::Single, Verdict::Inconclusive, Gate::Off)
}

/// Several runs a side that do not suffice.
pub fn inconclusive_runs() -> Sample {
    use Verdict::Inconclusive;
    let lines = [
        ("latency", "ttft_ms.p50", 88.0, 92.1, 0.050, Inconclusive),
        (BATCH, "output_tps", 2_860.0, 2_841.0, 0.051, Inconclusive),
    ];
    sample(&lines, Design::Paired, Inconclusive, Gate::Passed)
}

pub fn incomparable() -> Sample {
    let lines = [
        (
            BATCH,
            "output_tps",
            2_860.0,
            1_410.0,
            0.004,
            Verdict::Incomparable,
        ),
        (
            "latency",
            "ttft_ms.p50",
            88.0,
            171.0,
            0.006,
            Verdict::Incomparable,
        ),
    ];
    let reason = "the two sides are not comparable and the policy is strict";
    let mut sample = sample(
        &lines,
        Design::Paired,
        Verdict::Incomparable,
        Gate::NotProven(reason.to_owned()),
    );
    sample.comparison.fingerprint_differences = vec![Difference {
        key: "gpu.name".to_owned(),
        baseline: "NVIDIA H100 80GB HBM3".to_owned(),
        current: "NVIDIA L40S".to_owned(),
    }];
    sample.comparison.soft_differences = vec![Difference {
        key: "engine.digest".to_owned(),
        baseline: "sha256:1111aaaa".to_owned(),
        current: "sha256:2222bbbb".to_owned(),
    }];
    sample
}

pub fn no_baseline() -> Sample {
    let lines = [
        (BATCH, "output_tps", 2_860.0, 2_860.0, 0.004, Verdict::New),
        ("latency", "ttft_ms.p50", 88.0, 88.0, 0.006, Verdict::New),
    ];
    let mut sample = sample(&lines, Design::Paired, Verdict::New, Gate::Passed);
    for judged in &mut sample.decision.metrics {
        judged.change.baseline = None;
        judged.change.estimate = None;
        judged.change.pairs = None;
        judged.interval = None;
        judged.detectable = None;
        judged.zone = None;
        "there is no baseline".clone_into(&mut judged.reason);
    }
    sample.baseline = None;
    sample.context.base = None;
    sample
}

/// Unchanged against the baseline, but past an absolute limit.
pub fn limit_broken() -> Sample {
    let mut sample = unchanged();
    let check = |metric: &str, max: f64, value: f64| LimitCheck {
        limit: Limit {
            metric: metric.to_owned(),
            scenario: None,
            max: Some(max),
            min: None,
        },
        metric: describe(metric),
        scenario: Some(BATCH.to_owned()),
        value: Some(value),
        stage: Stage::Block,
        accepted: false,
        absent: None,
        holds: value <= max,
    };
    sample.decision.limits = vec![
        check("ttft_ms.p99", 1_000.0, 880.0),
        check("error_rate", 0.01, 0.025),
    ];
    sample.decision.gate = Gate::LimitBroken("error rate is above its limit".to_owned());
    sample
}
