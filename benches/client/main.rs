//! The load driver against its simulator's truth and against a client of tokio, hyper and
//! `serde_json`: capacity, accuracy, cost, start-up, open loop.
//!
//! `scripts/bench-client.sh` builds and runs it. The arguments are `quick` or `full` and the names
//! of sections, all of them by default. Client and simulator are processes of their own, each on
//! its own processor where there are two; every figure is then per core.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::missing_panics_doc,
    clippy::print_stdout,
    reason = "a bench: a panic is a failed run, and tables go to standard output"
)]

mod accuracy;
mod baseline;
mod capacity;
mod cost;
mod open_loop;
mod ours;
mod process;
mod startup;
mod table;
mod work;

use process::{Bench, Client};

/// How long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Quick,
    Full,
}

impl Mode {
    /// One of two values.
    pub const fn pick<T: Copy>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

type Section = (&'static str, fn(&Bench, Mode));

const SECTIONS: [Section; 5] = [
    ("capacity", capacity::run),
    ("accuracy", accuracy::run),
    ("cost", cost::run),
    ("startup", startup::run),
    ("open-loop", open_loop::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["simulator", spec] => process::simulator(spec, None),
        ["simulator", spec, processor] => process::simulator(spec, Some(processor)),
        ["kitt", load] => process::client(Client::Ours, load),
        ["baseline", load] => process::client(Client::Baseline, load),
        ["hog"] => process::hog(None),
        ["hog", processor] => process::hog(Some(processor)),
        _ => sections(&words),
    }
}

fn sections(words: &[&str]) {
    let (mut mode, mut wanted) = (Mode::Quick, Vec::new());
    let (mut prefix, mut tokenizer) = ("", None);
    for &word in words {
        match word {
            "quick" => mode = Mode::Quick,
            "full" => mode = Mode::Full,
            // What `cargo bench` adds.
            "--bench" => {}
            _ => match word.split_once('=') {
                Some(("--simulator-prefix", given)) => prefix = given,
                Some(("--tokenizer", file)) => tokenizer = Some(file.into()),
                Some(_) | None => wanted.push(word),
            },
        }
    }
    let names = SECTIONS.map(|(name, _)| name);
    let unknown = wanted.iter().find(|word| !names.contains(word));
    assert!(
        unknown.is_none(),
        "{unknown:?} is none of quick, full, {names:?}"
    );
    let bench = Bench::new(prefix, tokenizer);
    println!(
        "Client and simulator {}.\n",
        if bench.pinned() {
            "have one processor each"
        } else {
            "share the processors"
        }
    );
    for (name, run) in SECTIONS {
        if wanted.is_empty() || wanted.contains(&name) {
            run(&bench, mode);
        }
    }
}
