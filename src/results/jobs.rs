//! `history.jsonl`: past jobs, one a line, oldest first.
//!
//! A line holds what a later job needs to be compared with this one: when, which commit, under
//! which conditions, and one value a scenario and metric. Every job is written down, also of a
//! pull request and also one that failed; who builds a pool leaves those out. Untrusted when read:
//! the file travels as an artifact.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    Limits, ResultsError, RunStatus,
    checks::{check_name, check_sign, check_value, wrong},
    files, json,
};
use crate::{ids::ScenarioId, measure::Validity};

/// Name of the file in a results directory.
pub const HISTORY_FILE: &str = "history.jsonl";
/// Jobs kept in the file: the newest.
pub const MOST_JOBS: usize = 500;
/// Lines read at most; a file of ours has [`MOST_JOBS`].
const MOST_LINES: usize = 10_000;
/// Version of a line.
const VERSION: u32 = 1;
/// Longest text of a line in bytes: arguments of an engine are the longest.
const TEXT_BYTES: usize = 64 << 10;

/// One job, summed up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Version of the line.
    pub schema_version: u32,
    /// When the job's measurement began: RFC 3339 in UTC.
    pub timestamp: String,
    /// Commit that was measured.
    #[serde(default)]
    pub commit: Option<String>,
    /// Branch or ref name.
    #[serde(default, rename = "ref")]
    pub git_ref: Option<String>,
    /// What started the job: `push`, `pull_request`, …
    #[serde(default)]
    pub event: Option<String>,
    /// How far it got.
    pub status: RunStatus,
    /// Digest of the strict conditions: equal digests are comparable.
    pub fingerprint: String,
    /// Digest of the hardware alone.
    pub hw_key: String,
    /// What may differ and is shown when it does: image, engine version, arguments.
    #[serde(default)]
    pub soft: BTreeMap<String, String>,
    /// By scenario name.
    pub scenarios: BTreeMap<String, JobScenario>,
}

/// One scenario of a job, over all of its runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobScenario {
    /// The worst validity of its runs; `None` when none was judged.
    #[serde(default)]
    pub validity: Option<Validity>,
    /// Requests sent in the runs, on average.
    #[serde(default)]
    pub sent: Option<u64>,
    /// Requests that ended well, on average.
    #[serde(default)]
    pub ok: Option<u64>,
    /// Mean output tokens per request.
    #[serde(default)]
    pub output_tokens_mean: Option<f64>,
    /// By metric name.
    pub metrics: BTreeMap<String, JobValue>,
}

/// One metric of a job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobValue {
    /// The geometric mean over the runs, in the metric's unit.
    pub value: f64,
    /// How many runs it rests on; positive.
    pub runs: u32,
}

impl Job {
    /// Version of the lines this program writes.
    pub const VERSION: u32 = VERSION;

    /// Whether this is the same job, maybe measured further since. A job begins once, to the
    /// microsecond, so the time and the conditions name it.
    pub fn is(&self, other: &Self) -> bool {
        self.timestamp == other.timestamp
            && self.commit == other.commit
            && self.fingerprint == other.fingerprint
    }

    /// Whether it measured code of a base branch, to the end. A pull request or a merge group
    /// tries what may never get there.
    pub fn is_of_base(&self) -> bool {
        let event = self.event.as_deref().unwrap_or_default();
        let tries = event.starts_with("pull_request") || event == "merge_group";
        self.status == RunStatus::Complete && !tries
    }

    /// When it began; `None` when the text is no time.
    pub fn began(&self) -> Option<jiff::Timestamp> {
        self.timestamp.parse().ok()
    }
}

impl JobScenario {
    /// Whether nothing speaks against its values.
    pub const fn is_valid(&self) -> bool {
        matches!(self.validity, Some(Validity::Valid) | None)
    }
}

/// Reads a `history.jsonl`. A last line that ends in the middle was being written when something
/// was killed: it is left out with a warning.
///
/// # Errors
/// The file cannot be read, is larger or has more lines than is allowed, or a line is no job:
/// the error names the line.
pub fn read_jobs(path: &Path, limits: &Limits) -> Result<Vec<Job>, ResultsError> {
    let bytes = json::read_file(path, limits.file_bytes)?;
    jobs(path, &bytes, limits)
}

