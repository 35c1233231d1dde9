//! Continuous batching in virtual time. Pure: arrivals in, steps out; nothing here sleeps.
//!
//! The rules are in the module's documentation (`sim/mod.rs`). Times are nanoseconds since the
//! server's start.

use std::collections::VecDeque;

use super::model::Model;

/// A request as the scheduler sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    /// Unique per server.
    pub id: u64,
    /// When the whole request had been read. Jobs are handed over in this order.
    pub arrived_ns: u64,
    /// Length of its prompt.
    pub prompt_tokens: u32,
    /// Tokens of its answer, at least 1: the first from its prefill, the others decoded.
    pub output_tokens: u32,
}

/// When a request left the queue and was prefilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to the name")]
pub(super) struct Admission {
    /// Beginning of the step that admitted it.
    pub admitted_ns: u64,
    /// Beginning of its own prefill.
    pub prefill_start_ns: u64,
    /// End of its own prefill, which yields its first token.
    pub prefill_end_ns: u64,
}

/// One token of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Emitted {
    /// The job.
    pub id: u64,
    /// Whether it was the job's last token.
    pub last: bool,
    /// How the job came in.
    pub admission: Admission,
}

/// One step of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// When its tokens are due.
    pub end_ns: u64,
    /// One token for every running sequence, in the order of admission: the ones decoded, then
    /// the ones prefilled.
    pub emitted: Vec<Emitted>,
}

#[derive(Debug)]
struct Sequence {
    job: Job,
    admission: Admission,
    left: u32,
}

/// The queue, the batch and the virtual clock.
#[derive(Debug)]
pub(super) struct Scheduler {
    model: Model,
    clock_ns: u64,
    waiting: VecDeque<Job>,
    running: Vec<Sequence>,
}

impl Scheduler {
    pub(super) fn new(model: Model) -> Self {
        Self {
            model,
            clock_ns: 0,
            waiting: VecDeque::new(),
            running: Vec::new(),
        }
    }

    /// Puts a job at the end of the queue.
    pub(super) fn arrive(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Jobs in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sequences that have tokens left.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Frees the place of jobs whose client went away.
    pub(super) fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.waiting.retain(|job| keep(job.id));
        self.running.retain(|sequence| keep(sequence.job.id));
    }

    /// Admits, prefills and decodes once; `None` when there is nothing to do.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        let begin_ns = self.begin()?;
        // Who comes in now has its token of this step from its prefill.
        let decoded = self.running.len();
        let prefilled_ns = self.admit(begin_ns);
        let end_ns = if decoded == 0 {
            prefilled_ns
        } else {
            prefilled_ns.saturating_add(self.model.decode_ns(decoded))
        };
        self.clock_ns = end_ns;
        let emitted = self.running.iter_mut().map(Sequence::emit).collect();
        self.running.retain(|sequence| sequence.left > 0);
        Some(Step { end_ns, emitted })
    }

    fn begin(&self) -> Option<u64> {
        if self.running.is_empty() {
            let first = self.waiting.front()?;
            Some(self.clock_ns.max(first.arrived_ns))
        } else {
            Some(self.clock_ns)
        }
    }

    /// Prefills what may come in at `begin_ns`; returns when the last prefill ends.
    fn admit(&mut self, begin_ns: u64) -> u64 {
        let mut now_ns = begin_ns;
        while self.running.len() < self.model.max_batch() {
            let first = self.waiting.front().copied();
            let Some(job) = first.filter(|job| job.arrived_ns <= begin_ns) else {
                break;
            };
            self.waiting.pop_front();
            let prefill_start_ns = now_ns;
            now_ns = now_ns.saturating_add(self.model.prefill_ns(job.prompt_tokens));
            self.running.push(Sequence {
                job,
                admission: Admission {
                    admitted_ns: begin_ns,
                    prefill_start_ns,
                    prefill_end_ns: now_ns,
                },
                left: job.output_tokens,
            });
        }
        now_ns
    }
}

