//! `kitt calibrate client`: the load generator's own error on this machine, and `kitt calibrate
//! runner`: how much the machine itself varies.
//!
//! For the client, at each level the driver measures a paced simulator that runs in a process of its own, on a
//! processor of its own where there are two, and what it measured is held against what the
//! simulator knows.

mod error;
mod level;
mod runner;

use std::{io, num::NonZeroU32, time::Duration};

use serde::Serialize;

pub use error::{ErrorBar, ErrorBars, Sample, compare};
pub use level::{Collector, jobs, target};

pub(super) use self::runner::runner;

use self::level::Level;
use super::{out, signal::Stop};
use crate::{
    cli::{ClientArgs, SimulatorArgs},
    error::Error,
    exit::Exit,
    sim::{
        SimError,
        paced::{self, PacedSpec},
    },
};

/// Errors up to these are what the load generator promises, in milliseconds.
const TTFT_LIMIT_MS: f64 = 0.1;
const ITL_LIMIT_MS: f64 = 0.05;
/// Tokens of each answer.
const TOKENS: u32 = 64;

/// The figures of all levels.
#[derive(Debug, Serialize)]
struct Calibration {
    ttft_limit_ms: f64,
    itl_limit_ms: f64,
    /// Time to first token and gap that the simulator keeps.
    ttft_ms: f64,
    itl_ms: f64,
    tokens_per_answer: u32,
    /// Whether the simulator had a processor of its own.
    own_processor: bool,
    levels: Vec<Level>,
    /// The highest concurrency up to which every level held.
    holds_up_to: Option<u32>,
}

/// Runs the levels and prints them.
///
/// # Errors
/// The simulator's process cannot be started or talked to, or it cannot be connected to.
pub(super) async fn client(args: &ClientArgs, stop: &Stop) -> Result<Exit, Error> {
    let mut levels_wanted = args.concurrency.clone();
    levels_wanted.sort_unstable();
    levels_wanted.dedup();
    let processors = paced::allowed_cpus();
    let own = match processors.split_last() {
        Some((last, others)) if !others.is_empty() && paced::pin_to(others) => Some(*last),
        Some(_) | None => None,
    };
    let span = Duration::from_secs(u64::from(args.seconds));
    let mut levels = Vec::new();
    for concurrency in levels_wanted {
        levels.push(level::run(concurrency, span, own, stop).await?);
        stop.check()?;
    }
    let spec = PacedSpec::default();
    let calibration = Calibration {
        ttft_limit_ms: TTFT_LIMIT_MS,
        itl_limit_ms: ITL_LIMIT_MS,
        ttft_ms: spec.ttft.as_secs_f64() * 1e3,
        itl_ms: spec.itl.as_secs_f64() * 1e3,
        tokens_per_answer: TOKENS,
        own_processor: own.is_some() && levels.iter().all(|level| level.pinned),
        holds_up_to: holds_up_to(&levels),
        levels,
    };
    if args.json {
        out::text(&serde_json::to_string_pretty(&calibration).unwrap_or_default());
    } else {
        out::text(&words(&calibration));
    }
    Ok(Exit::Success)
}

/// The hidden command: the simulator until standard input ends.
///
/// # Errors
/// Its parameters are wrong, or it cannot run.
pub(super) fn simulator(args: &SimulatorArgs) -> Result<Exit, Error> {
    let process = |error| Error::Sim(SimError::Process(error));
    let spec = serde_json::from_str(&args.spec)
        .map_err(|error| process(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    paced::serve_child(spec, args.processor, &mut input, &mut output).map_err(process)?;
    Ok(Exit::Success)
}

/// The last of the levels, from the lowest, that all hold.
fn holds_up_to(levels: &[Level]) -> Option<u32> {
    let held = levels.iter().take_while(|level| level.holds);
    held.last().map(|level| level.concurrency)
}

/// A table and a sentence.
fn words(calibration: &Calibration) -> String {
    let head = [
        "streams",
        "tokens/s",
        "load",
        "TTFT error p50/p95/p99 ms",
        "ITL error p50/p95/p99 ms",
        "late sends p99 ms",
        "loop lag p99 ms",
        "coalesced",
        "holds",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(calibration.levels.iter().map(Level::cells));
    let mut lines = aligned(&rows);
    lines.push(String::new());
    lines.push(sentence(calibration));
    if !calibration.own_processor {
        lines.push(
            "The simulator had no processor of its own: the figures hold for a client that \
             shares its processor with the server."
                .to_owned(),
        );
    }
    lines.join("\n")
}

fn sentence(calibration: &Calibration) -> String {
    let limits = format!(
        "TTFT within {TTFT_LIMIT_MS} ms and ITL within {ITL_LIMIT_MS} ms of the truth, up to p99"
    );
    match calibration.holds_up_to {
        Some(streams) if calibration.levels.iter().all(|level| level.holds) => format!(
            "On this machine kitt reports {limits}, with up to {streams} streams at once: every \
             level that was tried."
        ),
        Some(streams) => format!(
            "On this machine kitt reports {limits}, with up to {streams} streams at once; not \
             beyond."
        ),
        None => format!(
            "On this machine kitt does not report {limits}, not even at the lowest level: is \
             something else using the processors?"
        ),
    }
}

/// Columns padded to their widest cell, numbers to the right.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:>width$}"))
            .collect();
        padded.join("  ")
    };
    rows.iter().map(line).collect()
}

/// A positive number of tokens.
fn tokens() -> NonZeroU32 {
    NonZeroU32::new(TOKENS).unwrap_or(NonZeroU32::MIN)
}
