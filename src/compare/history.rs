//! One job against the comparable jobs before it.
//!
//! In: the log summary of each past job since the last change point, and of this job's runs.
//! Out: an estimate with Student's t (`research/regression-statistics.md` §6):
//!
//! ```text
//! d = mean(current) − mean(past)      se = sd(past) √(1 + 1/H)      ν = H − 1
//! ```
//!
//! All runs of this job count as one: they share its machine and its hour.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    Design, Estimate, Reference,
    change_points::level_shifts,
    estimate,
    statistic::{believed, deviation, mean},
};
use crate::results::Job;

/// The comparable jobs before this one, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The jobs.
    pub jobs: Vec<PastJob>,
}

/// One past job, summed up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PastJob {
    /// Which one.
    pub name: JobName,
    /// The job's value by scenario and metric: the geometric mean over its runs.
    pub values: BTreeMap<String, BTreeMap<String, f64>>,
}

/// What people call a job by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JobName {
    /// Commit that was measured.
    pub commit: Option<String>,
    /// When: RFC 3339.
    pub at: Option<String>,
}

impl JobName {
    /// The name of a job.
    pub fn of(job: &Job) -> Self {
        Self {
            commit: job.commit.clone(),
            at: Some(job.timestamp.clone()),
        }
    }
}

impl fmt::Display for JobName {
    /// `abc1234 (2026-01-15)`, as far as it is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.at.as_deref().and_then(|at| at.split('T').next());
        let commit = self
            .commit
            .as_ref()
            .map(|commit| commit.chars().take(7).collect::<String>());
        match (commit, day) {
            (Some(commit), Some(day)) => write!(f, "{commit} ({day})"),
            (Some(commit), None) => f.write_str(&commit),
            (None, Some(day)) => f.write_str(day),
            (None, None) => f.write_str("an unknown job"),
        }
    }
}

/// A lasting change of a metric's level between past jobs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LevelShift {
    /// First job at the new level.
    pub since: JobName,
    /// Its place among the jobs that have the metric, from 0.
    #[serde(skip)]
    pub index: usize,
    /// Median of the level before.
    pub before: f64,
    /// Median of the new level.
    pub after: f64,
}

impl LevelShift {
    /// The relative change, 0.061 = +6.1 %.
    pub fn relative(&self) -> f64 {
        self.after / self.before - 1.0
    }
}

/// The past jobs that a metric is held against.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PastJobs {
    /// How many: those since the last shift of the level.
    pub jobs: usize,
    /// The oldest of them.
    pub since: JobName,
    /// The shift that ended what was before, when there was one.
    pub shift: Option<LevelShift>,
    /// How much one job differs from the next at this level: standard deviation of the log of a
    /// job's value (0.01 = 1 %). `None` for a single job.
    pub spread: Option<f64>,
}

impl PastJobs {
    /// As the fragment of a sentence: `10 jobs since abc1234 (2026-01-15)`.
    pub fn words(&self) -> String {
        let jobs = match self.jobs {
            1 => "1 job".to_owned(),
            jobs => format!("{jobs} jobs"),
        };
        match &self.shift {
            Some(shift) => format!(
                "{jobs} since the level shifted by {:+.1} % at {}",
                shift.relative() * 100.0,
                shift.since
            ),
            None => format!("{jobs} since {}", self.since),
        }
    }
}

/// The level that past jobs are at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Level {
    /// Log of the value of each job at this level, oldest first.
    pub(super) logs: Vec<f64>,
    /// Which jobs.
    pub(super) jobs: PastJobs,
}

impl History {
    /// Most jobs looked at: the newest.
    pub const MOST: usize = 100;

