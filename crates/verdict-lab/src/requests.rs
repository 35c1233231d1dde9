//! One run: the latencies of its requests, and the twelve metrics that follow from them.
//!
//! Log latency = effect of the prompt (the same in every run) + AR(1) queue + jitter + linear
//! drift + a two-state clock + bursts of slow requests. The sizes are set so that the metrics of
//! two runs of one process-like state differ as `research/regression-statistics.md` §4 says for
//! 1000 requests: throughput 0.5 %, TTFT p50 1.2 %, p90 1.7 %, p99 5.6 %, ITL mean 0.6 %.
//! `tests/model.rs` holds them to it.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Exp1, StandardNormal};

/// Requests per run: what a p99 needs to gate.
pub const REQUESTS: usize = 1000;
/// Requests in flight.
pub const CONCURRENCY: f64 = 32.0;
/// The family of gating metrics of every table.
pub const METRICS: [&str; 12] = [
    "output_tps",
    "request_rps",
    "ttft_ms.mean",
    "ttft_ms.p50",
    "ttft_ms.p90",
    "ttft_ms.p99",
    "itl_ms.mean",
    "itl_ms.p99",
    "tpot_ms.p50",
    "e2e_ms.mean",
    "e2e_ms.p50",
    "e2e_ms.p90",
];

/// Place of a metric in [`METRICS`].
pub fn place(metric: &str) -> usize {
    let found = METRICS.iter().position(|known| *known == metric);
    found.expect("a metric of the family")
}

/// Natural logarithms of the metrics of one run.
pub type Logs = [f64; METRICS.len()];

/// The requests that every run sends: index i is the same prompt everywhere.
#[derive(Debug, Clone)]
pub struct Workload {
    prompts: Vec<Prompt>,
}

#[derive(Debug, Clone, Copy)]
struct Prompt {
    ttft: f64,
    itl: f64,
    tokens: f64,
}

impl Workload {
    /// So many requests: spread of TTFT 0.35, of ITL 0.10, of the answers' lengths 0.28.
    pub fn new(requests: usize, rng: &mut impl Rng) -> Self {
        let prompt = |_| Prompt {
            ttft: 150.0_f64.ln() + 0.35 * normal(rng),
            itl: 20.0_f64.ln() + 0.10 * normal(rng),
            tokens: (128.0_f64.ln() + 0.28 * normal(rng)).exp().round().max(2.0),
        };
        Self {
            prompts: (0..requests).map(prompt).collect(),
        }
    }

    /// Mean length of an answer in tokens.
    pub fn tokens_mean(&self) -> f64 {
        let tokens = self.prompts.iter().map(|prompt| prompt.tokens);
        tokens.sum::<f64>() / self.prompts.len() as f64
    }
}

/// How the requests of one run differ from those of the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// The queue's lag-1 autocorrelation, drawn for each run from this range.
    pub autocorrelation: (f64, f64),
    /// How much slower the low clock is, as a range of logs.
    pub low_clock: (f64, f64),
    /// Chance that the clock changes its state from one request to the next.
    pub clock_change: f64,
    /// Share of the time that the clock is low in the long run.
    pub low_share: f64,
}

/// The weather of the tables.
pub const USUAL: Weather = Weather {
    autocorrelation: (0.5, 0.7),
    low_clock: (0.015, 0.03),
    clock_change: 0.01,
    low_share: 0.2,
};
/// Queues from independent to almost constant.
pub const RANDOM_QUEUES: Weather = Weather {
    autocorrelation: (0.0, 0.95),
    ..USUAL
};
/// A clock that stays where it is for most of a run, and is low in a third of them.
pub const TWO_CLOCKS: Weather = Weather {
    low_clock: (0.03, 0.05),
    clock_change: 0.0005,
    low_share: 0.3,
    ..USUAL
};

const QUEUE_TTFT: f64 = 0.115;
const QUEUE_ITL: f64 = 0.020;
const JITTER_TTFT: f64 = 0.10;
const JITTER_ITL: f64 = 0.03;
const DRIFT: f64 = 0.004;
/// Chance that a burst begins at a request, before the run's own factor.
const BURST_CHANCE: f64 = 0.0033;
const BURST_FACTOR: f64 = 0.5;
const BURST_REQUESTS: f64 = 3.0;
/// How high bursts are, relative to each other.
const BURST_HEIGHT: (f64, f64) = (0.5, 1.5);
const BURST_TTFT: f64 = 0.58;
const BURST_ITL: f64 = 0.10;
/// What of a run's throughput its requests do not explain: the edges of the window.
const WINDOW: f64 = 0.0015;

/// The requests of one run, in order.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Time to the first token in ms.
    pub ttft: Vec<f64>,
    /// Mean time per further token in ms; the request's inter-token time too.
    pub tpot: Vec<f64>,
    /// Time to the last token in ms.
    pub e2e: Vec<f64>,
    tokens: Vec<f64>,
    /// Log of what the window's edges add to throughput.
    window: f64,
}

fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

