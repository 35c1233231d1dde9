//! Processor time per token, and memory.

use std::time::Duration;

use kitt_action::sim::paced::PacedSpec;

use crate::{
    Mode,
    process::{Bench, Client},
    table::{number, print},
    work::{Done, LoadSpec},
};

const TOKENS: u32 = 64;

pub fn run(bench: &Bench, mode: Mode) {
    processor(bench, mode);
    peak(bench, mode);
    flatness(bench, mode);
}

fn unrecorded() -> PacedSpec {
    PacedSpec {
        truth: false,
        ..PacedSpec::default()
    }
}

/// The slope between two levels, so that starting up cancels.
fn processor(bench: &Bench, mode: Mode) {
    let waves = mode.pick(4, 15);
    let slope = |client| {
        let of = |streams: u32| {
            let load = LoadSpec::closed(streams, streams * waves, TOKENS);
            bench.run(client, &load, &unrecorded()).0
        };
        let (few, many): (Done, Done) = (of(64), of(512));
        (many.cpu_s - few.cpu_s) / (many.tokens as f64 - few.tokens as f64) * 1e5
    };
    let [ours, baseline] = Client::BOTH.map(slope);
    let row = vec![
        number(Some(ours), 3),
        number(Some(baseline), 3),
        number(Some(ours / baseline), 2),
    ];
    print(
        "Processor seconds per 100 k paced tokens: slope from 64 to 512 streams, one token per write",
        &["kitt", "baseline", "ratio"],
        &[row],
    );
}

/// 2.1 million tokens over 1024 streams, as fast as they go.
fn peak(bench: &Bench, _: Mode) {
    let spec = PacedSpec {
        ttft: Duration::ZERO,
        itl: Duration::ZERO,
        burst: 16.try_into().unwrap(),
        ..unrecorded()
    };
    let load = LoadSpec::closed(1024, 16 * 1024, 128);
    let rows: Vec<_> = Client::BOTH
        .into_iter()
        .map(|client| {
            let (done, _) = bench.run(client, &load, &spec);
            let mib = done.peak_rss_kib as f64 / 1024.0;
            vec![
                client.name().to_owned(),
                done.tokens.to_string(),
                number(Some(mib), 1),
            ]
        })
        .collect();
    print(
        "Peak resident memory: 1024 streams",
        &["client", "tokens", "MiB"],
        &rows,
    );
}

/// Resident memory over time.
fn flatness(bench: &Bench, mode: Mode) {
    let seconds = mode.pick(20_u16, 600);
    let load = LoadSpec {
        requests: None,
        seconds: Some(f64::from(seconds)),
        ..LoadSpec::closed(256, 0, TOKENS)
    };
    let (done, _) = bench.run(Client::Ours, &load, &unrecorded());
    let step = usize::from(mode.pick(5_u16, 60));
    let rows: Vec<_> = done
        .rss
        .iter()
        .step_by(step)
        .map(|(at, kib)| vec![number(Some(*at), 0), number(Some(*kib as f64 / 1024.0), 2)])
        .collect();
    print(
        &format!(
            "Resident memory over time: kitt, 256 streams, {} tokens",
            done.tokens
        ),
        &["s", "MiB"],
        &rows,
    );
}
