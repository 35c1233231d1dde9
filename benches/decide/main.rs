//! How long a decision takes: two sides of 12 runs with 12 metrics of 10,000 samples each, and
//! change points on 10,000 jobs.
//!
//! `cargo bench --bench decide`. Each figure is the best of some rounds, because whatever else the
//! machine does can only add to it. Beside it stand the limit it must keep and a plain piece of
//! work on the same numbers, so that the figure means something on another machine too.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints, and panics when it is wrong"
)]

mod points;
mod sides;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Longest time for two sides.
const SIDES_LIMIT: Duration = Duration::from_millis(500);
/// Longest time for change points.
const POINTS_LIMIT: Duration = Duration::from_secs(1);

fn main() {
    // What cargo adds is no argument of ours; `--test` asks for one round.
    let rounds = if std::env::args().any(|word| word == "--test") {
        1
    } else {
        7
    };
    sides(rounds);
    points(rounds);
}

fn sides(rounds: u32) {
    let sides = sides::Sides::new();
    println!(
        "Two sides, {} runs × 12 metrics × {} samples",
        sides::RUNS,
        sides::SAMPLES
    );
    let sort = best(rounds, || black_box(&sides).sort_everything());
    let pass = best(rounds, || black_box(&sides).one_pass());
    println!(
        "{:44} {:9.2} ms",
        "reference: one mean of every sample",
        millis(pass)
    );
    println!(
        "{:44} {:9.2} ms",
        "reference: every list of samples sorted",
        millis(sort)
    );
    let cases: [(&str, &dyn Fn()); 4] = [
        ("compare and decide, pairs", &|| sides.decide_pairs()),
        ("compare and decide, history", &|| sides.decide_history()),
        ("compare and decide, one job against one", &|| {
            sides.decide_single();
        }),
        ("the same as 12 scenario documents of pairs", &|| {
            sides.documents();
        }),
    ];
    for (name, work) in cases {
        line(name, best(rounds, work), SIDES_LIMIT, sort);
    }
}

fn points(rounds: u32) {
    println!("\nChange points, {} jobs", points::JOBS);
    for (name, series) in points::cases() {
        // Each split of the plain test looks at every place anew: n² work. It is timed on a
        // tenth of the jobs and counted a hundred times.
        let plain = best(rounds, || points::plain(black_box(&series)));
        let time = best(rounds, || points::found(black_box(&series)));
        line(name, time, POINTS_LIMIT, plain * points::SCALE);
    }
}

fn line(name: &str, time: Duration, limit: Duration, reference: Duration) {
    let ratio = |by: Duration| time.as_secs_f64() / by.as_secs_f64();
    println!(
        "{name:44} {:9.2} ms   limit {:.2}   reference {:.3}",
        millis(time),
        ratio(limit),
        ratio(reference)
    );
    assert!(
        time <= limit,
        "{name} takes {time:?}, at most {limit:?} is allowed"
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn best(rounds: u32, work: impl Fn()) -> Duration {
    let round = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..rounds).map(round).min().expect("there is a round")
}
