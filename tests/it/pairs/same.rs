//! Both sides the same: never blocked, and soon over.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Instant,
};

use super::*;

/// An engine with long steps: what a busy machine adds to each is little beside them.
const ENGINE: &str =
    "--prefill-base-ms=60 --decode-base-ms=30 --decode-per-sequence-ms=0 --prefill-per-token-ms=0";
const SEEDS: u32 = 20;
/// How many are measured beside each other: they mostly wait.
const BESIDE: u32 = 4;

/// The number of pairs that a seed needed.
fn measured(seed: u32) -> usize {
    let bench = Bench::new(&format!("same-{seed}"));
    let seed = seed.to_string();
    let ab = [
        "--baseline",
        "ab",
        "--baseline-args",
        ENGINE,
        "--seed",
        &seed,
    ];
    let mut command = bench.in_container(ENGINE, &ab);
    let output = command.args(["--output-tokens", "4"]).output().unwrap();
    // A machine that spoils most pairs makes the measurement invalid, which blocks nobody.
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 21)),
        "seed {seed}: {}",
        stderr(&output)
    );
    let pairs = bench.pairs();
    println!(
        "seed {seed}: {} after {} pairs ({})",
        bench.verdict(),
        pairs.counting().count(),
        pairs.stopped.clone().unwrap()
    );
    assert_ne!(bench.verdict(), "regressed");
    pairs.counting().count()
}

#[tokio::test]
async fn twenty_seeds_never_block_and_mostly_end_at_three_or_four_pairs() {
    if docker::docker_or_skip().await.is_none() {
        return;
    }
    let (next, began) = (AtomicU32::new(1), Instant::now());
    let counts = thread::scope(|scope| {
        let work = || {
            let seeds = std::iter::from_fn(|| {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                (seed <= SEEDS).then_some(seed)
            });
            seeds.map(measured).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..BESIDE).map(|_| scope.spawn(work)).collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.collect::<Vec<_>>().concat()
    });
    assert_eq!(counts.len(), SEEDS as usize);
    let soon = counts.iter().filter(|count| **count <= 4).count();
    println!(
        "{soon} of {SEEDS} ended at three or four pairs, in {:?}",
        began.elapsed()
    );
    assert!(soon >= 15, "{counts:?}");
}
