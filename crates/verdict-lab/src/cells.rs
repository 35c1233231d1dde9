//! Many pull requests through one design under one law, counted.

use kitt_action::verdict::Verdict;

use crate::{
    bank::Touched,
    binomial,
    designs::{Design, Effect, Lab, Outcome, PROJECTS, Prior, PullRequest},
    laws::Law,
    threads,
};

/// Nothing changed; the target is what the others are measured by.
pub const NOTHING: Effect = Effect {
    name: "none",
    slower: 0.0,
    touched: Touched::All,
    target: "output_tps",
};
/// 5 % less throughput: every latency is 1/0.95 as long.
pub const THROUGHPUT: Effect = Effect {
    name: "throughput −5 %",
    slower: 0.051_293_294_387_550_58,
    ..NOTHING
};
/// 5 % more throughput.
pub const FASTER: Effect = Effect {
    name: "throughput +5 %",
    slower: -0.048_790_164_169_432,
    ..NOTHING
};
/// The slowest first tokens 20 % later.
pub const TAIL: Effect = Effect {
    name: "TTFT p99 +20 %",
    slower: 0.0,
    touched: Touched::TtftTail,
    target: "ttft_ms.p99",
};
/// First tokens 5 % later.
pub const FIRST_TOKEN: Effect = Effect {
    name: "TTFT +5 %",
    slower: 0.0,
    touched: Touched::Ttft,
    target: "ttft_ms.p50",
};
/// 2 % slower: inside the zone.
pub const LITTLE_SLOWER: Effect = Effect {
    name: "all +2 % slower",
    slower: 0.019_802_627_296_179_71,
    ..NOTHING
};
/// 2 % faster: inside the zone.
pub const LITTLE_FASTER: Effect = Effect {
    name: "all 2 % faster",
    slower: -0.019_802_627_296_179_71,
    ..NOTHING
};

/// Another size of slowdown.
pub const fn slower(name: &'static str, log: f64) -> Effect {
    Effect {
        name,
        slower: log,
        ..NOTHING
    }
}

/// One row of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// How it is measured.
    pub design: Design,
    /// How runs differ.
    pub law: Law,
    /// What was changed.
    pub effect: Effect,
}

/// What came out of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    /// Pull requests.
    pub draws: usize,
    /// Pull requests that were blocked: some metric regressed.
    pub blocked: usize,
    /// Pull requests that passed: every metric unchanged or improved.
    pub passed: usize,
    /// Of the metric that was changed: called regressed.
    pub caught: usize,
    /// Of the metric that was changed: called unchanged or improved.
    pub let_through: usize,
    /// Of the metric that was changed: called improved.
    pub improved: usize,
    /// Mean number of pairs.
    pub pairs: f64,
    /// Mean number of runs.
    pub runs: f64,
}

impl Counts {
    /// Upper 95 % limit of the rate at which pull requests are blocked.
    pub fn blocked_at_most(&self) -> f64 {
        binomial::upper(self.blocked, self.draws, 0.95)
    }

    /// Share of the draws.
    pub fn share(&self, hits: usize) -> f64 {
        hits as f64 / self.draws as f64
    }

    /// Pull requests of which neither is said.
    pub const fn unsure(&self) -> usize {
        self.draws - self.blocked - self.passed
    }
}

const fn is_pass(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Unchanged | Verdict::Improved)
}

/// Puts so many pull requests through a cell.
pub fn run(lab: &Lab, cell: &Cell, draws: usize) -> Counts {
    let profiles = match cell.design {
        Design::Paired(prior) | Design::HistoryThenPairs(prior) => {
            lab.profiles(&cell.law, prior, PROJECTS.min(draws))
        }
        Design::History | Design::Single(_) | Design::SingleResampled(_) => {
            lab.profiles(&cell.law, Prior::None, 1)
        }
    };
    let outcomes = threads::map(draws, |number| {
        let pull_request = PullRequest {
            law: &cell.law,
            effect: &cell.effect,
            number,
        };
        lab.decide(pull_request, cell.design, &profiles)
    });
    count(&outcomes)
}

fn count(outcomes: &[Outcome]) -> Counts {
    let how_many =
        |test: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|one| test(one)).count();
    let mean = |pick: fn(&Outcome) -> usize| {
        outcomes.iter().map(pick).sum::<usize>() as f64 / outcomes.len() as f64
    };
    Counts {
        draws: outcomes.len(),
        blocked: how_many(&|one| one.overall == Verdict::Regressed),
        passed: how_many(&|one| is_pass(one.overall)),
        caught: how_many(&|one| one.target == Verdict::Regressed),
        let_through: how_many(&|one| is_pass(one.target)),
        improved: how_many(&|one| one.target == Verdict::Improved),
        pairs: mean(|one| one.pairs),
        runs: mean(|one| one.runs),
    }
}
