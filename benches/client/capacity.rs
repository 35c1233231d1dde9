//! How many tokens per second a client takes on one core when the server has no pace. A client
//! whose processor is not busy was not the limit: its figure is then a lower bound.

use std::{num::NonZeroU32, time::Duration};

use kitt_action::sim::paced::PacedSpec;

use crate::{
    Mode,
    process::{Bench, Client},
    table::{median, number, print},
    work::{Done, LoadSpec},
};

const TOKENS: u32 = 128;
/// Wanted of kitt with 256 and 1024 streams.
const WANTED_RATIO: f64 = 2.5;
const WANTED_TOKENS_PER_S: f64 = 0.8e6;

pub fn run(bench: &Bench, mode: Mode) {
    let mut rows = Vec::new();
    for concurrency in [16_u32, 256, 1024] {
        let mut rates = Client::BOTH.map(|_| (Vec::new(), Vec::new()));
        for _ in 0..mode.pick(3, 5) {
            // In turn, so that a busy moment of the machine hits both.
            for (client, (rates, busy)) in Client::BOTH.into_iter().zip(&mut rates) {
                let done = flat_out(bench, client, concurrency, mode);
                rates.push(done.tokens as f64 / done.wall_s);
                busy.push(done.cpu_s / done.wall_s * 100.0);
            }
        }
        let [(ours, our_busy), (baseline, its_busy)] =
            rates.map(|(rates, busy)| (median(&rates), median(&busy)));
        // A client that waits for the simulator could take more: at least what its processor
        // time says, for it looks more often at fewer sockets then.
        let capacity = |rate: f64, busy: f64| rate / (busy / 100.0).min(1.0);
        let whole = capacity(ours, our_busy) / capacity(baseline, its_busy);
        let ratio = ours / baseline;
        let met = whole >= WANTED_RATIO && ours > WANTED_TOKENS_PER_S;
        rows.push(vec![
            concurrency.to_string(),
            number(Some(ours / 1e3), 0),
            number(Some(baseline / 1e3), 0),
            number(Some(ratio), 2),
            number(Some(whole), 2),
            number(Some(our_busy), 0) + " / " + &number(Some(its_busy), 0),
            match (concurrency, met) {
                (16, _) => "–",
                (_, true) => "met",
                (_, false) => "missed",
            }
            .to_owned(),
        ]);
    }
    print(
        "Capacity: 16 events per write, no delay, 128 tokens per request (median of runs)",
        &[
            "streams",
            "kitt k tok/s",
            "baseline k tok/s",
            "ratio",
            "ratio per processor second",
            "their processor, %",
            "≥ 2.5 × per second, > 800 k",
        ],
        &rows,
    );
}

fn flat_out(bench: &Bench, client: Client, concurrency: u32, mode: Mode) -> Done {
    let spec = PacedSpec {
        ttft: Duration::ZERO,
        itl: Duration::ZERO,
        burst: NonZeroU32::new(16).unwrap(),
        truth: false,
        ..PacedSpec::default()
    };
    let load = LoadSpec {
        requests: None,
        seconds: Some(mode.pick(1.5, 4.0)),
        ..LoadSpec::closed(concurrency, 0, TOKENS)
    };
    bench.run(client, &load, &spec).0
}
