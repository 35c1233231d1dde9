//! What tokens cost at a measured load. Pure.
//!
//! `cost per 10⁶ tokens = GPUs · price per GPU-hour / (tokens per second · 3600) · 10⁶`, and of
//! that, or beside it where the energy is paid apart,
//! `energy cost = J per token · 10⁶ / 3.6·10⁶ · price per kWh`. Prices come from the user; there
//! are none built in. The energy is that of the GPU boards alone. A cost is told only for a load at
//! which the objectives were met.

use std::collections::BTreeMap;

use crate::context::{GOODPUT_SHARE, Prices};

const PER: f64 = 1e6;
const SECONDS_PER_HOUR: f64 = 3600.0;
const JOULES_PER_KWH: f64 = 3.6e6;

/// Adds the cost metrics to `metrics`, as far as prices and rates are known. `gpus`: all that the
/// engine has. Says why not, where objectives were missed.
pub(super) fn cost(
    metrics: &mut BTreeMap<String, f64>,
    prices: &Prices,
    gpus: Option<u32>,
) -> Option<String> {
    if prices.gpu_hour.is_none() && prices.kwh.is_none() {
        return None;
    }
    let attained = metrics.get("slo_attainment").copied();
    if attained.is_some_and(|share| share < GOODPUT_SHARE) {
        return Some(format!(
            "cost is not reported: less than {:.0} % of the requests met the objectives",
            GOODPUT_SHARE * 100.0
        ));
    }
    let get = |name: &str| metrics.get(name).copied().filter(|value| *value > 0.0);
    let hourly = |rate: &str| {
        let spent = f64::from(gpus.filter(|gpus| *gpus > 0)?) * prices.gpu_hour?;
        Some(spent / (get(rate)? * SECONDS_PER_HOUR) * PER)
    };
    let energy = |per_token: &str| Some(get(per_token)? * PER / JOULES_PER_KWH * prices.kwh?);
    let found = [
        ("cost_per_million_output_tokens", hourly("output_tps")),
        ("cost_per_million_total_tokens", hourly("total_tps")),
        (
            "energy_cost_per_million_output_tokens",
            energy("energy_per_output_token_j"),
        ),
        (
            "energy_cost_per_million_total_tokens",
            energy("energy_per_total_token_j"),
        ),
    ];
    let found = found.into_iter();
    metrics.extend(found.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(gpu_hour: Option<f64>, kwh: Option<f64>) -> Prices {
        Prices {
            gpu_hour,
            kwh,
            currency: "EUR".to_owned(),
            source: None,
        }
    }

    fn measured(more: &[(&str, f64)]) -> BTreeMap<String, f64> {
        [
            ("output_tps", 1000.0),
            ("total_tps", 5000.0),
            ("energy_per_output_token_j", 0.9),
            ("energy_per_total_token_j", 0.18),
        ]
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect()
    }

    fn near(metrics: &BTreeMap<String, f64>, name: &str, expected: f64) {
        let found = metrics[name];
        assert!(
            (found - expected).abs() < 1e-9,
            "{name}: {found} is not {expected}"
        );
    }

    #[test]
    fn every_cost_worked_by_hand() {
        let mut metrics = measured(&[]);
        assert_eq!(
            cost(&mut metrics, &prices(Some(3.6), Some(0.3)), Some(2)),
            None
        );
        // 7.20 an hour for 3.6 million output tokens, 18 million of both kinds.
        near(&metrics, "cost_per_million_output_tokens", 2.0);
        near(&metrics, "cost_per_million_total_tokens", 0.4);
        // 0.9 MJ are a quarter of a kilowatt-hour.
        near(&metrics, "energy_cost_per_million_output_tokens", 0.075);
        near(&metrics, "energy_cost_per_million_total_tokens", 0.015);
    }

    #[test]
    fn nothing_is_made_up() {
        let costs = |prices: &Prices, gpus, more: &[(&str, f64)]| {
            let mut metrics = measured(more);
            let note = cost(&mut metrics, prices, gpus);
            let costs = metrics.keys().filter(|name| name.contains("cost"));
            (costs.count(), note)
        };
        assert_eq!(costs(&prices(None, None), Some(1), &[]), (0, None));
        assert_eq!(costs(&prices(Some(2.0), None), Some(1), &[]), (2, None));
        assert_eq!(costs(&prices(None, Some(0.3)), Some(1), &[]), (2, None));
        // How many GPUs is not known.
        assert_eq!(costs(&prices(Some(2.0), None), None, &[]), (0, None));
        assert_eq!(
            costs(&prices(Some(2.0), None), Some(1), &[("output_tps", 0.0)]),
            (1, None)
        );
        let met = costs(
            &prices(Some(2.0), None),
            Some(1),
            &[("slo_attainment", 0.99)],
        );
        assert_eq!(met.0, 2);
        let missed = costs(
            &prices(Some(2.0), None),
            Some(1),
            &[("slo_attainment", 0.98)],
        );
        assert_eq!(missed.0, 0);
        assert!(missed.1.unwrap().contains("met the objectives"));
    }
}
