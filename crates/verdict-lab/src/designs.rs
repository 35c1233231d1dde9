//! One pull request through one design, by the real comparison and the real decision.

use kitt_action::{
    compare::{CompareOptions, NoiseProfile, compare},
    results::ResultSet,
    verdict::{Decision, GatePolicy, Verdict, decide},
};
use rand_chacha::ChaCha8Rng;

use crate::{
    bank::{Bank, Banks, Touched},
    generator,
    laws::{Law, slow},
    requests::{Logs, METRICS, REQUESTS, Run, USUAL},
    sides::{SCENARIO, history, pairs, side, side_with_requests, slots},
};

/// Most pairs of a job.
pub const PAIRS: usize = 12;
/// Past jobs of the history design.
pub const JOBS: usize = 20;

/// What a pull request changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// What the table calls it.
    pub name: &'static str,
    /// Slowdown of everything, as a log; negative is faster.
    pub slower: f64,
    /// What else was touched.
    pub touched: Touched,
    /// The metric it is about.
    pub target: &'static str,
}

/// What is known of a runner's noise before the job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prior {
    /// Nothing.
    None,
    /// Learned from two sets of 12 A/A pairs, and off by this factor (1: right).
    Learned(f64),
}

/// How a pull request is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Design {
    /// Up to twelve pairs in one job.
    Paired(Prior),
    /// One run against twenty past jobs.
    History,
    /// History first; pairs when that is not a pass.
    HistoryThenPairs(Prior),
    /// One run against one, with this declared coefficient of variation.
    Single(Option<f64>),
    /// The same with the latencies of all requests, resampled.
    SingleResampled(Option<f64>),
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Of the pull request.
    pub overall: Verdict,
    /// Of the metric the effect is about.
    pub target: Verdict,
    /// Pairs measured.
    pub pairs: usize,
    /// Runs measured, the baseline's of pairs included.
    pub runs: usize,
}

/// What all pull requests of a table have in common.
#[derive(Debug)]
pub struct Lab {
    /// Runs.
    pub banks: Banks,
    /// Seed of everything that is not in the banks.
    pub seed: u64,
    policy: GatePolicy,
}

/// One pull request: which law, which change, which number.
#[derive(Debug, Clone, Copy)]
pub struct PullRequest<'a> {
    /// How runs differ.
    pub law: &'a Law,
    /// What was changed.
    pub effect: &'a Effect,
    /// Which one, from 0; the same number has the same noise under every effect.
    pub number: usize,
}

/// Projects with a noise profile of their own.
pub const PROJECTS: usize = 50;
/// Sets of 12 A/A pairs that a profile is learned from.
const LESSONS: usize = 2;

/// Runs that one pull request may take from a bank.
const RUNS: usize = 2 * PAIRS;

impl Lab {
    /// Banks for so many pull requests and for what is learned before them.
    pub fn new(pull_requests: usize, seed: u64) -> Self {
        Self {
            banks: Banks::new(pull_requests + LESSONS * PROJECTS, seed),
            seed,
            policy: policy(),
        }
    }

    /// The policy: all twelve metrics gate, everything else as delivered.
    pub const fn policy(&self) -> &GatePolicy {
        &self.policy
    }

    /// The bank a law takes its runs from.
    pub fn bank(&self, law: &Law) -> &Bank {
        self.banks.of(law.source)
    }

    /// Noise profiles learned on this runner before, one for each of so many projects.
    pub fn profiles(&self, law: &Law, prior: Prior, count: usize) -> Vec<NoiseProfile> {
        let Prior::Learned(factor) = prior else {
            return vec![NoiseProfile::default()];
        };
        let last = self.bank(law).len() / RUNS - 1;
        let nothing = Effect {
            name: "",
            slower: 0.0,
            touched: Touched::All,
            target: METRICS[0],
        };
        let learned = |project: usize| {
            let mut profile = NoiseProfile::default();
            for lesson in 0..LESSONS {
                // From the far end of the bank: not the pull requests' own runs.
                let number = last - (LESSONS * project + lesson) % last;
                let mut rng = generator(self.seed, 7, LESSONS * project + lesson);
                let pull_request = PullRequest {
                    law,
                    effect: &nothing,
                    number,
                };
                let (before, after) = self.paired_runs(pull_request, &mut rng);
                for (place, metric) in METRICS.iter().enumerate() {
                    let difference = |(b, c): (&Logs, &Logs)| c[place] - b[place];
                    let logs: Vec<f64> = before.iter().zip(&after).map(difference).collect();
                    profile.learn(SCENARIO, metric, &logs);
                }
            }
            let metrics = profile
                .metrics
                .values_mut()
                .flat_map(|known| known.values_mut());
            metrics.for_each(|noise| noise.log_sd_pair *= factor);
            profile
        };
        (0..count).map(learned).collect()
    }

