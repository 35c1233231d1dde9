//! Whether a runner treats both sides of a pair alike, and how much pairs scatter on it.
//!
//! In: judged metrics of pairs whose sides were identical. Out: for each metric the noise of a
//! pair, the mean difference of the sides with its interval, and what pairs can prove here
//! (`research/regression-statistics.md` §6, `calibrate`). A slot is biased when the mean difference
//! is proven to be beyond half of the smallest effect that matters: then a change would be called
//! worse or better for the side it was measured on.

use serde::Serialize;

use super::{
    Judged, VerdictError, Zone,
    rule::Levels,
    sequential::{Looks, resolvable},
};
use crate::compare::{Estimate, MOST_PRIOR_DF, Noise, PairedLogs};

/// Two-sided error of the intervals that are shown.
const SHOWN: f64 = 0.05;
/// Error of refusing a runner that treats both sides alike, over all gating metrics: each is held
/// to its share of it (Bonferroni), since one in twenty would fail by chance otherwise.
const REFUSED: f64 = 0.05;

/// One metric of identical sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slot {
    /// Scenario name.
    pub scenario: String,
    /// The metric's name.
    pub metric: String,
    /// Its name for people.
    #[serde(skip)]
    pub label: String,
    /// Whether it gates.
    pub gating: bool,
    /// Pairs that count.
    pub pairs: usize,
    /// How much one run differs from the next on the same host in the same hour: standard
    /// deviation of its log summary (0.01 = 1 %).
    pub run_spread: f64,
    /// Standard deviation of a pair's log-ratio, s0; absent when it does not scatter at all.
    pub log_sd_pair: Option<f64>,
    /// Its degrees of freedom, ν0.
    pub df: Option<f64>,
    /// Mean difference of the sides, current against baseline: 0.01 = 1 % larger.
    pub difference: f64,
    /// Its 95 % interval.
    pub interval: (f64, f64),
    /// Differences up to this, either way, are harmless: half of the smallest effect that matters.
    pub harmless: f64,
    /// Whether it is proven to differ by more than is harmless; a metric that does not gate never
    /// is.
    pub biased: bool,
    /// Whether a harmful difference cannot be ruled out either: the interval reaches beyond.
    pub open: bool,
    /// Smallest worsening that as many pairs would prove 95 times out of 100.
    pub resolvable: Option<f64>,
    /// The worsening that gates.
    pub gate_effect: f64,
}

/// Sums up pairs of identical sides; `whole` is what a decision may spend over all metrics. Metrics
/// without pairs are left out.
///
/// # Errors
/// The levels are not between 0 and 0.5.
pub fn slots(metrics: &[Judged], whole: Levels) -> Result<Vec<Slot>, VerdictError> {
    let rows: Vec<(&Judged, &PairedLogs, Zone)> = metrics
        .iter()
        .filter(|judged| judged.change.obstacle.is_none())
        .filter_map(|judged| Some((judged, judged.change.pairs.as_ref()?, judged.zone?)))
        .collect();
    let gating = rows.iter().filter(|(judged, ..)| judged.gating).count();
    let family = gating.max(1) as f64;
    let levels = Levels {
        alpha: whole.alpha / family,
        ..whole
    };
    let mut slots = Vec::with_capacity(rows.len());
    for (judged, pairs, zone) in rows {
        slots.extend(slot(judged, pairs, zone, levels, REFUSED / family)?);
    }
    Ok(slots)
}

fn slot(
    judged: &Judged,
    pairs: &PairedLogs,
    zone: Zone,
    levels: Levels,
    refused: f64,
) -> Result<Option<Slot>, VerdictError> {
    // What was known before must not speak for this runner now.
    let fresh = PairedLogs {
        log_ratios: pairs.log_ratios.clone(),
        prior: None,
    };
    let count = fresh.len();
    let (Some(estimate), Some(sd)) = (fresh.first(count), fresh.scatter()) else {
        return Ok(None);
    };
    let noise = Noise {
        log_sd_pair: sd,
        df: count as f64 - 1.0,
    };
    let harmless = zone.min_effect / 2.0;
    let limit = harmless.ln_1p();
    let (low, high) = interval(&estimate, SHOWN)?;
    let (sure_low, sure_high) = interval(&estimate, refused)?;
    let change = &judged.change;
    let noise = noise.usable();
    let resolvable = noise.map(|noise| {
        let prior = noise.df.min(MOST_PRIOR_DF);
        resolvable(noise.log_sd_pair, prior, zone, levels, Looks::up_to(count))
    });
    Ok(Some(Slot {
        scenario: change.scenario.clone(),
        metric: change.metric.name.clone(),
        label: change.metric.label.clone(),
        gating: judged.gating,
        pairs: count,
        run_spread: noise.map_or(0.0, Noise::run_sd),
        log_sd_pair: noise.map(|noise| noise.log_sd_pair),
        df: noise.map(|noise| noise.df),
        difference: estimate.log_ratio.exp_m1(),
        interval: (low.exp_m1(), high.exp_m1()),
        harmless,
        biased: judged.gating && (sure_low > limit || sure_high < -limit),
        open: low < -limit || high > limit,
        resolvable: resolvable.transpose()?,
        gate_effect: zone.gate_effect,
    }))
}