    /// The jobs that `current` may be held against: measured before it under the same strict
    /// conditions, complete, and of code that is on the base branch: jobs of pull requests and
    /// merge groups try what may never get there. What started an older job may be unknown; it is
    /// believed then, since whoever named the history chose it.
    pub fn pool<'a>(jobs: impl IntoIterator<Item = &'a Job>, current: &Job) -> Self {
        let usable = |job: &&Job| {
            job.fingerprint == current.fingerprint
                && job.is_of_base()
                && job.began() <= current.began()
                && !job.is(current)
        };
        let mut jobs: Vec<&Job> = jobs.into_iter().filter(usable).collect();
        jobs.sort_by_key(|job| job.began());
        let mut jobs: Vec<PastJob> = jobs.into_iter().map(PastJob::of).collect();
        jobs.retain(|job| !job.values.is_empty());
        jobs.drain(..jobs.len().saturating_sub(Self::MOST));
        Self { jobs }
    }

    /// The same jobs and a newer one.
    #[must_use]
    pub fn with(mut self, job: &Job) -> Self {
        self.jobs.push(PastJob::of(job));
        let surplus = self.jobs.len().saturating_sub(Self::MOST);
        self.jobs.drain(..surplus);
        self
    }

    /// Jobs that have a usable value of a metric, with it: positive, oldest first.
    fn series(&self, scenario: &str, metric: &str) -> Vec<(&JobName, f64)> {
        let value = |job: &PastJob| job.values.get(scenario)?.get(metric).copied();
        let usable = |value: &f64| estimate::logs(&[*value]).is_some();
        self.jobs
            .iter()
            .filter_map(|job| Some((&job.name, value(job).filter(usable)?)))
            .collect()
    }

    /// Every lasting change of a metric's level, oldest first.
    pub fn shifts(&self, scenario: &str, metric: &str) -> Vec<LevelShift> {
        shifts(&self.series(scenario, metric))
    }

    /// How many jobs have a usable value of a metric.
    pub fn count(&self, scenario: &str, metric: &str) -> usize {
        self.series(scenario, metric).len()
    }

    /// The jobs since the last shift; `None` when no job has the metric.
    pub(super) fn level(&self, scenario: &str, metric: &str) -> Option<Level> {
        let series = self.series(scenario, metric);
        let shift = shifts(&series).pop();
        let from = shift.as_ref().map_or(0, |shift| shift.index);
        let since = series.get(from)?.0.clone();
        let values: Vec<f64> = series
            .into_iter()
            .skip(from)
            .map(|(_, value)| value)
            .collect();
        let logs = estimate::logs(&values)?;
        Some(Level {
            jobs: PastJobs {
                jobs: logs.len(),
                since,
                shift,
                spread: deviation(&logs),
            },
            logs,
        })
    }
}

fn shifts(series: &[(&JobName, f64)]) -> Vec<LevelShift> {
    let values: Vec<f64> = series.iter().map(|(_, value)| *value).collect();
    let named = |point: super::ChangePoint| {
        let (since, _) = series.get(point.index)?;
        Some(LevelShift {
            since: (*since).clone(),
            index: point.index,
            before: point.before,
            after: point.after,
        })
    };
    level_shifts(&values)
        .into_iter()
        .filter_map(named)
        .collect()
}

impl PastJob {
    /// The values of a job that count: those of scenarios whose measurement is valid.
    fn of(job: &Job) -> Self {
        let valid = job
            .scenarios
            .iter()
            .filter(|(_, scenario)| scenario.is_valid());
        let values = valid.map(|(name, scenario)| {
            let metrics = scenario.metrics.iter();
            let values = metrics.map(|(metric, value)| (metric.clone(), value.value));
            (name.clone(), values.collect())
        });
        Self {
            name: JobName::of(job),
            values: values.collect(),
        }
    }
}

/// Fewest comparable past jobs that tell how jobs vary.
pub const FEWEST_JOBS: usize = 8;

