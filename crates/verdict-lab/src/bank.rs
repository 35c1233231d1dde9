//! Many runs made once: a pull request takes its runs from here and adds what its job, its slot
//! and its change do to them.

use std::sync::OnceLock;

use crate::{
    generator,
    laws::Source,
    requests::{Logs, RANDOM_QUEUES, REQUESTS, Run, TWO_CLOCKS, USUAL, Weather, Workload},
    threads,
};

/// What was changed in the engine. A slowdown of everything needs no runs of its own: it shifts
/// all logs alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// Nothing, or everything alike.
    All,
    /// Every time to the first token, 5 % longer.
    Ttft,
    /// The slowest times to the first token, 20 % longer.
    TtftTail,
}

/// The metrics of one run, as it is and under each change.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    all: Logs,
    ttft: Logs,
    tail: Logs,
}

/// Runs of one weather.
#[derive(Debug)]
pub struct Bank {
    /// The requests they all sent.
    pub workload: Workload,
    units: Vec<Unit>,
}

impl Bank {
    /// So many runs.
    pub fn new(weather: &Weather, runs: usize, seed: u64) -> Self {
        let workload = Workload::new(REQUESTS, &mut generator(seed, 1, 0));
        let units = threads::map(runs, |number| {
            let run = Run::draw(&workload, weather, &mut generator(seed, 2, number));
            Unit {
                all: run.logs(),
                ttft: run.with_ttft(1.05).logs(),
                tail: run.with_ttft_tail(1.20).logs(),
            }
        });
        Self { workload, units }
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// The metrics of a run; the bank begins anew behind its end.
    pub fn logs(&self, number: usize, touched: Touched) -> Logs {
        let unit = self.units[number % self.units.len()];
        match touched {
            Touched::All => unit.all,
            Touched::Ttft => unit.ttft,
            Touched::TtftTail => unit.tail,
        }
    }
}

/// The banks of all weathers, each made when it is first asked for.
#[derive(Debug)]
pub struct Banks {
    runs: usize,
    seed: u64,
    usual: OnceLock<Bank>,
    queues: OnceLock<Bank>,
    clocks: OnceLock<Bank>,
}

impl Banks {
    /// Banks for so many pull requests of 24 runs without a run being used twice; the two for
    /// robustness hold half.
    pub const fn new(pull_requests: usize, seed: u64) -> Self {
        Self {
            runs: 24 * pull_requests,
            seed,
            usual: OnceLock::new(),
            queues: OnceLock::new(),
            clocks: OnceLock::new(),
        }
    }

    /// The bank that a law takes its runs from.
    pub fn of(&self, source: Source) -> &Bank {
        let (bank, weather, runs, seed) = match source {
            Source::Usual => (&self.usual, &USUAL, self.runs, self.seed),
            Source::Queues => (&self.queues, &RANDOM_QUEUES, self.runs / 2, self.seed + 1),
            Source::Clocks => (&self.clocks, &TWO_CLOCKS, self.runs / 2, self.seed + 2),
        };
        bank.get_or_init(|| Bank::new(weather, runs, seed))
    }
}
