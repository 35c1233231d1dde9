//! What pairs will cost and what they can resolve, said before they are measured.

use std::{fmt, time::Duration};

use crate::{
    compare::{CompareError, NoiseProfile, needed_requests},
    context::GatePolicy,
    metric::{Metric, describe},
    plan::Scenario,
    verdict::{Levels, Looks, resolvable},
};

/// The runs of a pair.
const RUNS: u32 = 2;

/// What is expected of pairs.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::app) struct Forecast {
    /// How long one run takes, the start of its engine included; `None`: not known.
    pub(in crate::app) run: Option<Duration>,
    /// What the noise of this class of runners lets the most pairs prove; `None`: not known.
    pub(in crate::app) reach: Option<Reach>,
    /// Most pairs.
    pub(in crate::app) most: u32,
}

/// The smallest worsening that the most pairs prove 95 times of 100, of the gating metric that is
/// worst off.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::app) struct Reach {
    /// Relative, 0.018 = 1.8 %.
    pub(super) effect: f64,
    /// Which metric of which scenario.
    pub(super) of: String,
    /// Whether a worsening that gates may stay unseen.
    pub(super) underpowered: bool,
}

impl Reach {
    /// The reach by the noise that is known; `None` where nothing is known of a metric that will
    /// gate in these scenarios.
    ///
    /// # Errors
    /// The policy's levels are not between 0 and 0.5.
    pub(super) fn of(
        noise: &NoiseProfile,
        policy: &GatePolicy,
        scenarios: &[Scenario],
        most: u32,
    ) -> Result<Option<Self>, CompareError> {
        let rows = noise.metrics.iter().flat_map(|(scenario, metrics)| {
            let row =
                move |name: &String| Some((scenario, describe(name), noise.of(scenario, name)?));
            metrics.keys().filter_map(row)
        });
        let gates = |scenario: &str, metric: &Metric| {
            let planned = scenarios.iter().find(|one| one.id.as_str() == scenario);
            let enough = planned.is_some_and(|planned| enough(planned, metric));
            enough && policy.gates(metric, scenario)
        };
        let rows: Vec<_> = rows
            .filter(|(scenario, metric, _)| gates(scenario, metric))
            .collect();
        let levels = Levels {
            alpha: policy.alpha / rows.len().max(1) as f64,
            beta: policy.beta,
        };
        let mut worst: Option<(f64, Self)> = None;
        for (scenario, metric, noise) in rows {
            let zone = policy.zone_of(&metric, scenario);
            let looks = Looks::up_to(most as usize);
            let effect = resolvable(noise.log_sd_pair, noise.prior_df(), zone, levels, looks)?;
            let need = effect / zone.gate_effect;
            if worst.as_ref().is_none_or(|(other, _)| need > *other) {
                let of = format!("{} in {scenario}", metric.label);
                let underpowered = effect > zone.gate_effect;
                worst = Some((
                    need,
                    Self {
                        effect,
                        of,
                        underpowered,
                    },
                ));
            }
        }
        Ok(worst.map(|(_, reach)| reach))
    }
}

/// Whether a scenario will send enough requests for the metric to gate.
fn enough(scenario: &Scenario, metric: &Metric) -> bool {
    let requests = scenario.stop.requests.map(|count| u64::from(count.get()));
    requests.is_none_or(|requests| requests >= needed_requests(metric.statistic))
}

impl fmt::Display for Forecast {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.most;
        match self.run {
            Some(run) => {
                let takes = |pairs: u32| words(run.saturating_mul(RUNS * pairs));
                let fewest = u32::try_from(Looks::FEWEST).unwrap_or(most);
                write!(out, "{fewest} pairs ≈ {}", takes(fewest))?;
                if most > fewest {
                    write!(out, ", {most} pairs ≈ {}", takes(most))?;
                }
            }
            None => write!(
                out,
                "3 to {most} pairs; how long one takes is not known yet"
            )?,
        }
        match &self.reach {
            Some(Reach {
                effect,
                of,
                underpowered,
            }) => {
                let effect = effect * 100.0;
                write!(
                    out,
                    "; smallest effect this runner can resolve in {most} pairs: {effect:.1} % ({of})"
                )?;
                if *underpowered {
                    write!(out, ", more than what gates")?;
                }
                Ok(())
            }
            None => write!(out, "; what this runner can resolve is not known yet"),
        }
    }
}