/// The pure part of [`read_jobs`].
fn jobs(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Vec<Job>, ResultsError> {
    let limits = Limits {
        string_bytes: TEXT_BYTES,
        ..*limits
    };
    let lines = bytes
        .split(|byte| *byte == b'\n')
        .zip(1..)
        .filter(|(line, _)| !line.iter().all(u8::is_ascii_whitespace));
    let lines: Vec<(&[u8], usize)> = lines.collect();
    if lines.len() > MOST_LINES {
        let detail = format!("{} lines; at most {MOST_LINES} are read", lines.len());
        return Err(wrong(path, "history", detail));
    }
    let last = lines.len();
    let mut jobs = Vec::with_capacity(last);
    for (place, (line, number)) in (1..).zip(lines) {
        if place == last && is_cut(line) {
            tracing::warn!(
                "{}:{number}: the last line ends in the middle; it is left out",
                path.display()
            );
            break;
        }
        jobs.push(job(path, line, number, &limits)?);
    }
    Ok(jobs)
}

/// Whether a document ends before it is complete: what is wrong with it is its end. A number may
/// be cut behind its point, so not only a missing bracket tells.
fn is_cut(line: &[u8]) -> bool {
    let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(line);
    parsed.is_err_and(|error| error.is_eof() || error.column() >= line.len())
}

fn job(path: &Path, line: &[u8], number: usize, limits: &Limits) -> Result<Job, ResultsError> {
    json::check(path, line, limits)?;
    version(path, line, number)?;
    let job: Job = json::parse(path, line, number)?;
    let place = |key: &str| format!("line {number}: {key}");
    let refuse = |key: &str, detail: &str| Err(wrong(path, &place(key), detail.to_owned()));
    if job.began().is_none() {
        return refuse(
            "timestamp",
            "it must be a time such as 2026-01-15T10:30:00Z",
        );
    }
    for (key, digest) in [("fingerprint", &job.fingerprint), ("hw_key", &job.hw_key)] {
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return refuse(key, "it must be 64 hexadecimal digits");
        }
    }
    for (name, scenario) in &job.scenarios {
        if let Err(error) = name.parse::<ScenarioId>() {
            return refuse("scenarios", &error.to_string());
        }
        let key = place(&format!("scenarios.{name}"));
        check_sign(path, &key, scenario.output_tokens_mean)?;
        if scenario.ok > scenario.sent {
            return refuse(name, "more requests ended well than were sent");
        }
        for (metric, value) in &scenario.metrics {
            check_name(path, &key, metric)?;
            check_value(path, &key, metric, value.value)?;
            if value.runs == 0 {
                return refuse(name, "a value rests on at least one run");
            }
        }
    }
    Ok(job)
}

/// A newer line is told as such, not as a key that nobody knows.
fn version(path: &Path, line: &[u8], number: usize) -> Result<(), ResultsError> {
    #[derive(Deserialize)]
    struct Probe {
        schema_version: u64,
    }
    let found = json::parse::<Probe>(path, line, number)?.schema_version;
    if found == u64::from(VERSION) {
        return Ok(());
    }
    if found > u64::from(VERSION) {
        return Err(ResultsError::Schema {
            path: path.to_owned(),
            found,
            known: VERSION.into(),
        });
    }
    let key = format!("line {number}: schema_version");
    Err(wrong(path, &key, "it must be above 0".to_owned()))
}