impl Run {
    /// One run of a workload.
    pub fn draw(workload: &Workload, weather: &Weather, rng: &mut impl Rng) -> Self {
        let uniform =
            |rng: &mut _, (low, high): (f64, f64)| low + (high - low) * RngExt::random::<f64>(rng);
        let phi = uniform(rng, weather.autocorrelation);
        let innovation = (1.0 - phi * phi).sqrt();
        let depth = uniform(rng, weather.low_clock);
        let drift = DRIFT * normal(rng);
        let chance = BURST_CHANCE * (BURST_FACTOR * normal(rng)).exp();
        let mut low = rng.random::<f64>() < weather.low_share;
        let (mut queue, mut burst, mut height) = (normal(rng), 0.0, 0.0);
        let count = workload.prompts.len() as f64;
        let mut run = Self {
            window: WINDOW * normal(rng),
            ..Self::default()
        };
        for (index, prompt) in workload.prompts.iter().enumerate() {
            queue = phi * queue + innovation * normal(rng);
            if rng.random::<f64>() < weather.clock_change {
                low = rng.random::<f64>() < weather.low_share;
            }
            if rng.random::<f64>() < chance {
                let length: f64 = Exp1.sample(rng);
                burst = (BURST_REQUESTS * length).ceil();
                height = uniform(rng, BURST_HEIGHT);
            }
            let bursting = if burst > 0.0 { height } else { 0.0 };
            burst -= 1.0;
            let slow = drift * (index as f64 / count - 0.5) + if low { depth } else { 0.0 };
            let ttft = prompt.ttft
                + slow
                + QUEUE_TTFT * queue
                + JITTER_TTFT * normal(rng)
                + BURST_TTFT * bursting;
            let tpot = prompt.itl
                + slow
                + QUEUE_ITL * queue
                + JITTER_ITL * normal(rng)
                + BURST_ITL * bursting;
            let (ttft, tpot) = (ttft.exp(), tpot.exp());
            run.e2e.push(ttft + (prompt.tokens - 1.0) * tpot);
            run.ttft.push(ttft);
            run.tpot.push(tpot);
            run.tokens.push(prompt.tokens);
        }
        run
    }

    /// The same run with every time to the first token `factor` times as long.
    #[must_use]
    pub fn with_ttft(&self, factor: f64) -> Self {
        self.with_each_ttft(|_| factor)
    }

    /// The same run with the slowest 2.5 % of the first tokens `factor` times as late, and the
    /// rest as it was: what moves is the p99.
    #[must_use]
    pub fn with_ttft_tail(&self, factor: f64) -> Self {
        let from = quantile(&mut self.ttft.clone(), 97.5);
        self.with_each_ttft(|ttft| if ttft > from { factor } else { 1.0 })
    }

    fn with_each_ttft(&self, factor: impl Fn(f64) -> f64) -> Self {
        let mut changed = self.clone();
        for (ttft, e2e) in changed.ttft.iter_mut().zip(&mut changed.e2e) {
            let new = *ttft * factor(*ttft);
            *e2e += new - *ttft;
            *ttft = new;
        }
        changed
    }

    /// The same run with every latency `factor` times as long.
    #[must_use]
    pub fn slower(&self, factor: f64) -> Self {
        let mut changed = self.clone();
        for values in [&mut changed.ttft, &mut changed.tpot, &mut changed.e2e] {
            for value in values {
                *value *= factor;
            }
        }
        changed
    }

    /// Its metrics.
    pub fn logs(&self) -> Logs {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let mut scratch = Vec::with_capacity(self.ttft.len());
        let mut at = |values: &[f64], percent: f64| {
            scratch.clear();
            scratch.extend_from_slice(values);
            quantile(&mut scratch, percent)
        };
        // A closed loop is always full: requests per second are requests in flight per latency.
        let requests = 1000.0 * CONCURRENCY / mean(&self.e2e) * self.window.exp();
        [
            requests * mean(&self.tokens),
            requests,
            mean(&self.ttft),
            at(&self.ttft, 50.0),
            at(&self.ttft, 90.0),
            at(&self.ttft, 99.0),
            mean(&self.tpot),
            at(&self.tpot, 99.0),
            at(&self.tpot, 50.0),
            mean(&self.e2e),
            at(&self.e2e, 50.0),
            at(&self.e2e, 90.0),
        ]
        .map(f64::ln)
    }
}

/// Quantile with linear interpolation (Hyndman and Fan 1996, type 7); reorders the values.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position within the list"
)]
pub fn quantile(values: &mut [f64], percent: f64) -> f64 {
    let position = (values.len() - 1) as f64 * percent / 100.0;
    let below = position as usize;
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let next = above.iter().copied().reduce(f64::min).unwrap_or(low);
    low + (position - below as f64) * (next - low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator;

    fn run() -> Run {
        let workload = Workload::new(REQUESTS, &mut generator(1, 0, 0));
        Run::draw(&workload, &USUAL, &mut generator(1, 1, 0))
    }

    fn moved(run: &Run, metric: &str, by: &Run) -> f64 {
        (by.logs()[place(metric)] - run.logs()[place(metric)]).exp()
    }

    #[test]
    fn an_effect_moves_what_it_should_and_nothing_else() {
        let run = run();
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
        close(moved(&run, "ttft_ms.p50", &run.with_ttft(1.05)), 1.05);
        close(moved(&run, "tpot_ms.p50", &run.with_ttft(1.05)), 1.0);
        close(moved(&run, "ttft_ms.p99", &run.with_ttft_tail(1.2)), 1.2);
        close(moved(&run, "ttft_ms.p90", &run.with_ttft_tail(1.2)), 1.0);
        close(moved(&run, "output_tps", &run.slower(1.0 / 0.95)), 0.95);
        close(moved(&run, "itl_ms.p99", &run.slower(1.1)), 1.1);
    }

    /// Type 7 of 1…5 at 90 %: index 3.6, that is 4 + 0.6.
    #[test]
    fn a_quantile_by_hand() {
        let found = quantile(&mut [5.0, 1.0, 4.0, 2.0, 3.0], 90.0);
        assert!((found - 4.6).abs() < 1e-12);
    }
}
