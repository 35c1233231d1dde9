//! When requests are due, and what a replayed trace says about each.

use std::{iter, num::NonZeroU32, sync::Arc, time::Duration};

use super::{
    Arrivals, Process, Rate, StopRules, gaps::Gaps, random, rate::Cumulative, replay::ReplayRow,
};

/// The place of one request, or of one conversation, in a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slot {
    /// When it is due, from the beginning of load; `None` in a closed loop.
    pub due: Option<Duration>,
    /// Tokens of the prompt, where a trace says it.
    pub input_tokens: Option<NonZeroU32>,
    /// Tokens of the answer, where a trace says it.
    pub output_tokens: Option<NonZeroU32>,
    /// The conversation it belongs to, where a trace says it.
    pub session: Option<u64>,
    /// Names of the prompt's blocks, where a trace says it. Prompts that begin with the same
    /// names begin with the same text.
    pub blocks: Option<Arc<[u64]>>,
}

/// The slots of a scenario, in order.
pub type Slots = Box<dyn Iterator<Item = Slot> + Send>;

/// The slots of a scenario.
///
/// An open loop's first request is due at once; what follows keeps the asked-for rate exactly:
/// `n` requests span `n − 1` mean gaps, and a duration gets as many requests as the rate says,
/// rounded, at least one. The same seed and salt (the scenario's name) give the same times on
/// every platform.
///
/// A closed loop without a number of requests and an open loop without any end never end. A
/// replay ends with its rows, whatever the stop rules say; without rows it is empty.
pub fn schedule(
    arrivals: &Arrivals,
    stop: &StopRules,
    seed: u64,
    salt: &str,
    replay: Option<Arc<[ReplayRow]>>,
) -> Slots {
    match arrivals {
        Arrivals::Closed { .. } => {
            let slots = iter::repeat_with(Slot::default);
            match stop.requests {
                Some(count) => Box::new(slots.take(count.get() as usize)),
                None => Box::new(slots),
            }
        }
        Arrivals::Open { rate, process, .. } => {
            Box::new(OpenLoop::new(rate, *process, stop, seed, salt))
        }
        Arrivals::Replay { speed, .. } => {
            let rows = replay.unwrap_or_default();
            Box::new(replayed(rows, *speed, *stop))
        }
    }
}

/// How many requests an open loop of this rate sends, where that is known beforehand.
pub fn expected(rate: &Rate, stop: &StopRules) -> Option<u64> {
    counted(&Cumulative::new(rate), stop)
}

fn counted(cumulative: &Cumulative, stop: &StopRules) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 1; rates and times are bounded where they are read"
    )]
    let within = |time| cumulative.arrivals(time).round().max(1.0) as u64;
    let requests = stop.requests.map(|count| u64::from(count.get()));
    match (requests, stop.duration.map(within)) {
        (Some(requests), Some(within)) => Some(requests.min(within)),
        (requests, within) => requests.or(within),
    }
}

struct OpenLoop {
    cumulative: Cumulative,
    gaps: Gaps,
    /// Arrivals of the unit-rate process so far; `None` before the first.
    position: Option<f64>,
}

impl OpenLoop {
    fn new(rate: &Rate, process: Process, stop: &StopRules, seed: u64, salt: &str) -> Self {
        let cumulative = Cumulative::new(rate);
        let random = random::stream(&[b"arrivals", &seed.to_le_bytes(), salt.as_bytes()]);
        // One gap fewer than requests.
        let gaps = counted(&cumulative, stop).map(|count| count.saturating_sub(1));
        Self {
            gaps: Gaps::new(process, gaps, random),
            cumulative,
            position: None,
        }
    }
}

impl Iterator for OpenLoop {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let position = match self.position {
            None => 0.0,
            Some(position) => position + self.gaps.next()?,
        };
        self.position = Some(position);
        Some(Slot {
            due: Some(self.cumulative.due(position)?),
            ..Slot::default()
        })
    }
}

