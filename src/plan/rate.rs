//! The cumulative rate Λ(t), the number of arrivals expected until `t`, and its inverse.
//!
//! Arrivals `s₁ < s₂ < …` of a process with one arrival per unit of time become arrivals of a
//! process with rate λ(t) at Λ⁻¹(sᵢ): the time-rescaling theorem (Brown et al., Neural
//! Computation 14 (2002) 325; Çinlar, Introduction to Stochastic Processes, 1975, §4.7).

use std::time::Duration;

use super::Rate;

/// A stretch over which the rate changes linearly.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// Seconds from the beginning of load.
    start: f64,
    /// Arrivals expected before it.
    before: f64,
    from_rps: f64,
    to_rps: f64,
    seconds: f64,
}

impl Segment {
    fn arrivals(&self) -> f64 {
        f64::midpoint(self.from_rps, self.to_rps) * self.seconds
    }

    /// Arrivals expected in its first `seconds`.
    fn until(&self, seconds: f64) -> f64 {
        let slope = (self.to_rps - self.from_rps) / self.seconds;
        self.from_rps * seconds + slope * seconds * seconds / 2.0
    }

    /// When `arrivals` of it are expected, in seconds from its start: the root of
    /// `slope/2 · t² + from · t − arrivals`, in the form that also holds for a slope of 0.
    fn after(&self, arrivals: f64) -> f64 {
        let slope = (self.to_rps - self.from_rps) / self.seconds;
        let square = self.from_rps * self.from_rps + 2.0 * slope * arrivals;
        let below = self.from_rps + square.max(0.0).sqrt();
        if below > 0.0 {
            2.0 * arrivals / below
        } else {
            0.0
        }
    }
}

/// Λ and its inverse.
#[derive(Debug, Clone)]
pub(super) struct Cumulative {
    segments: Vec<Segment>,
    /// When the last segment ends, in seconds.
    end: f64,
    /// Arrivals expected until then.
    until_end: f64,
    /// The rate from then on.
    last_rps: f64,
}

impl Cumulative {
    pub(super) fn new(rate: &Rate) -> Self {
        let mut all = Self {
            segments: Vec::new(),
            end: 0.0,
            until_end: 0.0,
            last_rps: 0.0,
        };
        match rate {
            Rate::Constant { rps } => all.last_rps = *rps,
            Rate::Ramp {
                from_rps,
                to_rps,
                over,
            } => all.push(*from_rps, *to_rps, *over),
            Rate::Steps { steps } => {
                for (rps, time) in steps {
                    all.push(*rps, *rps, *time);
                }
            }
        }
        all
    }

    fn push(&mut self, from_rps: f64, to_rps: f64, over: Duration) {
        self.last_rps = to_rps;
        if over.is_zero() {
            return;
        }
        let segment = Segment {
            start: self.end,
            before: self.until_end,
            from_rps,
            to_rps,
            seconds: over.as_secs_f64(),
        };
        self.end += segment.seconds;
        self.until_end += segment.arrivals();
        self.segments.push(segment);
    }

    /// Λ(t): arrivals expected within this time.
    pub(super) fn arrivals(&self, time: Duration) -> f64 {
        let seconds = time.as_secs_f64();
        if seconds >= self.end {
            return self.until_end + self.last_rps * (seconds - self.end);
        }
        let at = |segment: &&Segment| segment.start <= seconds;
        self.segments.iter().rfind(at).map_or(0.0, |found| {
            found.before + found.until(seconds - found.start)
        })
    }

    /// Λ⁻¹: when the arrival is due before which `arrivals` are expected. `None` when the rate
    /// ends at 0 before. Rounded to whole microseconds, so that the last bits, in which the
    /// mathematics libraries of platforms differ, do not matter.
    pub(super) fn due(&self, arrivals: f64) -> Option<Duration> {
        // An arrival that is due at the beginning of a pause comes after it.
        let seconds = if arrivals < self.until_end {
            let segment = self
                .segments
                .iter()
                .find(|segment| arrivals < segment.before + segment.arrivals())?;
            segment.start + segment.after(arrivals - segment.before)
        } else if self.last_rps > 0.0 {
            self.end + (arrivals - self.until_end) / self.last_rps
        } else {
            return None;
        };
        let micros = (seconds * 1e6).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative, and checked against the upper end"
        )]
        (micros < u64::MAX as f64).then(|| Duration::from_micros(micros as u64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cumulative(text: &str) -> Cumulative {
        Cumulative::new(&text.parse().unwrap())
    }

    fn due(cumulative: &Cumulative, arrivals: f64) -> f64 {
        cumulative.due(arrivals).unwrap().as_secs_f64()
    }

    #[test]
    fn a_constant_rate_divides() {
        let constant = Cumulative::new(&Rate::Constant { rps: 4.0 });
        assert_eq!(constant.due(10.0), Some(Duration::from_millis(2500)));
        assert!((constant.arrivals(Duration::from_secs(3)) - 12.0).abs() < 1e-12);
    }

    #[test]
    fn a_ramp_integrates() {
        // From 0 to 20 in 10 s: Λ(t) = t², so 25 arrivals after 5 s and 100 after 10 s; then 20
        // each second.
        let ramp = cumulative("0..20:10s");
        assert!((ramp.arrivals(Duration::from_secs(5)) - 25.0).abs() < 1e-9);
        assert!((due(&ramp, 0.0)).abs() < 1e-9);
        assert!((due(&ramp, 25.0) - 5.0).abs() < 1e-6);
        assert!((due(&ramp, 100.0) - 10.0).abs() < 1e-6);
        assert!((due(&ramp, 140.0) - 12.0).abs() < 1e-6);
    }

    #[test]
    fn a_ramp_to_nothing_ends() {
        // From 10 to 0 in 4 s: 20 arrivals in all, 15 of them after 2 s.
        let ramp = cumulative("10..0:4s");
        assert!((due(&ramp, 15.0) - 2.0).abs() < 1e-6);
        assert_eq!(ramp.due(20.0), None);
    }

    #[test]
    fn steps_hold_and_pauses_are_empty() {
        let steps = cumulative("0:5s,10:2s,0:3s,2:1s");
        // 2 s of 10, 1 s of 2, and 2 for the 19 s that are left.
        assert!((steps.arrivals(Duration::from_secs(30)) - 60.0).abs() < 1e-9);
        assert!((due(&steps, 0.0) - 5.0).abs() < 1e-6);
        assert!((due(&steps, 10.0) - 6.0).abs() < 1e-6);
        // The twentieth waits for the end of the pause.
        assert!((due(&steps, 20.0) - 10.0).abs() < 1e-6);
        assert!((due(&steps, 21.0) - 10.5).abs() < 1e-6);
        // The last rate stays.
        assert!((due(&steps, 24.0) - 12.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn due_times_never_go_back_and_invert(
            from in 0.0_f64..100.0, to in 0.0_f64..100.0, seconds in 1_u64..100,
            mut at in proptest::collection::vec(0.0_f64..5_000.0, 2..50),
        ) {
            let over = Duration::from_secs(seconds);
            let all = Cumulative::new(&Rate::Ramp { from_rps: from, to_rps: to, over });
            at.sort_by(f64::total_cmp);
            let times: Vec<_> = at.iter().map_while(|n| Some((*n, all.due(*n)?))).collect();
            for pair in times.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].1);
            }
            for (arrivals, time) in times {
                // Half a microsecond at 100 per second.
                prop_assert!((all.arrivals(time) - arrivals).abs() < 1e-4);
            }
        }
    }
}
