//! What a metric is: its unit, which direction is better, its label. The only place that knows.
//!
//! A metric's name is `quantity` or `quantity.statistic`, for example `ttft_ms.p99` or
//! `output_tps`. Names read from another program's files (KITT's) are described by the same
//! rules, from their suffix.

use serde::{Deserialize, Serialize};

/// Which direction of change is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Smaller is better: latencies, memory, energy.
    Lower,
    /// Larger is better: throughput, accuracy.
    Higher,
}

impl Better {
    /// `+1` when larger is worse, `-1` when larger is better: multiplied with a log-ratio it
    /// gives a number that is positive when things got worse.
    pub const fn worse_sign(self) -> f64 {
        match self {
            Self::Lower => 1.0,
            Self::Higher => -1.0,
        }
    }
}

/// A metric's unit. Serialised as the text that stands behind a number in machine output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Tokens per second.
    #[serde(rename = "tok/s")]
    TokensPerSecond,
    /// Requests per second.
    #[serde(rename = "req/s")]
    RequestsPerSecond,
    /// A share of one; 0.05 is 5 %.
    #[serde(rename = "share")]
    Share,
    /// Per cent, as a number from 0 to 100.
    #[serde(rename = "%")]
    Percent,
    /// Gibibytes (KITT writes `gb` and means 2^30 bytes).
    #[serde(rename = "GiB")]
    Gibibytes,
    /// Watts.
    #[serde(rename = "W")]
    Watts,
    /// Joules.
    #[serde(rename = "J")]
    Joules,
    /// Joules per output token.
    #[serde(rename = "J/tok")]
    JoulesPerToken,
    /// Joules per request.
    #[serde(rename = "J/req")]
    JoulesPerRequest,
    /// Money for a million tokens, in the currency of the prices.
    #[serde(rename = "/1M tok")]
    MoneyPerMillionTokens,
    /// Megahertz.
    #[serde(rename = "MHz")]
    Megahertz,
    /// Degrees Celsius.
    #[serde(rename = "°C")]
    Celsius,
    /// A plain number.
    #[serde(rename = "")]
    Count,
}

/// How the numbers of one run become one number. Decides how many requests a gate needs and how
/// wide its indifference zone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    /// Arithmetic mean, or a total divided by a total (throughput).
    Mean,
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// Smallest value.
    Min,
    /// Largest value.
    Max,
    /// Standard deviation.
    Deviation,
    /// A share of requests or items.
    Proportion,
}

/// One metric, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// The full name, such as `ttft_ms.p99`.
    pub name: String,
    /// What people read, such as `TTFT p99`.
    pub label: String,
    /// The unit of its value.
    pub unit: Unit,
    /// `None`: informative, neither direction is good (a token count).
    pub better: Option<Better>,
    /// How a run's samples become its value.
    pub statistic: Statistic,
}

/// A quantity kitt measures itself; with a statistic appended it names a metric.
#[derive(Debug, Clone, Copy)]
struct Quantity {
    name: &'static str,
    label: &'static str,
    unit: Unit,
    better: Option<Better>,
}

const fn quantity(
    name: &'static str,
    label: &'static str,
    unit: Unit,
    better: Option<Better>,
) -> Quantity {
    Quantity {
        name,
        label,
        unit,
        better,
    }
}

const LOWER: Option<Better> = Some(Better::Lower);
const HIGHER: Option<Better> = Some(Better::Higher);