/// The estimate; `None` with fewer than [`FEWEST_JOBS`] past jobs or without a current run.
pub fn history(past: &[f64], current: &[f64]) -> Option<Estimate> {
    if past.len() < FEWEST_JOBS {
        return None;
    }
    let jobs = past.len() as f64;
    let spread = believed(past)?;
    Some(Estimate {
        log_ratio: mean(current)? - mean(past)?,
        standard_error: spread * (1.0 + 1.0 / jobs).sqrt(),
        reference: Reference::StudentT(jobs - 1.0),
        design: Design::History,
        runs: (past.len(), current.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::Validity,
        results::{JobScenario, JobValue, RunStatus},
    };

    fn job(hour: usize, value: f64) -> Job {
        let value = JobValue { value, runs: 1 };
        Job {
            schema_version: Job::VERSION,
            timestamp: format!("2026-01-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24),
            commit: Some(format!("{hour:040x}")),
            git_ref: None,
            event: Some("push".into()),
            status: RunStatus::Complete,
            fingerprint: "a".repeat(64),
            hw_key: "b".repeat(64),
            soft: BTreeMap::new(),
            scenarios: [(
                "s".to_owned(),
                JobScenario {
                    validity: Some(Validity::Valid),
                    metrics: [("m".to_owned(), value)].into(),
                    ..JobScenario::default()
                },
            )]
            .into(),
        }
    }

    fn pool(jobs: &[Job]) -> Vec<f64> {
        let history = History::pool(jobs, &job(600, 1.0));
        let values = history.series("s", "m").into_iter();
        values.map(|(_, value)| value).collect()
    }

    #[test]
    fn only_complete_valid_jobs_of_the_base_under_the_same_conditions_count() {
        let edited = |hour, edit: fn(&mut Job)| {
            let mut job = job(hour, 9.0);
            edit(&mut job);
            job
        };
        let jobs = [
            job(2, 2.0),
            job(1, 1.0),
            edited(3, |job| job.event = Some("pull_request".into())),
            edited(4, |job| job.event = Some("pull_request_target".into())),
            edited(5, |job| job.event = Some("merge_group".into())),
            edited(6, |job| job.status = RunStatus::Failed),
            edited(7, |job| job.status = RunStatus::Running),
            edited(8, |job| job.fingerprint = "c".repeat(64)),
            edited(9, |job| {
                let all = job.scenarios.values_mut();
                all.for_each(|one| one.validity = Some(Validity::GpuInvalid));
            }),
            edited(10, |job| {
                let all = job.scenarios.values_mut();
                all.for_each(|one| one.validity = Some(Validity::Inconclusive));
            }),
            edited(11, |job| job.event = None),
            // This job itself, and one that came later.
            job(600, 5.0),
            job(601, 6.0),
        ];
        assert_eq!(pool(&jobs), [1.0, 2.0, 9.0], "oldest first");
    }

    #[test]
    fn the_newest_hundred_jobs_are_looked_at() {
        let jobs: Vec<Job> = (0..120).map(|n| job(n, n as f64 + 1.0)).collect();
        let found = pool(&jobs);
        assert_eq!((found.len(), found[0]), (100, 21.0));
        let history = History::pool(&jobs, &job(600, 1.0)).with(&job(600, 7.0));
        assert_eq!(history.count("s", "m"), 100);
        assert!((history.jobs.last().unwrap().values["s"]["m"] - 7.0).abs() < 1e-12);
    }

    #[test]
    fn a_metric_is_held_against_the_jobs_since_its_level_shifted() {
        // 1 % up and down around 100, then around 120.
        let value = |n: usize| {
            let level = if n < 12 { 100.0 } else { 120.0 };
            level * (1.0 + 0.01 * ((n * 7 % 5) as f64 - 2.0) / 2.0)
        };
        let jobs: Vec<Job> = (0..21).map(|n| job(n, value(n))).collect();
        let history = History::pool(&jobs, &job(600, 1.0));
        let level = history.level("s", "m").unwrap();
        assert_eq!((level.logs.len(), level.jobs.jobs), (9, 9));
        let shift = level.jobs.shift.clone().unwrap();
        assert_eq!(
            shift.since.commit.as_deref(),
            Some(&*format!("{:040x}", 12))
        );
        assert!((shift.relative() - 0.2).abs() < 0.02, "{shift:?}");
        assert!(level.jobs.spread.unwrap() < 0.01);
        assert!(
            level
                .jobs
                .words()
                .starts_with("9 jobs since the level shifted by +")
        );
        assert_eq!(history.level("s", "other"), None);
    }

    #[test]
    fn values_without_a_logarithm_are_left_out() {
        let jobs: Vec<Job> = [1.0, 0.0, 2.0]
            .iter()
            .zip(0..)
            .map(|(v, n)| job(n, *v))
            .collect();
        assert_eq!(pool(&jobs), [1.0, 2.0]);
    }

    #[test]
    fn a_job_is_called_by_what_is_known_of_it() {
        let name = |commit: Option<&str>, at: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let (commit, at) = (owned(commit), owned(at));
            JobName { commit, at }.to_string()
        };
        let at = Some("2026-01-15T10:00:00Z");
        assert_eq!(name(Some("0123456789"), at), "0123456 (2026-01-15)");
        assert_eq!(name(None, at), "2026-01-15");
        assert_eq!(name(None, None), "an unknown job");
    }

    /// 1…9 have mean 5 and variance 7.5; nine jobs: se² = 7.5 · 10/9 = 25/3.
    #[test]
    fn history_by_hand() {
        let past: Vec<f64> = (1..=9).map(f64::from).collect();
        let estimate = history(&past, &[6.0, 8.0]).unwrap();
        assert!((estimate.log_ratio - 2.0).abs() < 1e-12);
        assert!((estimate.standard_error - (25.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(estimate.reference, Reference::StudentT(8.0));
        assert_eq!(estimate.runs, (9, 2));
        assert_eq!(history(&past[..7], &[6.0]), None);
        assert_eq!(history(&past, &[]), None);
    }
}
