//! Whether requests arrive at the server as they were planned, whatever the server does.

use std::{num::NonZeroU32, time::Duration};

use kitt_action::{
    plan::{self, Arrivals, Process, Rate, StopRules},
    sim::paced::{PacedSpec, PacedTruth, Stall},
};

use crate::{
    Mode,
    process::{Bench, Client},
    table::{number, print},
    work::{LoadSpec, OpenLoop},
};

/// Tokens of an answer: short, so that the rate is what counts.
const TOKENS: u32 = 4;

pub fn run(bench: &Bench, mode: Mode) {
    let mut rows = Vec::new();
    for rps in [50.0, 500.0, 2000.0, 5000.0] {
        for poisson in [false, true] {
            rows.push(row(bench, rps, poisson, None, mode));
        }
    }
    let stall = Stall {
        after: Duration::from_secs(1),
        length: Duration::from_secs(2),
    };
    rows.push(row(bench, 500.0, true, Some(stall), mode));
    print(
        "Open loop: arrivals at the server (a Poisson process has CV 1, a constant one 0)",
        &[
            "req/s",
            "process",
            "stall",
            "requests",
            "arrived/s",
            "rate error %",
            "planned CV",
            "CV at the server",
            "late sends p99 ms",
            "failed",
        ],
        &rows,
    );
}

fn row(bench: &Bench, rps: f64, poisson: bool, stall: Option<Stall>, mode: Mode) -> Vec<String> {
    let seconds = if stall.is_some() {
        6.0
    } else {
        mode.pick(4.0, 15.0)
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 75,000 requests"
    )]
    let requests = (rps * seconds) as u32;
    let open = OpenLoop {
        rps,
        poisson,
        seed: 7,
    };
    let load = LoadSpec {
        rate: Some(open),
        ..LoadSpec::closed(1, requests, TOKENS)
    };
    let spec = PacedSpec {
        ttft: Duration::from_millis(5),
        itl: Duration::from_millis(2),
        stall,
        ..PacedSpec::default()
    };
    let (done, truth) = bench.run(Client::Ours, &load, &spec);
    let planned = due(open, requests);
    let planned: Vec<f64> = planned.iter().map(Duration::as_secs_f64).collect();
    let arrived = arrivals(&truth);
    let found = rate(&arrived);
    vec![
        number(Some(rps), 0),
        if poisson { "Poisson" } else { "constant" }.to_owned(),
        if stall.is_some() { "2 s" } else { "–" }.to_owned(),
        requests.to_string(),
        number(found, 1),
        number(found.map(|found| (found / rps - 1.0) * 100.0), 3),
        number(variation(&planned), 3),
        number(variation(&arrived), 3),
        number(done.late_sends_p99_ms, 3),
        done.failed.to_string(),
    ]
}

/// When each request is due, as `kitt run` plans it: the same in the process that plans and in
/// the one that sends.
pub fn due(open: OpenLoop, requests: u32) -> Vec<Duration> {
    let arrivals = Arrivals::Open {
        rate: Rate::Constant { rps: open.rps },
        process: if open.poisson {
            Process::Poisson
        } else {
            Process::Constant
        },
        max_in_flight: None,
    };
    let stop = StopRules {
        requests: NonZeroU32::new(requests),
        ..StopRules::default()
    };
    plan::schedule(&arrivals, &stop, open.seed, "bench", None)
        .filter_map(|slot| slot.due)
        .collect()
}

/// Times of arrival in seconds, sorted.
fn arrivals(truth: &PacedTruth) -> Vec<f64> {
    let mut times: Vec<f64> = truth
        .requests
        .iter()
        .map(|one| one.arrived_ns as f64 / 1e9)
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// Gaps per second between the first and the last.
fn rate(sorted: &[f64]) -> Option<f64> {
    let span = sorted.last()? - sorted.first()?;
    (span > 0.0).then(|| (sorted.len() - 1) as f64 / span)
}

/// Coefficient of variation of the gaps.
fn variation(sorted: &[f64]) -> Option<f64> {
    let gaps: Vec<f64> = sorted.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let square = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    (mean > 0.0).then(|| square.sqrt() / mean)
}