/// Names follow design §3; the ones of KITT keep KITT's meaning.
const QUANTITIES: &[Quantity] = &[
    quantity("ttft_ms", "TTFT", Unit::Milliseconds, LOWER),
    quantity(
        "ttft_from_send_ms",
        "TTFT from send",
        Unit::Milliseconds,
        None,
    ),
    quantity("ttfot_ms", "TTFOT", Unit::Milliseconds, LOWER),
    quantity("itl_ms", "ITL", Unit::Milliseconds, LOWER),
    quantity("token_itl_ms", "token ITL", Unit::Milliseconds, LOWER),
    quantity("tpot_ms", "TPOT", Unit::Milliseconds, LOWER),
    quantity("e2e_ms", "E2E latency", Unit::Milliseconds, LOWER),
    quantity(
        "normalized_latency_ms",
        "E2E latency per token",
        Unit::Milliseconds,
        LOWER,
    ),
    quantity(
        "output_tps",
        "output throughput",
        Unit::TokensPerSecond,
        HIGHER,
    ),
    // Chunks for tokens: too rough for a direction, and so for a gate.
    quantity(
        "output_tps_estimated",
        "estimated output throughput",
        Unit::TokensPerSecond,
        None,
    ),
    quantity(
        "total_tps",
        "total throughput",
        Unit::TokensPerSecond,
        HIGHER,
    ),
    quantity(
        "request_rps",
        "request throughput",
        Unit::RequestsPerSecond,
        HIGHER,
    ),
    quantity("goodput_rps", "goodput", Unit::RequestsPerSecond, HIGHER),
    quantity("slo_attainment", "SLO attainment", Unit::Share, HIGHER),
    quantity("offered_rps", "offered rate", Unit::RequestsPerSecond, None),
    quantity("sent_rps", "sent rate", Unit::RequestsPerSecond, None),
    quantity(
        "schedule_delay_ms",
        "schedule delay",
        Unit::Milliseconds,
        None,
    ),
    quantity("dns_ms", "name look-up", Unit::Milliseconds, None),
    quantity("connect_ms", "TCP handshake", Unit::Milliseconds, None),
    quantity("tls_ms", "TLS handshake", Unit::Milliseconds, None),
    quantity("write_ms", "sending the request", Unit::Milliseconds, None),
    quantity("first_byte_ms", "first byte", Unit::Milliseconds, None),
    quantity("error_rate", "error rate", Unit::Share, LOWER),
    quantity("accuracy", "accuracy", Unit::Share, HIGHER),
    quantity("ece", "expected calibration error", Unit::Share, LOWER),
    quantity("mce", "maximum calibration error", Unit::Share, LOWER),
    quantity("brier", "Brier score", Unit::Share, LOWER),
    quantity(
        "gpu_memory_peak_gb",
        "peak GPU memory",
        Unit::Gibibytes,
        LOWER,
    ),
    quantity("gpu_power_avg_w", "GPU power", Unit::Watts, None),
    quantity(
        "gpu_utilisation_avg_pct",
        "GPU utilisation",
        Unit::Percent,
        None,
    ),
    quantity(
        "gpu_temperature_max_c",
        "GPU temperature",
        Unit::Celsius,
        None,
    ),
    quantity(
        "gpu_memory_temperature_max_c",
        "GPU memory temperature",
        Unit::Celsius,
        None,
    ),
    quantity("gpu_sm_clock_avg_mhz", "SM clock", Unit::Megahertz, None),
    quantity(
        "energy_per_output_token_j",
        "energy per output token",
        Unit::JoulesPerToken,
        LOWER,
    ),
    quantity(
        "energy_per_total_token_j",
        "energy per token, prompt included",
        Unit::JoulesPerToken,
        LOWER,
    ),
    quantity(
        "energy_per_request_j",
        "energy per request",
        Unit::JoulesPerRequest,
        LOWER,
    ),
    quantity("energy_j", "GPU board energy", Unit::Joules, None),
    quantity(
        "energy_above_idle_j",
        "energy above idle",
        Unit::Joules,
        None,
    ),
    quantity(
        "energy_above_idle_per_output_token_j",
        "energy above idle per output token",
        Unit::JoulesPerToken,
        None,
    ),
    quantity(
        "cost_per_million_output_tokens",
        "cost of output tokens",
        Unit::MoneyPerMillionTokens,
        LOWER,
    ),
    quantity(
        "cost_per_million_total_tokens",
        "cost of tokens",
        Unit::MoneyPerMillionTokens,
        LOWER,
    ),
    quantity(
        "energy_cost_per_million_output_tokens",
        "energy cost of output tokens",
        Unit::MoneyPerMillionTokens,
        LOWER,
    ),
    quantity(
        "energy_cost_per_million_total_tokens",
        "energy cost of tokens",
        Unit::MoneyPerMillionTokens,
        LOWER,
    ),
    quantity(
        "total_latency_ms",
        "total latency",
        Unit::Milliseconds,
        LOWER,
    ),
    quantity("latency_ms", "latency", Unit::Milliseconds, LOWER),
    quantity("per_token_ms", "time per token", Unit::Milliseconds, LOWER),
    quantity(
        "avg_inter_token_ms",
        "inter-token time",
        Unit::Milliseconds,
        LOWER,
    ),
    quantity("tps", "throughput", Unit::TokensPerSecond, HIGHER),
];