/// A time in words: `40 s`, `14 min`, `1 h 5 min`.
pub(super) fn words(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    if seconds < 119.5 {
        return format!("{seconds:.0} s");
    }
    let minutes = (seconds / 60.0).round();
    if minutes < 60.0 {
        return format!("{minutes} min");
    }
    let (hours, rest) = ((minutes / 60.0).floor(), minutes % 60.0);
    if rest == 0.0 {
        format!("{hours} h")
    } else {
        format!("{hours} h {rest} min")
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        compare::Noise,
        plan::{Test, Warmup},
    };

    fn profile(log_sd_pair: f64) -> NoiseProfile {
        let mut noise = NoiseProfile::default();
        let metrics = noise.metrics.entry("throughput".to_owned()).or_default();
        for name in ["output_tps", "ttft_ms.p50", "ttft_ms.p90", "e2e_ms.p90"] {
            // The last two do not gate: one is not on the list, one has too few requests.
            let loud = if name.ends_with("p90") { 10.0 } else { 1.0 };
            let noise = Noise {
                log_sd_pair: log_sd_pair * loud,
                df: 22.0,
            };
            metrics.insert(name.to_owned(), noise);
        }
        noise
    }

    /// 50 requests: enough for a median, not for a p90.
    fn scenarios() -> [Scenario; 1] {
        let count = |value| NonZeroU32::new(value).unwrap();
        [Scenario::closed(
            "throughput".parse().unwrap(),
            Test::Throughput,
            count(1),
            count(50),
            Warmup::Off,
            (count(16), count(16)),
        )]
    }

    fn forecast(run: Option<u64>, noise: &NoiseProfile) -> Forecast {
        Forecast {
            run: run.map(Duration::from_secs),
            reach: Reach::of(noise, &GatePolicy::default(), &scenarios(), 12).unwrap(),
            most: 12,
        }
    }

    #[test]
    fn cost_and_reach_are_said_in_one_line() {
        let said = forecast(Some(138), &profile(0.007)).to_string();
        let begins = "3 pairs ≈ 14 min, 12 pairs ≈ 55 min; smallest effect this runner can resolve in 12 pairs: ";
        assert!(said.starts_with(begins), "{said}");
        assert!(said.ends_with("in throughput)"), "{said}");
    }

    #[test]
    fn what_is_not_known_is_said_to_be_unknown() {
        let said = forecast(None, &NoiseProfile::default()).to_string();
        assert_eq!(
            said,
            "3 to 12 pairs; how long one takes is not known yet; what this runner can resolve is \
             not known yet"
        );
    }

    #[test]
    fn a_loud_runner_is_underpowered_and_a_quiet_one_is_not() {
        let reach = |sd| {
            let reach = Reach::of(&profile(sd), &GatePolicy::default(), &scenarios(), 12);
            reach.unwrap().unwrap()
        };
        assert!(!reach(0.007).underpowered && reach(0.007).effect < 0.03);
        assert!(reach(0.07).underpowered && reach(0.07).effect > 0.05);
    }

    #[test]
    fn times_in_words() {
        let said = |seconds| words(Duration::from_secs(seconds));
        assert_eq!(said(4), "4.0 s");
        assert_eq!(said(40), "40 s");
        assert_eq!(said(838), "14 min");
        assert_eq!(said(3600), "1 h");
        assert_eq!(said(3900), "1 h 5 min");
    }
}