/// Two-sided limits of the mean log-ratio at this error.
fn interval(estimate: &Estimate, error: f64) -> Result<(f64, f64), VerdictError> {
    let half = estimate.reference.upper(error / 2.0)? * estimate.standard_error;
    Ok((estimate.log_ratio - half, estimate.log_ratio + half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::Change,
        metric::describe,
        verdict::{Verdict, rule::tests::ZONE},
    };

    const WHOLE: Levels = Levels {
        alpha: 0.01,
        beta: 0.05,
    };

    fn judged(metric: &str, gating: bool, log_ratios: &[f64]) -> Judged {
        let mut change = Change::new("s", describe(metric));
        change.pairs = Some(PairedLogs {
            log_ratios: log_ratios.to_vec(),
            prior: None,
        });
        Judged {
            gating,
            zone: Some(ZONE),
            ..Judged::new(change, Verdict::Unchanged, String::new())
        }
    }

    /// Twelve differences of ±1 % around a shift: SS = 12e-4, s² = 12e-4/11.
    fn around(shift: f64) -> Vec<f64> {
        let signs = [1.0, -1.0].into_iter().cycle().take(12);
        signs.map(|sign| shift + sign * 0.01).collect()
    }

    /// s = 1.0445 %, se = s/√12 = 0.30151 %, t(0.975, 11) = 2.200985: ± 0.66362 %, by hand and with
    /// the t of Fisher and Yates' table (2.201).
    #[test]
    fn twelve_pairs_by_hand() {
        let slots = slots(&[judged("ttft_ms.p50", true, &around(0.0))], WHOLE).unwrap();
        let slot = &slots[0];
        let s = (12e-4_f64 / 11.0).sqrt();
        assert!((slot.log_sd_pair.unwrap() - s).abs() < 1e-12);
        assert_eq!((slot.pairs, slot.df), (12, Some(11.0)));
        assert!((slot.run_spread - s / 2.0_f64.sqrt()).abs() < 1e-12);
        assert!(
            (slot.interval.1.ln_1p() - 0.006_636_2).abs() < 1e-6,
            "{slot:?}"
        );
        assert!(slot.difference.abs() < 1e-12);
        assert!(slot.open, "0.66 % is more than half of 1 %");
        assert!(!slot.biased);
    }

    /// With 1 % of shift the lower limit at 95 % is 0.34 %, below the harmless 0.5 %; with 1.3 % it
    /// is 0.64 %. In a family of six the limit at 5 %/6 is wider: t(0.99583, 11) = 3.21, ± 0.97 %,
    /// so 1.3 % is not refused there and 1.6 % is.
    #[test]
    fn a_slot_is_biased_when_it_is_proven_for_the_whole_family() {
        let biased = |shift: f64, family: usize| {
            let mut metrics = vec![judged("ttft_ms.p50", true, &around(shift))];
            metrics.resize(family, judged("tpot_ms.p50", true, &around(0.0)));
            slots(&metrics, WHOLE).unwrap()[0].biased
        };
        assert!(!biased(0.01, 1));
        assert!(biased(0.013, 1) && biased(-0.013, 1));
        assert!(!biased(0.013, 6));
        assert!(biased(0.016, 6));
    }

    #[test]
    fn what_does_not_gate_is_told_and_never_refused() {
        let metrics = [judged("ttft_ms.p99", false, &around(0.2))];
        let slots = slots(&metrics, WHOLE).unwrap();
        assert!(!slots[0].biased && slots[0].open);
    }

    #[test]
    fn a_quiet_runner_resolves_more_than_a_noisy_one() {
        let resolved = |scale: f64| {
            let logs: Vec<f64> = around(0.0).iter().map(|log| log * scale).collect();
            slots(&[judged("ttft_ms.p50", true, &logs)], WHOLE).unwrap()[0]
                .resolvable
                .unwrap()
        };
        assert!(resolved(0.5) < resolved(1.0) && resolved(1.0) < resolved(3.0));
        assert!(resolved(0.5) > ZONE.min_effect);
    }

    #[test]
    fn values_that_repeat_to_the_last_digit_are_no_noise() {
        let slots = slots(&[judged("ttft_ms.p50", true, &[0.0; 12])], WHOLE).unwrap();
        assert_eq!((slots[0].log_sd_pair, slots[0].resolvable), (None, None));
        assert!(!slots[0].biased && !slots[0].open);
    }
}
