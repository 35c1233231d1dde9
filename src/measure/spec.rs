//! What a measurement is told beforehand: how load arrives, what counts as good. Values only.

use std::{num::NonZeroU32, time::Duration};

use crate::context::Prices;
use crate::plan::{Length, Objective, PromptSource, Scenario, StopRules};

/// What the accumulator must know of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureSpec {
    /// How requests arrive.
    pub load: Load,
    /// What a request must keep to count as good; empty when nothing was asked for.
    pub objectives: Vec<Objective>,
    /// Requests that were to be sent; `None` when only the time decides.
    pub planned: Option<u32>,
    /// When to stop early.
    pub stop: StopRules,
    /// Whether all prompts were asked to be of one length.
    pub same_prompts: bool,
    /// Whether no prompt shares its beginning with another: a prefix cache must not help.
    pub cold: bool,
    /// Sequences the server runs at once, where that is known.
    pub slots: Option<NonZeroU32>,
    /// What the GPUs cost; `None` where nobody asked.
    pub prices: Option<Prices>,
    /// How many GPUs the engine has, where that is known without watching them.
    pub gpus: Option<u32>,
    /// Power of the GPUs with the model loaded and nothing to do, watts
    /// ([`super::idle_power`]).
    pub idle_power_w: Option<f64>,
}

/// How requests arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// A fixed number in flight.
    Closed {
        /// How many.
        concurrency: NonZeroU32,
        /// Whether turns of a conversation pause in between: idle slots are then asked for.
        pauses: bool,
    },
    /// Requests are due at times of their own.
    Open,
}

impl MeasureSpec {
    /// A closed loop without objectives, stop rules or expectations.
    pub fn closed(concurrency: NonZeroU32, planned: Option<u32>) -> Self {
        Self {
            load: Load::Closed {
                concurrency,
                pauses: false,
            },
            objectives: Vec::new(),
            planned,
            stop: StopRules::default(),
            same_prompts: false,
            cold: false,
            slots: None,
            prices: None,
            gpus: None,
            idle_power_w: None,
        }
    }

    /// What a planned scenario says. It does not know the server's slots.
    pub fn of(scenario: &Scenario, objectives: Vec<Objective>) -> Self {
        let single = scenario.turns == NonZeroU32::MIN;
        let load = match scenario.arrivals.concurrency() {
            Some(concurrency) => Load::Closed {
                concurrency,
                pauses: !single && scenario.think > Duration::ZERO,
            },
            None => Load::Open,
        };
        let unshared = matches!(
            scenario.prompts,
            PromptSource::Synthetic { shared_prefix } if shared_prefix <= 0.0
        );
        Self {
            load,
            objectives,
            planned: scenario.stop.requests.map(NonZeroU32::get),
            stop: scenario.stop,
            same_prompts: single && matches!(scenario.input_tokens, Length::Fixed { .. }),
            cold: single && unshared,
            slots: None,
            prices: None,
            gpus: None,
            idle_power_w: None,
        }
    }

    /// The closed loop's requests in flight.
    pub(super) const fn concurrency(&self) -> Option<NonZeroU32> {
        match self.load {
            Load::Closed { concurrency, .. } => Some(concurrency),
            Load::Open => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Arrivals, Process, Rate, Test, Warmup};

    fn scenario() -> Scenario {
        let many = |count| NonZeroU32::new(count).unwrap();
        Scenario::closed(
            "one".parse().unwrap(),
            Test::Custom,
            many(4),
            many(100),
            Warmup::Off,
            (many(64), many(32)),
        )
    }

    #[test]
    fn a_scenario_tells_what_to_expect() {
        let spec = MeasureSpec::of(&scenario(), Vec::new());
        assert_eq!(
            spec.load,
            Load::Closed {
                concurrency: NonZeroU32::new(4).unwrap(),
                pauses: false
            }
        );
        assert_eq!(spec.planned, Some(100));
        assert!(spec.same_prompts && spec.cold);
    }

    #[test]
    fn conversations_and_shared_prefixes_are_not_cold() {
        let mut turns = scenario();
        turns.turns = NonZeroU32::new(3).unwrap();
        turns.think = Duration::from_secs(1);
        let spec = MeasureSpec::of(&turns, Vec::new());
        assert!(!spec.cold && !spec.same_prompts);
        assert!(matches!(spec.load, Load::Closed { pauses: true, .. }));

        let mut shared = scenario();
        shared.prompts = PromptSource::Synthetic { shared_prefix: 0.5 };
        assert!(!MeasureSpec::of(&shared, Vec::new()).cold);
    }

    #[test]
    fn requests_that_are_due_make_an_open_loop() {
        let mut open = scenario();
        open.arrivals = Arrivals::Open {
            rate: Rate::Constant { rps: 5.0 },
            process: Process::Poisson,
            max_in_flight: None,
        };
        open.stop.requests = None;
        let spec = MeasureSpec::of(&open, Vec::new());
        assert_eq!((spec.load, spec.planned), (Load::Open, None));
    }
}