    /// One pull request through a design.
    pub fn decide(
        &self,
        pull_request: PullRequest<'_>,
        design: Design,
        profiles: &[NoiseProfile],
    ) -> Outcome {
        let mut rng = generator(self.seed, 3, pull_request.number);
        let profile = profiles.get(pull_request.number % profiles.len().max(1));
        let paired = |rng: &mut ChaCha8Rng| {
            let noise = profile.cloned().unwrap_or_default();
            self.paired(pull_request, noise, rng)
        };
        match design {
            Design::Paired(_) => paired(&mut rng),
            Design::History => self.history(pull_request, &mut rng),
            Design::HistoryThenPairs(_) => {
                let first = self.history(pull_request, &mut rng);
                if matches!(first.overall, Verdict::Unchanged | Verdict::Improved) {
                    return first;
                }
                let then = paired(&mut rng);
                Outcome {
                    runs: first.runs + then.runs,
                    ..then
                }
            }
            Design::Single(cv) => self.single(pull_request, cv, &mut rng),
            Design::SingleResampled(cv) => self.single_resampled(pull_request, cv, &mut rng),
        }
    }

    fn paired(
        &self,
        pull_request: PullRequest<'_>,
        noise: NoiseProfile,
        rng: &mut ChaCha8Rng,
    ) -> Outcome {
        let (before, after) = self.paired_runs(pull_request, rng);
        let options = CompareOptions {
            noise,
            pairs: Some(pairs(PAIRS, PAIRS)),
            ..CompareOptions::default()
        };
        let decision = self.judge(pull_request.law, &before, &after, &options);
        let pairs = stops_at(&decision);
        Outcome {
            overall: decision.verdict,
            target: verdict_of(&decision, pull_request.effect.target),
            pairs,
            runs: 2 * pairs,
        }
    }

    /// The runs of twelve pairs in one job.
    pub fn paired_runs(
        &self,
        pull_request: PullRequest<'_>,
        rng: &mut ChaCha8Rng,
    ) -> (Vec<Logs>, Vec<Logs>) {
        let PullRequest {
            law,
            effect,
            number,
        } = pull_request;
        let job = law.job(rng);
        let host = law.host(rng);
        let mut run = |slot: usize, current: bool| {
            let touched = if current {
                effect.touched
            } else {
                Touched::All
            };
            let mut logs = self.bank(law).logs(RUNS * number + slot, touched);
            job.add(&mut logs);
            law.process(rng).add(&mut logs);
            let session = law.session_drift * slot as f64 / (RUNS - 1) as f64;
            let change = if current { effect.slower + host } else { 0.0 };
            slow(&mut logs, session + change);
            logs
        };
        (0..PAIRS)
            .map(slots)
            .map(|(before, after)| (run(before, false), run(after, true)))
            .unzip()
    }

    fn history(&self, pull_request: PullRequest<'_>, rng: &mut ChaCha8Rng) -> Outcome {
        let PullRequest { law, number, .. } = pull_request;
        // Past jobs are other runs than those of the pairs.
        let other = self.bank(law).len() / 2 + RUNS * number;
        let past: Vec<Logs> = (0..JOBS)
            .map(|job| self.job_of_one_run(law, other + job, Touched::All, rng))
            .collect();
        let current = self.current_job(pull_request, other + JOBS, rng);
        let options = CompareOptions {
            history: Some(history(&past)),
            ..CompareOptions::default()
        };
        self.one_run(pull_request, &past[JOBS - 1..], &[current], &options)
    }

    fn single(
        &self,
        pull_request: PullRequest<'_>,
        run_cv: Option<f64>,
        rng: &mut ChaCha8Rng,
    ) -> Outcome {
        let PullRequest { law, number, .. } = pull_request;
        let before = self.job_of_one_run(law, RUNS * number, Touched::All, rng);
        let after = self.current_job(pull_request, RUNS * number + 1, rng);
        let options = CompareOptions {
            run_cv,
            ..CompareOptions::default()
        };
        self.one_run(pull_request, &[before], &[after], &options)
    }