/// Writes the newest [`MOST_JOBS`] of these jobs, which are given oldest first, into a directory:
/// all of it or nothing.
///
/// # Errors
/// The file cannot be written.
pub fn write_jobs(dir: &Path, jobs: &[Job]) -> Result<(), ResultsError> {
    let newest = jobs.get(jobs.len().saturating_sub(MOST_JOBS)..);
    let mut bytes = Vec::new();
    for job in newest.unwrap_or_default() {
        serde_json::to_writer(&mut bytes, job)
            .map_err(std::io::Error::from)
            .map_err(files::failed("write", &dir.join(HISTORY_FILE)))?;
        bytes.push(b'\n');
    }
    files::replace(dir, HISTORY_FILE, &bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn job_at(second: usize) -> Job {
        let value = JobValue {
            value: 12.5,
            runs: 2,
        };
        Job {
            schema_version: VERSION,
            timestamp: format!("2026-01-15T10:{:02}:{:02}Z", second / 60, second % 60),
            commit: Some("abc".into()),
            git_ref: Some("refs/heads/main".into()),
            event: Some("push".into()),
            status: RunStatus::Complete,
            fingerprint: "0".repeat(64),
            hw_key: "f".repeat(64),
            soft: BTreeMap::new(),
            scenarios: [(
                "latency".to_owned(),
                JobScenario {
                    validity: Some(Validity::Valid),
                    sent: Some(25),
                    ok: Some(24),
                    output_tokens_mean: Some(32.0),
                    metrics: [("ttft_ms.p50".to_owned(), value)].into(),
                },
            )]
            .into(),
        }
    }

    fn line(job: &Job) -> String {
        serde_json::to_string(job).unwrap()
    }

    /// The first bytes of a text that is all ASCII.
    fn first(text: &str, bytes: usize) -> &str {
        text.get(..bytes).unwrap()
    }

    fn read(text: &str) -> Result<Vec<Job>, ResultsError> {
        jobs(Path::new("h.jsonl"), text.as_bytes(), &Limits::default())
    }

    #[test]
    fn the_newest_five_hundred_are_written_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<Job> = (0..503).map(job_at).collect();
        write_jobs(dir.path(), &all).unwrap();
        let back = read_jobs(&dir.path().join(HISTORY_FILE), &Limits::default()).unwrap();
        assert_eq!(back, all[3..]);
        write_jobs(dir.path(), &all[..2]).unwrap();
        let back = read_jobs(&dir.path().join(HISTORY_FILE), &Limits::default()).unwrap();
        assert_eq!(back, all[..2], "the file is replaced");
    }

    #[test]
    fn a_half_written_last_line_is_left_out() {
        let (one, two) = (line(&job_at(1)), line(&job_at(2)));
        for cut in [1, 20, two.len() - 1] {
            let text = format!("{one}\n{}", first(&two, cut));
            assert_eq!(read(&text).unwrap(), [job_at(1)], "{cut}");
        }
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read(&format!("{one}\n\n{two}")).unwrap().len(), 2);
    }

    #[test]
    fn any_other_broken_line_is_named() {
        let good = line(&job_at(1));
        let half = first(&good, 20);
        let with = |from: &str, to: &str| good.replace(from, to);
        for (broken, says) in [
            (half.to_owned(), "h.jsonl:2:"),
            (with("\"commit\"", "\"comit\""), "comit"),
            (
                with("2026-01-15T10:00:01Z", "yesterday"),
                "line 2: timestamp",
            ),
            (with(&"0".repeat(64), "00"), "line 2: fingerprint"),
            (with("12.5", "-12.5"), "negative"),
            (with("12.5", "null"), "h.jsonl:2:"),
            (with("\"runs\":2", "\"runs\":0"), "at least one run"),
            (with("\"ok\":24", "\"ok\":26"), "more requests"),
            (with("\"latency\"", "\"a b\""), "line 2: scenarios"),
            (
                with("schema_version\":1", "schema_version\":2"),
                "update kitt",
            ),
            (with("schema_version\":1", "schema_version\":0"), "above 0"),
            ("[]".to_owned(), "h.jsonl:2:"),
        ] {
            let error = read(&format!("{good}\n{broken}\n{good}\n")).unwrap_err();
            assert!(error.to_string().contains(says), "{broken}: {error}");
        }
        // A whole line that is wrong is no half-written one, wherever it stands.
        let newer = with("schema_version\":1", "schema_version\":2");
        assert!(read(&format!("{good}\n{newer}")).is_err());
    }

    #[test]
    fn more_lines_than_jobs_are_refused() {
        let text = "1\n".repeat(MOST_LINES + 1);
        assert!(read(&text).unwrap_err().to_string().contains("10001 lines"));
    }

    proptest! {
        #[test]
        fn any_text_is_jobs_or_an_error(text in "[a-z0-9_\\[\\]{}:,\"\\n ]{0,120}") {
            drop(read(&text));
        }

        #[test]
        fn any_cut_of_a_file_keeps_the_whole_lines(cut in 0_usize..3000) {
            let text: String = (0..4).map(|n| line(&job_at(n)) + "\n").collect();
            let cut = cut.min(text.len());
            let whole = first(&text, cut).matches('\n').count();
            let found = read(first(&text, cut)).unwrap().len();
            // A line is complete also without its line break.
            prop_assert!(found == whole || found == whole + 1, "{found} {whole}");
        }
    }
}
