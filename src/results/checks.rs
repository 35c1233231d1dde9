//! What a number or a name in a results file must be, whoever wrote it.

use std::path::Path;

use super::{ResultsError, json};
use crate::metric::{self, Unit};

/// The longest name of a metric or quantity, in bytes.
const NAME_BYTES: usize = 200;

/// Scenarios of all runs together: each takes some kilobytes when read. 100 runs of 100 scenarios
/// are half of it.
const RECORDS: usize = 20_000;

/// Refuses more records than results have.
pub(super) fn check_count(path: &Path, key: &str, count: usize) -> Result<(), ResultsError> {
    if count <= RECORDS {
        return Ok(());
    }
    let detail = format!("{count} entries; at most {RECORDS} are read");
    Err(wrong(path, key, detail))
}

/// Refuses what cannot be the name of a metric.
pub(super) fn check_name(path: &Path, key: &str, name: &str) -> Result<(), ResultsError> {
    if !name.is_empty() && name.len() <= NAME_BYTES {
        return Ok(());
    }
    let place = format!("{key}.{}", json::printable(name));
    let detail = format!("a metric's name has 1 to {NAME_BYTES} bytes");
    Err(wrong(path, &place, detail))
}

/// Refuses a value that its metric's unit does not allow.
pub(super) fn check_value(
    path: &Path,
    key: &str,
    name: &str,
    value: f64,
) -> Result<(), ResultsError> {
    let place = || format!("{key}.{}", json::printable(name));
    if !value.is_finite() {
        return Err(wrong(
            path,
            &place(),
            "it is not a finite number".to_owned(),
        ));
    }
    if value < 0.0 && !may_be_negative(metric::describe(name).unit) {
        let detail = format!("{value} is negative, which this cannot be");
        return Err(wrong(path, &place(), detail));
    }
    Ok(())
}

/// Differences come as per cent or plain numbers (KITT's `latency_reduction_percent`).
const fn may_be_negative(unit: Unit) -> bool {
    match unit {
        Unit::Percent | Unit::Count | Unit::Celsius => true,
        Unit::Milliseconds
        | Unit::Seconds
        | Unit::TokensPerSecond
        | Unit::RequestsPerSecond
        | Unit::Share
        | Unit::Gibibytes
        | Unit::Watts
        | Unit::Joules
        | Unit::JoulesPerToken
        | Unit::JoulesPerRequest
        | Unit::MoneyPerMillionTokens
        | Unit::Megahertz => false,
    }
}

pub(super) fn check_sign(path: &Path, key: &str, value: Option<f64>) -> Result<(), ResultsError> {
    match value {
        Some(value) if value < 0.0 => {
            let detail = format!("{value} is negative, which this cannot be");
            Err(wrong(path, key, detail))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn wrong(path: &Path, key: &str, detail: String) -> ResultsError {
    ResultsError::Value {
        path: path.to_owned(),
        key: key.to_owned(),
        detail,
    }
}
