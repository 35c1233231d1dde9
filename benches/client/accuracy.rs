//! How far what a client reports is from what happened: 50 ms to the first token, one each 10 ms,
//! 64 tokens; with the processor for itself and with a busy loop of equal weight on it.

use kitt_action::{
    app::calibrate::{ErrorBar, compare},
    sim::paced::PacedSpec,
};

use crate::{
    Mode,
    process::{Bench, Client},
    table::{number, print},
    work::LoadSpec,
};

const TOKENS: u32 = 64;
const TTFT_LIMIT_MS: f64 = 0.1;
const ITL_LIMIT_MS: f64 = 0.05;

pub fn run(bench: &Bench, mode: Mode) {
    let head = [
        "streams",
        "client",
        "TTFT p50 / p95 / p99",
        "worst",
        "ITL p50 / p95 / p99",
        "worst",
        "load driven %",
        "coalesced %",
        "late sends p99 ms",
        "loop lag p99 ms",
        "simulator late p99 ms",
        "kept",
    ];
    let calm: Vec<_> = [1_u32, 64, 256, 512, 1024]
        .iter()
        .flat_map(|&streams| Client::BOTH.map(|client| row(bench, client, streams, mode)))
        .collect();
    print(
        "Accuracy: reported minus truth, ms; the client alone on its core",
        &head,
        &calm,
    );
    let hogged: Vec<_> = [64_u32, 512]
        .iter()
        .flat_map(|&streams| {
            let hog = bench.hog();
            let rows = Client::BOTH.map(|client| row(bench, client, streams, mode));
            drop(hog);
            rows
        })
        .collect();
    print(
        "Accuracy: the same beside a busy loop of equal weight",
        &head,
        &hogged,
    );
}

fn row(bench: &Bench, client: Client, streams: u32, mode: Mode) -> Vec<String> {
    // At least 100 requests, so that there is a 99th percentile; one stream has time for fewer.
    let waves = if streams == 1 {
        mode.pick(6, 100)
    } else {
        mode.pick(4, 15)
    };
    let spec = PacedSpec::default();
    let load = LoadSpec {
        keep: true,
        ..LoadSpec::closed(streams, streams * waves, TOKENS)
    };
    let (done, truth) = bench.run(client, &load, &spec);
    let bars = compare(&done.samples, &truth);
    let three = |bar: &ErrorBar| {
        [bar.p50_ms, bar.p95_ms, bar.p99_ms]
            .map(|one| number(one, 3))
            .join(" / ")
    };
    let kept = bars.ttft.holds(TTFT_LIMIT_MS) && bars.itl.holds(ITL_LIMIT_MS);
    let streams_set = load.concurrency.try_into().unwrap();
    let share = truth
        .load_share(streams_set, &spec, TOKENS)
        .map(|share| share * 100.0);
    let coalesced = done
        .coalesced
        .map(|part| part as f64 * 100.0 / done.tokens as f64);
    vec![
        streams.to_string(),
        client.name().to_owned(),
        three(&bars.ttft),
        number(bars.ttft.worst_ms, 2),
        three(&bars.itl),
        number(bars.itl.worst_ms, 2),
        number(share, 1),
        number(coalesced, 2),
        number(done.late_sends_p99_ms, 3),
        number(done.loop_lag_p99_ms, 3),
        number(truth.lateness.map(|late| late.p99_ns / 1e6), 3),
        if kept && bars.unmatched == 0 {
            "yes"
        } else {
            "no"
        }
        .to_owned(),
    ]
}
