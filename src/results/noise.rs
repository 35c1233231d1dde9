//! `noise.json`: how much pairs scatter on one class of runners when nothing changes.
//!
//! Stored beside results and, where somebody names a file for it, on the runner. Untrusted when
//! read. What is learned, and how, is the comparison's business; this is its form.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    Fingerprint, Limits, ResultsError,
    checks::{check_count, check_name, wrong},
    files, json,
};
use crate::ids::ScenarioId;

/// Name of the file in a results directory.
pub const NOISE_FILE: &str = "noise.json";
/// Version of the document.
const VERSION: u32 = 1;
/// Largest file that is read: a thousand metrics take a tenth of it.
const FILE_BYTES: u64 = 1 << 20;
/// Pairs that agree better agree to the last digit that was written: that is rounding, no scatter.
const SMALLEST_SD: f64 = 1e-6;
/// A standard deviation of logs beyond this is no scatter of pairs: e² is a factor of seven.
const LARGEST_SD: f64 = 2.0;
/// More degrees of freedom than forgetting leaves: 30 pairs a job, fading by 5 % each time, add up
/// to 29 / 0.05 = 580.
const MOST_DF: f64 = 10_000.0;
/// A clock may be this far behind another one before a time counts as one in the future.
const CLOCKS_DIFFER: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);
/// Runners change; what was learned a month ago is not believed
/// (`research/regression-statistics.md` §6).
const EXPIRES: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

/// The scatter of the log-ratio of one pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Standard deviation of ln(current / baseline) of one pair when nothing changed; positive.
    pub log_sd_pair: f64,
    /// Degrees of freedom it rests on; positive.
    pub df: f64,
}

impl Noise {
    /// Whether it can be the scatter of pairs: neither rounding nor beyond all measure.
    pub fn is_plausible(self) -> bool {
        let sd = (SMALLEST_SD..=LARGEST_SD).contains(&self.log_sd_pair);
        sd && self.df > 0.0 && self.df <= MOST_DF
    }
}

/// Noise of every metric of every scenario on one class of runners under one set of conditions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NoiseProfile {
    /// By scenario and metric name.
    pub metrics: BTreeMap<String, BTreeMap<String, Noise>>,
}

/// Where a profile comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoiseSource {
    /// Pairs of jobs that compared something.
    Pairs,
    /// Pairs of identical sides, measured for this purpose.
    Calibration,
}

/// `noise.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseFile {
    /// Version of the document.
    pub schema_version: u32,
    /// Digest of the hardware it was learned on.
    pub hw_key: String,
    /// Digest of all strict conditions, the workload and the model among them.
    pub conditions: String,
    /// When it was begun, RFC 3339.
    pub created: jiff::Timestamp,
    /// When it last learned something, RFC 3339.
    pub updated: jiff::Timestamp,
    /// What it was begun with.
    pub source: NoiseSource,
    /// Jobs it learned from.
    pub jobs: u64,
    /// By scenario and metric name.
    pub metrics: BTreeMap<String, BTreeMap<String, Noise>>,
}

/// Why a profile says nothing about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// Its last lesson is older than 30 days.
    Expired {
        /// Whole days since.
        days: i64,
    },
    /// It was written in the future: a clock is wrong.
    Future,
    /// It was learned on another machine.
    Hardware,
    /// It was learned under other conditions: engine, model, workload, driver.
    Conditions,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expired { days } => {
                write!(
                    f,
                    "it last learned something {days} days ago, and after 30 it expires"
                )
            }
            Self::Future => f.write_str("its time is in the future: is a clock wrong?"),
            Self::Hardware => f.write_str("it was learned on other hardware"),
            Self::Conditions => f.write_str(
                "it was learned under other conditions (engine, model, workload or driver)",
            ),
        }
    }
}

impl NoiseFile {
    /// A profile that has learned nothing yet.
    pub fn new(conditions: &Fingerprint, source: NoiseSource, now: jiff::Timestamp) -> Self {
        Self {
            schema_version: VERSION,
            hw_key: conditions.hw_key(),
            conditions: conditions.digest(),
            created: now,
            updated: now,
            source,
            jobs: 0,
            metrics: BTreeMap::new(),
        }
    }

    /// Why it says nothing about a job under these conditions at this time; `None` when it does.
    pub fn unfit(&self, conditions: &Fingerprint, now: jiff::Timestamp) -> Option<Unfit> {
        let age = now.duration_since(self.updated);
        if self.hw_key != conditions.hw_key() {
            Some(Unfit::Hardware)
        } else if self.conditions != conditions.digest() {
            Some(Unfit::Conditions)
        } else if age < -CLOCKS_DIFFER {
            Some(Unfit::Future)
        } else if age > EXPIRES {
            let days = age.as_hours() / 24;
            Some(Unfit::Expired { days })
        } else {
            None
        }
    }

    /// Has it learn from one more job.
    pub fn learned(&mut self, now: jiff::Timestamp, learn: impl FnOnce(&mut Self)) {
        learn(self);
        self.jobs = self.jobs.saturating_add(1);
        self.updated = self.updated.max(now);
    }