fn replayed(
    rows: Arc<[ReplayRow]>,
    speed: f64,
    stop: StopRules,
) -> impl Iterator<Item = Slot> + Send {
    let count = stop
        .requests
        .map_or(usize::MAX, |count| count.get() as usize);
    let slot = move |index: usize| {
        let row = rows.get(index)?;
        let due = Duration::try_from_secs_f64(row.at.as_secs_f64() / speed).ok()?;
        Some(Slot {
            due: Some(due),
            input_tokens: Some(row.input_tokens),
            output_tokens: Some(row.output_tokens),
            session: row.session,
            blocks: row.blocks.clone(),
        })
    };
    (0..count)
        .map_while(slot)
        .take_while(move |slot| stop.duration.is_none_or(|end| slot.due < Some(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(rate: Rate, process: Process) -> Arrivals {
        Arrivals::Open {
            rate,
            process,
            max_in_flight: None,
        }
    }

    fn stop(requests: Option<u32>, seconds: Option<u64>) -> StopRules {
        StopRules {
            requests: requests.and_then(NonZeroU32::new),
            duration: seconds.map(Duration::from_secs),
            ..StopRules::default()
        }
    }

    fn times(arrivals: &Arrivals, stop: &StopRules, seed: u64) -> Vec<f64> {
        schedule(arrivals, stop, seed, "custom/r50", None)
            .map(|slot| slot.due.unwrap().as_secs_f64())
            .collect()
    }

    #[test]
    fn a_closed_loop_has_no_times() {
        let closed = Arrivals::Closed {
            concurrency: NonZeroU32::MIN,
        };
        let slots: Vec<Slot> = schedule(&closed, &stop(Some(3), None), 1, "x", None).collect();
        assert_eq!(slots, vec![Slot::default(); 3]);
        let endless = schedule(&closed, &stop(None, Some(1)), 1, "x", None);
        assert_eq!(endless.take(10_000).count(), 10_000);
    }

    #[test]
    fn the_rate_is_exact_however_the_gaps_scatter() {
        let processes = [
            Process::Constant,
            Process::Poisson,
            Process::Gamma { cv: 2.0 },
        ];
        for process in processes {
            for (rps, seconds) in [(0.5, 20), (50.0, 4), (500.0, 3), (5_000.0, 2)] {
                let arrivals = open(Rate::Constant { rps }, process);
                for seed in 0..3 {
                    let times = times(&arrivals, &stop(None, Some(seconds)), seed);
                    let n = times.len() as f64;
                    assert!((n - rps * seconds as f64).abs() < 1e-9);
                    let (first, last) = (times[0], times[times.len() - 1]);
                    let rate = (n - 1.0) / (last - first);
                    assert!((rate / rps - 1.0).abs() < 1e-5, "{process:?} {rps}: {rate}");
                    assert!(first.abs() < 1e-9 && last < seconds as f64);
                    assert!(times.is_sorted());
                }
            }
        }
    }

    #[test]
    fn requests_and_duration_end_whichever_is_first() {
        let arrivals = open(Rate::Constant { rps: 10.0 }, Process::Poisson);
        let count = |requests, seconds| times(&arrivals, &stop(requests, seconds), 1).len();
        assert_eq!(count(Some(30), None), 30);
        assert_eq!(count(Some(30), Some(2)), 20);
        assert_eq!(count(Some(10), Some(2)), 10);
        // A rate so low that nothing is expected still sends one.
        let slow = open(Rate::Constant { rps: 0.01 }, Process::Poisson);
        assert_eq!(times(&slow, &stop(None, Some(10)), 1), [0.0]);
        assert_eq!(
            expected(&Rate::Constant { rps: 10.0 }, &stop(Some(30), Some(2))),
            Some(20)
        );
        assert_eq!(
            expected(&Rate::Constant { rps: 10.0 }, &stop(None, None)),
            None
        );
    }

    #[test]
    fn an_endless_open_loop_keeps_its_rate() {
        let arrivals = open(Rate::Constant { rps: 100.0 }, Process::Poisson);
        let nth = schedule(&arrivals, &stop(None, None), 1, "x", None).nth(4096 * 5);
        let due = nth.unwrap().due.unwrap().as_secs_f64();
        assert!((due - 204.8).abs() < 1e-5, "{due}");
    }

    #[test]
    fn a_ramp_gets_its_arrivals_where_the_rate_is_high() {
        // From 0 to 20 in 10 s: 100 arrivals, 25 of them in the first half.
        let ramp = open("0..20:10s".parse().unwrap(), Process::Constant);
        let even = times(&ramp, &stop(None, Some(10)), 1);
        assert_eq!(even.len(), 100);
        assert_eq!(even.iter().filter(|time| **time < 5.0).count(), 25);
        let steps = open("10:10s,100:10s".parse().unwrap(), Process::Poisson);
        let scattered = times(&steps, &stop(None, Some(20)), 1);
        assert_eq!(scattered.len(), 1_100);
        let early = scattered.iter().filter(|time| **time < 10.0).count();
        // 100 ± 4 standard deviations of a Poisson count.
        assert!((60..=140).contains(&early), "{early}");
    }

    #[test]
    fn a_ramp_to_nothing_sends_no_more_than_it_holds() {
        let ramp = open("10..0:4s".parse().unwrap(), Process::Poisson);
        assert!(times(&ramp, &stop(Some(100), None), 1).len() <= 21);
    }

    #[test]
    fn seed_and_salt_decide() {
        let arrivals = open(Rate::Constant { rps: 50.0 }, Process::Poisson);
        let all = |seed, salt| -> Vec<Slot> {
            schedule(&arrivals, &stop(Some(50), None), seed, salt, None).collect()
        };
        assert_eq!(all(1, "a"), all(1, "a"));
        assert_ne!(all(1, "a"), all(2, "a"));
        assert_ne!(all(1, "a"), all(1, "b"));
    }

    #[test]
    fn these_times_never_change() {
        // Results of two releases are compared: the same seed must stay the same load.
        let arrivals = open(Rate::Constant { rps: 10.0 }, Process::Poisson);
        let micros: Vec<u128> = schedule(&arrivals, &stop(Some(5), None), 42, "custom/r10", None)
            .map(|slot| slot.due.unwrap().as_micros())
            .collect();
        assert_eq!(micros, [0, 222_431, 274_780, 381_150, 400_000]);
    }

    #[test]
    fn a_trace_is_replayed_at_its_speed_and_cut() {
        let row = |millis: u64, tokens: u32| ReplayRow {
            at: Duration::from_millis(millis),
            input_tokens: NonZeroU32::new(tokens).unwrap(),
            output_tokens: NonZeroU32::MIN,
            session: Some(7),
            blocks: Some(Arc::from([1, 2])),
        };
        let rows: Arc<[ReplayRow]> = Arc::from([row(0, 10), row(1_000, 20), row(4_000, 30)]);
        let arrivals = Arrivals::Replay {
            path: "t".into(),
            digest: String::new(),
            speed: 2.0,
            max_in_flight: None,
        };
        let replay = |stop: &StopRules| -> Vec<Slot> {
            schedule(&arrivals, stop, 1, "x", Some(Arc::clone(&rows))).collect()
        };
        let all = replay(&stop(None, None));
        assert_eq!(all.len(), 3);
        assert_eq!(all[2].due, Some(Duration::from_secs(2)));
        assert_eq!(all[1].input_tokens, NonZeroU32::new(20));
        assert_eq!(
            (all[1].session, all[1].blocks.as_deref()),
            (Some(7), Some(&[1, 2][..]))
        );
        assert_eq!(replay(&stop(Some(2), None)).len(), 2);
        assert_eq!(replay(&stop(None, Some(2))).len(), 2);
        assert_eq!(
            schedule(&arrivals, &stop(None, None), 1, "x", None).count(),
            0
        );
    }
}
