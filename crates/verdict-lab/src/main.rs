//! Tables of `docs/deciding.md`, scenario documents, and a binary's score on them.
//!
//! ```text
//! verdict-lab tables [--seed N] [--same N] [--changed N] [--series N] [--check]
//! verdict-lab documents FOLDER [--count N] [--seed N] [--kind PREFIX]
//! verdict-lab score FOLDER --kitt PATH
//! ```

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use verdict_lab::{
    designs::Lab,
    documents,
    requirements::{self, Draws},
    score, series,
};

const USAGE: &str = "verdict-lab tables [--seed N] [--same N] [--changed N] [--series N] [--check]
verdict-lab documents FOLDER [--count N] [--seed N] [--kind PREFIX]
verdict-lab score FOLDER --kitt PATH";

/// Flags and what is none.
struct Arguments(Vec<String>);

impl Arguments {
    /// Takes a flag with its value out.
    fn take(&mut self, flag: &str) -> Option<String> {
        let at = self.0.iter().position(|word| word == flag)?;
        self.0.remove(at);
        (at < self.0.len()).then(|| self.0.remove(at))
    }

    fn number<T: std::str::FromStr>(&mut self, flag: &str, default: T) -> Result<T, String> {
        self.take(flag).map_or(Ok(default), |text| {
            text.parse()
                .map_err(|_| format!("{flag} takes a whole number, not {text:?}"))
        })
    }
}

fn main() -> ExitCode {
    let mut words = Arguments(env::args().skip(1).collect());
    let done = match words.0.first().map(String::as_str) {
        Some("tables") => tables(&mut words),
        Some("documents") => write(&mut words),
        Some("score") => ask(&mut words),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn tables(words: &mut Arguments) -> Result<bool, String> {
    let seed: u64 = words.number("--seed", 20)?;
    let draws = Draws {
        same: words.number("--same", 4_000)?,
        changed: words.number("--changed", 2_000)?,
    };
    let histories: usize = words.number("--series", 1000)?;
    let check = words.0.iter().any(|word| word == "--check");
    let start = Instant::now();
    let lab = Lab::new(draws.same.max(draws.changed), seed);
    let mut findings = requirements::all(&lab, draws, true);
    let (text, broken) = series::table(histories, seed);
    findings.text.push_str(&text);
    findings.broken.extend(broken);
    println!(
        "Seed {seed}; {} pull requests a row where nothing changed, {} where something did; {histories} histories a row; {} requests a run.\n",
        draws.same,
        draws.changed,
        verdict_lab::requests::REQUESTS
    );
    println!("{}", findings.text.trim_end());
    eprintln!(
        "{:.0} s; {} requirements on decisions checked",
        start.elapsed().as_secs_f64(),
        findings.checked
    );
    for sentence in &findings.broken {
        eprintln!("NOT MET: {sentence}");
    }
    Ok(!check || findings.broken.is_empty())
}

fn write(words: &mut Arguments) -> Result<bool, String> {
    let count = words.number("--count", 20)?;
    let seed = words.number("--seed", 1)?;
    let kind = words.take("--kind").unwrap_or_default();
    let folder = words.0.get(1).ok_or(USAGE)?;
    let written = documents::write(Path::new(folder), &kind, count, seed)
        .map_err(|error| format!("cannot write documents to {folder}: {error}"))?;
    println!("{written} documents in {folder}");
    Ok(true)
}

fn ask(words: &mut Arguments) -> Result<bool, String> {
    let kitt = words.take("--kitt").map(PathBuf::from).ok_or(USAGE)?;
    let folder = words.0.get(1).ok_or(USAGE)?;
    let (text, bad) = score::score(Path::new(folder), &kitt)
        .map_err(|error| format!("cannot read the documents in {folder}: {error}"))?;
    println!("{text}");
    for sentence in bad {
        println!("{sentence}");
    }
    Ok(true)
}