impl Sequence {
    fn emit(&mut self) -> Emitted {
        self.left = self.left.saturating_sub(1);
        Emitted {
            id: self.job.id,
            last: self.left == 0,
            admission: self.admission,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::SimSpec;

    const MS: u64 = 1_000_000;

    fn exact() -> SimSpec {
        SimSpec {
            noise_cv: 0.0,
            run_cv: 0.0,
            ..SimSpec::default()
        }
    }

    fn job(id: u64, arrived_ns: u64, prompt_tokens: u32, output_tokens: u32) -> Job {
        Job {
            id,
            arrived_ns,
            prompt_tokens,
            output_tokens,
        }
    }

    /// When each token of each job was due.
    fn run(spec: &SimSpec, jobs: &[Job]) -> BTreeMap<u64, Vec<u64>> {
        let mut scheduler = Scheduler::new(Model::new(spec).unwrap());
        for job in jobs {
            scheduler.arrive(*job);
        }
        let mut due: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        while let Some(step) = scheduler.next_step() {
            for token in step.emitted {
                due.entry(token.id).or_default().push(step.end_ns);
            }
        }
        due
    }

    fn gaps(due: &[u64]) -> Vec<u64> {
        due.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn a_request_alone_takes_its_prefill_and_one_decode_per_further_token() {
        let due = run(&exact(), &[job(1, 5 * MS, 100, 4)]);
        // Prefill 8 + 0.05·100 = 13 ms: first token at 5 + 13 ms. Decode 6.2 ms, three times:
        // the last at 18 + 18.6 ms.
        assert_eq!(due[&1], [18_000_000, 24_200_000, 30_400_000, 36_600_000]);
    }

    #[test]
    fn an_answer_of_one_token_needs_no_decode() {
        let due = run(&exact(), &[job(1, 0, 100, 1), job(2, MS, 100, 1)]);
        // One prefill after the other: the second waits for the first step's end, at 13 ms.
        assert_eq!(due[&1], [13 * MS]);
        assert_eq!(due[&2], [26 * MS]);
    }

    #[test]
    fn a_slowdown_of_eight_percent_is_exactly_that_in_every_gap() {
        let slower = SimSpec {
            slowdown: 0.08,
            ..exact()
        };
        let jobs = [job(1, 0, 100, 50)];
        let base = run(&exact(), &jobs);
        let slow = run(&slower, &jobs);
        for (base, slow) in gaps(&base[&1]).iter().zip(gaps(&slow[&1])) {
            assert_eq!(base * 108, slow * 100);
        }
        // The first token comes from the prefill, which is not slower.
        assert_eq!((slow[&1][0], base[&1][0]), (13 * MS, 13 * MS));
    }

    #[test]
    fn a_slowdown_leaves_the_first_token_alone_under_noise_too() {
        let slower = SimSpec {
            slowdown: 0.08,
            ..SimSpec::default()
        };
        // The same draws on both sides: the second request's prefill is the 21st draw.
        let jobs = [job(1, 0, 100, 20), job(2, 500 * MS, 300, 20)];
        let base = run(&SimSpec::default(), &jobs);
        let slow = run(&slower, &jobs);
        assert_eq!(base[&1][0], slow[&1][0]);
        assert_eq!(base[&2][0], slow[&2][0]);
        assert!(base[&1][1] < slow[&1][1]);
    }

    #[test]
    fn the_decode_grows_with_the_batch_and_shrinks_when_one_ends() {
        let due = run(&exact(), &[job(1, 0, 100, 2), job(2, 0, 200, 4)]);
        // One step: prefills 13 + 18 ms and nobody to decode. Then a decode of two, 6.4 ms.
        assert_eq!(due[&1], [31_000_000, 37_400_000]);
        assert_eq!(due[&2][0], 31_000_000);
        assert_eq!(gaps(&due[&2]), [6_400_000, 6_200_000, 6_200_000]);
    }

    #[test]
    fn a_prefill_delays_the_step_it_happens_in() {
        // The second arrives while the first step (13 ms) runs and is admitted at its end.
        let due = run(&exact(), &[job(1, 0, 100, 4), job(2, MS, 100, 2)]);
        assert_eq!(due[&1][0], 13_000_000);
        // 13 ms of prefill and a decode of the first alone; a decode of both; one alone.
        assert_eq!(gaps(&due[&1]), [19_200_000, 6_400_000, 6_200_000]);
        assert_eq!(due[&2], [32_200_000, 38_600_000]);
    }

    #[test]
    fn a_request_that_arrives_just_after_a_boundary_waits_for_the_next() {
        let before = run(&exact(), &[job(1, 0, 100, 9), job(2, 13_000_000, 100, 1)]);
        let after = run(&exact(), &[job(1, 0, 100, 9), job(2, 13_000_001, 100, 1)]);
        // Admitted at 13 ms: prefill and decode of the first until 32.2 ms.
        assert_eq!(before[&2], [32_200_000]);
        assert_eq!(after[&2], [38_400_000]);
    }

    #[test]
    fn more_than_max_batch_wait_in_order() {
        let spec = SimSpec {
            max_batch: 2,
            ..exact()
        };
        let jobs = [
            job(1, 0, 100, 3),
            job(2, 0, 100, 1),
            job(3, 0, 100, 1),
            job(4, 0, 100, 1),
        ];
        let due = run(&spec, &jobs);
        // Steps: two prefills, 26 ms; then one prefill and a decode of the first, twice.
        assert_eq!(due[&1], [26_000_000, 45_200_000, 64_400_000]);
        assert_eq!(due[&2], [26_000_000]);
        assert_eq!(due[&3], [45_200_000]);
        assert_eq!(due[&4], [64_400_000]);
    }

    #[test]
    fn an_idle_engine_starts_at_the_arrival() {
        let due = run(&exact(), &[job(1, 0, 100, 1), job(2, 500 * MS, 100, 1)]);
        assert_eq!(due[&2], [513_000_000]);
    }

    #[test]
    fn a_step_has_one_draw_for_each_prefill_and_one_for_a_decode() {
        let spec = SimSpec::default();
        let due = run(&spec, &[job(1, 0, 100, 2), job(2, 0, 200, 2)]);
        let mut model = Model::new(&spec).unwrap();
        let first = model.prefill_ns(100) + model.prefill_ns(200);
        assert_eq!(due[&1], [first, first + model.decode_ns(2)]);
        assert_eq!(due[&1], due[&2]);
    }

    #[test]
    fn prefills_of_one_step_follow_each_other() {
        let mut scheduler = Scheduler::new(Model::new(&exact()).unwrap());
        scheduler.arrive(job(1, 2 * MS, 100, 1));
        scheduler.arrive(job(2, 2 * MS, 200, 1));
        let step = scheduler.next_step().unwrap();
        assert_eq!(step.end_ns, 33 * MS);
        assert_eq!(
            step.emitted[1].admission,
            Admission {
                admitted_ns: 2 * MS,
                prefill_start_ns: 15 * MS,
                prefill_end_ns: 33 * MS,
            }
        );
    }

    #[test]
    fn a_client_that_goes_away_frees_its_place() {
        let spec = SimSpec {
            max_batch: 1,
            ..exact()
        };
        let mut scheduler = Scheduler::new(Model::new(&spec).unwrap());
        for id in 1..=3 {
            scheduler.arrive(job(id, 0, 100, 100));
        }
        assert_eq!(scheduler.next_step().unwrap().emitted[0].id, 1);
        assert_eq!((scheduler.running(), scheduler.waiting()), (1, 2));
        scheduler.retain(|id| id == 3);
        assert_eq!((scheduler.running(), scheduler.waiting()), (0, 1));
        let step = scheduler.next_step().unwrap();
        assert_eq!(step.emitted[0].id, 3);
        // Two prefills after each other: the one that left was never decoded.
        assert_eq!(step.end_ns, 26 * MS);
    }

    #[test]
    fn the_same_seed_gives_the_same_times_and_another_does_not() {
        let spec = SimSpec::default();
        let jobs = [job(1, 0, 100, 20), job(2, 3 * MS, 300, 20)];
        let other = SimSpec {
            seed: 1,
            ..spec.clone()
        };
        assert_eq!(run(&spec, &jobs), run(&spec, &jobs));
        assert_ne!(run(&spec, &jobs), run(&other, &jobs));
    }

    #[test]
    fn noise_keeps_the_mean_step() {
        let spec = SimSpec {
            run_cv: 0.0,
            ..SimSpec::default()
        };
        let due = run(&spec, &[job(1, 0, 100, 10_001)]);
        let tokens = &due[&1];
        let mean = (tokens[10_000] - tokens[0]) as f64 / 10_000.0;
        // cv 0.02 over 10,000 steps: standard error 0.02 %.
        assert!((mean / 6_200_000.0 - 1.0).abs() < 0.001, "{mean}");
    }
}