    /// Requests of their own, since the banks keep only metrics.
    fn single_resampled(
        &self,
        pull_request: PullRequest<'_>,
        run_cv: Option<f64>,
        rng: &mut ChaCha8Rng,
    ) -> Outcome {
        let PullRequest { law, effect, .. } = pull_request;
        let workload = &self.bank(law).workload;
        let mut one = |slower: f64| {
            let run = Run::draw(workload, &USUAL, rng).slower(slower.exp());
            let mut logs = run.logs();
            law.job(rng).add(&mut logs);
            law.process(rng).add(&mut logs);
            side_with_requests(&run, &logs, workload.tokens_mean())
        };
        let (before, after) = (one(0.0), one(effect.slower));
        let options = CompareOptions {
            run_cv,
            bootstrap_draws: 60,
            ..CompareOptions::default()
        };
        let decision = self.decision(&before, &after, &options);
        single_outcome(&decision, effect)
    }

    fn job_of_one_run(
        &self,
        law: &Law,
        unit: usize,
        touched: Touched,
        rng: &mut ChaCha8Rng,
    ) -> Logs {
        let mut logs = self.bank(law).logs(unit, touched);
        law.job(rng).add(&mut logs);
        law.process(rng).add(&mut logs);
        logs
    }

    fn current_job(
        &self,
        pull_request: PullRequest<'_>,
        unit: usize,
        rng: &mut ChaCha8Rng,
    ) -> Logs {
        let PullRequest { law, effect, .. } = pull_request;
        let mut logs = self.job_of_one_run(law, unit, effect.touched, rng);
        slow(&mut logs, effect.slower + law.host(rng));
        logs
    }

    fn one_run(
        &self,
        pull_request: PullRequest<'_>,
        before: &[Logs],
        after: &[Logs],
        options: &CompareOptions,
    ) -> Outcome {
        let decision = self.judge(pull_request.law, before, after, options);
        single_outcome(&decision, pull_request.effect)
    }

    /// The real comparison and the real decision on two lists of runs.
    pub fn judge(
        &self,
        law: &Law,
        before: &[Logs],
        after: &[Logs],
        options: &CompareOptions,
    ) -> Decision {
        let tokens = self.bank(law).workload.tokens_mean();
        let (before, after) = (
            side(before, REQUESTS, tokens),
            side(after, REQUESTS, tokens),
        );
        self.decision(&before, &after, options)
    }

    fn decision(
        &self,
        before: &ResultSet,
        after: &ResultSet,
        options: &CompareOptions,
    ) -> Decision {
        let comparison = compare(Some(before), after, options).expect("both sides have runs");
        decide(&comparison, after, Some(before), &self.policy).expect("the levels are the default")
    }
}

fn single_outcome(decision: &Decision, effect: &Effect) -> Outcome {
    Outcome {
        overall: decision.verdict,
        target: verdict_of(decision, effect.target),
        pairs: 0,
        runs: 1,
    }
}

/// The default policy with the whole family gating.
fn policy() -> GatePolicy {
    GatePolicy {
        gating: METRICS.iter().map(|name| (*name).to_owned()).collect(),
        ..GatePolicy::default()
    }
}

/// What was said of a metric.
pub fn verdict_of(decision: &Decision, metric: &str) -> Verdict {
    let found = decision
        .metrics
        .iter()
        .find(|judged| judged.change.metric.name == metric);
    let judged = found.expect("the metric was measured");
    assert!(judged.gating, "{metric} does not gate");
    judged.verdict
}

/// The pairs after which measuring stops: at the first regression, else when every metric is
/// decided, else at the most.
pub fn stops_at(decision: &Decision) -> usize {
    let looked = |judged: &kitt_action::verdict::Judged| {
        judged
            .change
            .estimate
            .map_or(PAIRS, |estimate| estimate.runs.0)
    };
    let regressed = decision
        .metrics
        .iter()
        .filter(|judged| judged.verdict == Verdict::Regressed);
    let first = regressed.map(looked).min();
    first.unwrap_or_else(|| decision.metrics.iter().map(looked).max().unwrap_or(PAIRS))
}