    /// What it knows.
    pub fn profile(&self) -> NoiseProfile {
        NoiseProfile {
            metrics: self.metrics.clone(),
        }
    }
}

/// Reads a `noise.json`.
///
/// # Errors
/// The file cannot be read, is too large, or is not this document.
pub fn read_noise(path: &Path) -> Result<NoiseFile, ResultsError> {
    let bytes = json::read_file(path, FILE_BYTES)?;
    noise(path, &bytes)
}

/// The pure part of [`read_noise`].
fn noise(path: &Path, bytes: &[u8]) -> Result<NoiseFile, ResultsError> {
    json::check(path, bytes, &Limits::default())?;
    let file: NoiseFile = json::parse(path, bytes, 1)?;
    if file.schema_version != VERSION {
        return Err(ResultsError::Schema {
            path: path.to_owned(),
            found: file.schema_version.into(),
            known: VERSION.into(),
        });
    }
    let count = file.metrics.values().map(BTreeMap::len).sum();
    check_count(path, "metrics", count)?;
    for (scenario, metrics) in &file.metrics {
        if let Err(error) = scenario.parse::<ScenarioId>() {
            return Err(wrong(path, "metrics", error.to_string()));
        }
        for (name, noise) in metrics {
            let key = format!("metrics.{scenario}");
            check_name(path, &key, name)?;
            if !noise.is_plausible() {
                let detail = format!(
                    "log_sd_pair must be {SMALLEST_SD} to {LARGEST_SD}, df above 0 and at most \
                     {MOST_DF}"
                );
                return Err(wrong(path, &format!("{key}.{name}"), detail));
            }
        }
    }
    Ok(file)
}

/// Writes a profile to `dir/name`: all of it or nothing.
///
/// # Errors
/// The file cannot be written.
pub fn write_noise(dir: &Path, name: &str, file: &NoiseFile) -> Result<(), ResultsError> {
    files::replace_json(dir, name, file)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn conditions(gpu: &str, model: &str) -> Fingerprint {
        let strict = [("gpu.name", gpu), ("model", model)];
        Fingerprint {
            strict: strict.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..Fingerprint::default()
        }
    }

    fn at(text: &str) -> jiff::Timestamp {
        text.parse().unwrap()
    }

    fn sample() -> NoiseFile {
        let noise = Noise {
            log_sd_pair: 0.01,
            df: 11.0,
        };
        NoiseFile {
            metrics: [("s".to_owned(), [("m".to_owned(), noise)].into())].into(),
            ..NoiseFile::new(
                &conditions("H100", "a"),
                NoiseSource::Pairs,
                at("2026-01-15T10:00:00Z"),
            )
        }
    }

    #[test]
    fn a_profile_is_written_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        write_noise(dir.path(), NOISE_FILE, &sample()).unwrap();
        let back = read_noise(&dir.path().join(NOISE_FILE)).unwrap();
        assert_eq!(back, sample());
    }

    /// 15 January and 30 days is 14 February.
    #[test]
    fn it_expires_after_thirty_days_and_never_comes_from_the_future() {
        let fit = |now: &str| sample().unfit(&conditions("H100", "a"), at(now));
        assert_eq!(fit("2026-02-14T10:00:00Z"), None);
        assert_eq!(
            fit("2026-02-14T10:00:01Z"),
            Some(Unfit::Expired { days: 30 })
        );
        assert_eq!(
            fit("2026-03-01T12:00:00Z"),
            Some(Unfit::Expired { days: 45 })
        );
        assert_eq!(fit("2026-01-15T09:50:00Z"), None, "clocks differ a little");
        assert_eq!(fit("2026-01-15T09:49:59Z"), Some(Unfit::Future));
    }

    #[test]
    fn other_hardware_is_told_before_other_conditions() {
        let now = at("2026-01-15T10:00:00Z");
        let fit = |gpu, model| sample().unfit(&conditions(gpu, model), now);
        assert_eq!(fit("H100", "a"), None);
        assert_eq!(fit("L40S", "b"), Some(Unfit::Hardware));
        assert_eq!(fit("H100", "b"), Some(Unfit::Conditions));
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        let text = serde_json::to_string(&sample()).unwrap();
        let read = |text: &str| noise(Path::new("n.json"), text.as_bytes());
        assert!(read(&text).is_ok());
        for (from, to, says) in [
            ("0.01", "0", "n.json: metrics.s.m"),
            ("0.01", "1e9", "n.json: metrics.s.m"),
            ("11.0", "-1", "n.json: metrics.s.m"),
            ("11.0", "1e99", "n.json: metrics.s.m"),
            ("\"jobs\"", "\"jbos\"", "jbos"),
            ("schema_version\":1", "schema_version\":7", "update kitt"),
            ("2026-01-15T10:00:00Z", "noon", "created"),
        ] {
            let error = read(&text.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{to}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_profile_or_an_error(text in "[a-z0-9_\\[\\]{}:,\" ]{0,80}") {
            drop(noise(Path::new("n.json"), text.as_bytes()));
        }
    }
}