/// The metrics that gate unless the policy says otherwise: few on purpose, since each one added
/// makes every limit wider (`research/regression-statistics.md` §6).
pub const DEFAULT_GATING: &[&str] = &[
    "output_tps",
    "ttft_ms.p50",
    "tpot_ms.p50",
    "itl_ms.mean",
    "e2e_ms.p90",
    "energy_per_output_token_j",
];

fn statistic(word: &str) -> Option<(Statistic, &'static str)> {
    Some(match word {
        "avg" | "mean" => (Statistic::Mean, "mean"),
        "p50" | "median" => (Statistic::P50, "p50"),
        "p90" => (Statistic::P90, "p90"),
        "p95" => (Statistic::P95, "p95"),
        "p99" => (Statistic::P99, "p99"),
        "min" => (Statistic::Min, "min"),
        "max" | "peak" => (Statistic::Max, "max"),
        "std_dev" | "stddev" | "sd" => (Statistic::Deviation, "sd"),
        _ => return None,
    })
}

/// The statistic and quantity a name is made of: `ttft_ms.p99` by its suffix, `p99_latency_ms`
/// (KITT's way) by its prefix.
fn split(name: &str) -> (&str, Option<(Statistic, &'static str)>) {
    if let Some((quantity, word)) = name.rsplit_once('.')
        && let Some(found) = statistic(word)
    {
        return (quantity, Some(found));
    }
    if let Some((word, quantity)) = name.split_once('_')
        && QUANTITIES.iter().all(|known| known.name != name)
        && let Some(found) = statistic(word)
    {
        return (quantity, Some(found));
    }
    (name, None)
}

/// A name kitt does not know is described by its unit suffix; the direction is guessed only
/// where a unit leaves no doubt.
fn guess(name: &str) -> (Unit, Option<Better>) {
    let name = name.rsplit('.').next().unwrap_or(name);
    if name.ends_with("_ms") {
        (Unit::Milliseconds, LOWER)
    } else if name.ends_with("_tps") || name.contains("throughput_at") {
        (Unit::TokensPerSecond, HIGHER)
    } else if name.contains("latency_at") {
        (Unit::Milliseconds, LOWER)
    } else if name.ends_with("_rps") {
        (Unit::RequestsPerSecond, HIGHER)
    } else if name.ends_with("_gb") {
        (Unit::Gibibytes, LOWER)
    } else if name.ends_with("accuracy") || name.contains("success_rate") {
        (Unit::Share, HIGHER)
    } else if name.ends_with("error_rate") {
        (Unit::Share, LOWER)
    } else if name.ends_with("_percent") || name.ends_with("_pct") {
        (Unit::Percent, None)
    } else if name.ends_with("_seconds") || name.ends_with("_s") {
        (Unit::Seconds, None)
    } else {
        (Unit::Count, None)
    }
}

/// The statistics that kitt gives of what it measures per request.
const STATISTICS: [&str; 8] = ["mean", "p50", "p90", "p95", "p99", "min", "max", "std_dev"];

/// Whether a name is one that kitt or KITT gives to a metric. A latency is only a metric with a
/// statistic: `ttft_ms` alone is a quantity.
pub fn is_known(name: &str) -> bool {
    let (base, found) = split(name);
    let known = QUANTITIES.iter().find(|quantity| quantity.name == base);
    known.is_some_and(|quantity| found.is_some() || quantity.unit != Unit::Milliseconds)
}

/// The names kitt gives to metrics, for errors that offer the closest.
pub fn known_names() -> Vec<String> {
    let names = |quantity: &Quantity| {
        if quantity.unit == Unit::Milliseconds {
            STATISTICS
                .map(|statistic| format!("{}.{statistic}", quantity.name))
                .to_vec()
        } else {
            vec![quantity.name.to_owned()]
        }
    };
    QUANTITIES.iter().flat_map(names).collect()
}

/// Describes a metric by its name. Never fails: an unknown name is informative, with a unit
/// guessed from its suffix.
pub fn describe(name: &str) -> Metric {
    let (base, found) = split(name);
    let known = QUANTITIES.iter().find(|quantity| quantity.name == base);
    let proportion = known.is_some_and(|quantity| quantity.unit == Unit::Share);
    let (statistic, word) = match found {
        Some((statistic, word)) => (statistic, Some(word)),
        None if proportion => (Statistic::Proportion, None),
        None => (Statistic::Mean, None),
    };
    let (label, unit, better) = if let Some(quantity) = known {
        (quantity.label.to_owned(), quantity.unit, quantity.better)
    } else {
        let (unit, better) = guess(base);
        (base.replace('_', " "), unit, better)
    };
    // The spread of a metric is neither good nor bad by itself.
    let better = if statistic == Statistic::Deviation {
        None
    } else {
        better
    };
    let label = word.map_or_else(|| label.clone(), |word| format!("{label} {word}"));
    Metric {
        name: name.to_owned(),
        label,
        unit,
        better,
        statistic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_unit_direction_and_label() {
        let metric = describe("ttft_ms.p99");
        assert_eq!(metric.label, "TTFT p99");
        assert_eq!((metric.unit, metric.better), (Unit::Milliseconds, LOWER));
        assert_eq!(metric.statistic, Statistic::P99);
        assert_eq!(describe("output_tps").better, HIGHER);
    }

    #[test]
    fn kitts_prefixed_names_are_understood() {
        let metric = describe("p99_latency_ms");
        assert_eq!(
            (metric.label.as_str(), metric.statistic),
            ("latency p99", Statistic::P99)
        );
        assert_eq!(describe("avg_tps").better, HIGHER);
        assert_eq!(describe("avg_inter_token_ms.max").statistic, Statistic::Max);
    }

    #[test]
    fn an_unknown_count_has_no_direction() {
        assert_eq!(describe("total_iterations").better, None);
        assert_eq!(describe("ttft_ms.std_dev").better, None);
    }

    #[test]
    fn what_the_client_did_is_no_merit_of_the_server() {
        for name in [
            "output_tps_estimated",
            "offered_rps",
            "schedule_delay_ms.p99",
            "ttft_from_send_ms.p50",
            "connect_ms.max",
            "first_byte_ms.mean",
        ] {
            assert_eq!(describe(name).better, None, "{name}");
        }
        let attained = describe("slo_attainment");
        assert_eq!(
            (attained.better, attained.statistic),
            (HIGHER, Statistic::Proportion)
        );
        assert_eq!(describe("token_itl_ms.p99").label, "token ITL p99");
    }

    #[test]
    fn known_names_are_known_and_typing_errors_are_not() {
        assert!(known_names().iter().all(|name| is_known(name)));
        assert!(DEFAULT_GATING.iter().all(|name| is_known(name)));
        for name in [
            "avg_tps",
            "p50_latency_ms",
            "total_latency_ms.p50",
            "ttft_ms.avg",
        ] {
            assert!(is_known(name), "{name}");
        }
        for name in ["ttft_ms", "ttft_ms.p51", "output_tp", "quality.ece", ""] {
            assert!(!is_known(name), "{name}");
        }
    }

    #[test]
    fn worse_is_positive() {
        assert!(Better::Lower.worse_sign() * (110_f64 / 100.0).ln() > 0.0);
        assert!(Better::Higher.worse_sign() * (90_f64 / 100.0).ln() > 0.0);
    }

    #[test]
    fn every_default_gating_metric_has_a_direction() {
        for name in DEFAULT_GATING {
            assert!(describe(name).better.is_some(), "{name}");
        }
    }
}
