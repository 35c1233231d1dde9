//! What earlier jobs left for this one, and what this one leaves for later ones: the history and
//! the noise profile.

use std::path::{Path, PathBuf};

use super::clock;
use crate::{
    compare::{self, Change, History, JobName, NoiseProfile},
    context::Inputs,
    error::Error,
    results::{
        Fingerprint, HISTORY_FILE, Job, JobScenario, NOISE_FILE, NoiseFile, NoiseSource, Origin,
        Pairs, ResultSet, write_jobs,
    },
    store::{self, StoreError, StoredJob},
    verdict::{self, Judged, Shift},
};

/// The jobs before this one.
#[derive(Default)]
pub(super) struct Past {
    /// All of them, comparable or not, oldest first, without this one.
    jobs: Vec<StoredJob>,
    /// This one; `None` for results of KITT.
    this: Option<Job>,
    /// Those that this one may be held against.
    pool: Option<History>,
    /// Where they were looked for.
    path: Option<PathBuf>,
}

impl Past {
    /// Reads the history that the settings name. One that does not exist yet is empty.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(super) fn read(
        inputs: &Inputs,
        current: &ResultSet,
        pairs: Option<&Pairs>,
    ) -> Result<Self, Error> {
        let path = inputs.against.history.clone();
        let this = (current.origin == Origin::Own).then(|| compare::sum_up(current, pairs));
        let mut jobs = match &path {
            Some(path) => read(path)?,
            None => Vec::new(),
        };
        let mut pool = None;
        if let Some(this) = &this {
            jobs.retain(|stored| !stored.job.is(this));
            pool = Some(History::pool(jobs.iter().map(|stored| &stored.job), this));
        }
        Ok(Self {
            jobs,
            this,
            pool,
            path,
        })
    }

    /// Says how much history there is.
    pub(super) fn tell(&self) {
        if let (Some(path), Some(pool)) = (&self.path, &self.pool) {
            let (known, comparable) = (self.jobs.len(), pool.jobs.len());
            tracing::info!(
                "history: {known} jobs in {}, {comparable} of them comparable",
                path.display()
            );
        }
    }

    /// The jobs to compare with.
    pub(super) fn history(&self) -> Option<History> {
        self.pool.clone().filter(|pool| !pool.jobs.is_empty())
    }

    /// The newest comparable job as the baseline, for who has no other: its results where they are
    /// stored, else what its line says. The reason when there is none.
    ///
    /// # Errors
    /// Its results cannot be read.
    pub(super) fn baseline(&self, current: &ResultSet) -> Result<Result<ResultSet, String>, Error> {
        let Some(path) = &self.path else {
            return Ok(Err("none was given".to_owned()));
        };
        let Some(stored) = self.newest() else {
            let (path, jobs) = (path.display(), self.jobs.len());
            return Ok(Err(format!(
                "none of the {jobs} jobs in {path} was measured under these conditions on a base \
                 branch"
            )));
        };
        if let Some(path) = &stored.results {
            return Ok(Ok(store::load(path)?));
        }
        tracing::info!(
            "the newest job of the history is a line without results: its conditions are compared \
             by their digest"
        );
        let mut side = compare::stand_in(&stored.job, current);
        // No file of its own: nothing beside the history is taken for part of it.
        side.path = path.join(&stored.job.timestamp);
        Ok(Ok(side))
    }

    /// The newest comparable job of which every scenario is valid, else the newest one.
    fn newest(&self) -> Option<&StoredJob> {
        let pool = self.pool.as_ref()?;
        let named = |stored: &&StoredJob| {
            let name = JobName::of(&stored.job);
            pool.jobs.iter().any(|past| past.name == name)
        };
        let valid = |stored: &&StoredJob| stored.job.scenarios.values().all(JobScenario::is_valid);
        let newest_first = || self.jobs.iter().rev().filter(named);
        newest_first().find(valid).or_else(|| newest_first().next())
    }

    /// Where gating metrics shifted of late, when this job is one of the base branch: started by a
    /// push or a schedule.
    pub(super) fn shifts(&self, metrics: &[Judged]) -> Vec<Shift> {
        let (Some(this), Some(pool)) = (&self.this, &self.pool) else {
            return Vec::new();
        };
        if !matches!(this.event.as_deref(), Some("push" | "schedule")) || !this.is_of_base() {
            return Vec::new();
        }
        let shifts = verdict::shifts(metrics, &pool.clone().with(this));
        for shift in &shifts {
            tracing::warn!("{}", shift.words);
        }
        shifts
    }

    /// Writes the history with this job at its end beside the results. One that cannot be written
    /// is a warning: the verdict does not rest on it.
    pub(super) fn write(&self, dir: &Path) {
        let Some(this) = &self.this else {
            return;
        };
        let jobs = self.jobs.iter().map(|stored| stored.job.clone());
        let jobs: Vec<Job> = jobs.chain([this.clone()]).collect();
        if let Err(error) = write_jobs(dir, &jobs) {
            let error = Error::from(error).chain();
            tracing::warn!("{HISTORY_FILE} is not written, so this job is not in it: {error}");
        }
    }
}

/// Says how the estimate of each gating metric was made: against which jobs, with what assumed.
pub(super) fn tell_used(metrics: &[Judged]) {
    for judged in metrics.iter().filter(|judged| judged.gating) {
        let change = &judged.change;
        let (label, scenario) = (&change.metric.label, &change.scenario);
        for note in &change.notes {
            tracing::info!("{label} of {scenario}: {note}");
        }
    }
}

fn read(path: &Path) -> Result<Vec<StoredJob>, Error> {
    match store::history(path, compare::sum_up) {
        Ok(jobs) => Ok(jobs),
        Err(error @ StoreError::Missing { .. }) => {
            tracing::info!("no history yet: {error}");
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

/// Where the profile to begin with is: the file that was named, or the one beside the baseline.
fn profile_path(inputs: &Inputs) -> Option<PathBuf> {
    let named = inputs.against.noise_profile.clone();
    named.or_else(|| {
        let dir = inputs.baseline_dir.as_deref()?;
        let results = store::find(dir).ok()?;
        Some(results.with_file_name(NOISE_FILE))
    })
}

/// The profile of this class of runners: none yet, one that fits a job under these conditions now,
/// or why it is not used.
fn known(inputs: &Inputs, conditions: &Fingerprint) -> Result<Option<NoiseFile>, String> {
    let Some(path) = profile_path(inputs) else {
        return Ok(None);
    };
    let file = store::noise(&path).map_err(|error| Error::from(error).chain())?;
    let unfit = |file: &NoiseFile| file.unfit(conditions, clock::timestamp());
    match file.as_ref().and_then(unfit) {
        None => Ok(file),
        Some(why) => Err(format!("{}: {why}", path.display())),
    }
}

/// How much pairs scatter on this class of runners under these conditions, as far as it is known.
pub(super) fn noise(inputs: &Inputs, conditions: Option<&Fingerprint>) -> NoiseProfile {
    let known = conditions.and_then(|conditions| known(inputs, conditions).ok().flatten());
    known.map_or_else(NoiseProfile::default, |file| file.profile())
}

/// Says which noise profile is used, or why the one there is is not.
pub(super) fn tell_noise(inputs: &Inputs, conditions: Option<&Fingerprint>) {
    match conditions.map(|conditions| known(inputs, conditions)) {
        None | Some(Ok(None)) => {}
        Some(Ok(Some(file))) => {
            let (jobs, updated) = (file.jobs, file.updated);
            tracing::info!("noise profile: learned from {jobs} jobs, last at {updated:.0}");
        }
        Some(Err(why)) => tracing::warn!("the noise profile is not used: {why}"),
    }
}

/// Learns from the pairs of a job that was just measured, once: into the profile that was named,
/// where other jobs may be adding theirs, and into the results directory, where the profile
/// travels with the results. Without pairs what was known travels on. What cannot be written is a
/// warning: the verdict does not rest on it.
pub(super) fn learn(inputs: &Inputs, conditions: &Fingerprint, of: &[Change], dir: &Path) {
    let now = clock::timestamp();
    let paired = of.iter().any(|change| change.pairs.is_some());
    let lesson = |file: &mut NoiseFile| learn_into(file, of);
    let named = inputs.against.noise_profile.as_deref();
    let learned = match named {
        Some(path) if paired => {
            store::update_noise(path, conditions, NoiseSource::Pairs, now, lesson)
                .inspect_err(|error| tracing::warn!("nothing is learned: {error}"))
                .ok()
        }
        Some(_) | None => {
            let known = known(inputs, conditions).ok().flatten();
            if paired {
                let begin = || NoiseFile::new(conditions, NoiseSource::Pairs, now);
                let mut file = known.unwrap_or_else(begin);
                file.learned(now, lesson);
                Some(file)
            } else {
                known
            }
        }
    };
    if let Some(file) = learned
        && let Err(error) = crate::results::write_noise(dir, NOISE_FILE, &file)
    {
        let error = Error::from(error).chain();
        tracing::warn!("the noise profile is not written: {error}");
    }
}

/// Adds the scatter of every metric's pairs.
fn learn_into(file: &mut NoiseFile, of: &[Change]) {
    let mut profile = file.profile();
    for change in of {
        if let (Some(pairs), None) = (&change.pairs, &change.obstacle) {
            profile.learn(&change.scenario, &change.metric.name, &pairs.log_ratios);
        }
    }
    file.metrics = profile.metrics;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::Typed,
        compare::{Obstacle, PairedLogs},
        context::{self, EnvSnapshot},
        metric::describe,
        results::read_noise,
    };

    fn conditions() -> Fingerprint {
        Fingerprint {
            strict: [("gpu.name".to_owned(), "H100".to_owned())].into(),
            ..Fingerprint::default()
        }
    }

    fn inputs(settings: &[(&'static str, &Path)]) -> Inputs {
        let typed: Typed = settings
            .iter()
            .map(|(name, path)| (*name, path.display().to_string()))
            .collect();
        context::resolve(&typed, &EnvSnapshot::default()).unwrap()
    }

    /// A comparison of one metric in pairs, one that something stands in the way of, and one that
    /// was not measured in pairs.
    fn paired(log_ratios: &[f64]) -> [Change; 3] {
        let change = |name: &str, paired: bool, obstacle| {
            let pairs = paired.then(|| PairedLogs {
                log_ratios: log_ratios.to_vec(),
                prior: None,
            });
            Change {
                obstacle,
                pairs,
                ..Change::new("s", describe(name))
            }
        };
        [
            change("output_tps", true, None),
            change("e2e_ms.p90", true, Some(Obstacle::Invalid)),
            change("gpu_memory_peak_gb", false, None),
        ]
    }

    const PAIRS: [f64; 3] = [0.01, 0.02, 0.03];

    #[test]
    fn a_job_teaches_the_shared_file_and_its_own_results() {
        let dir = tempfile::tempdir().unwrap();
        let (shared, out) = (dir.path().join("shared.json"), dir.path());
        let inputs = inputs(&[("noise-profile", &shared)]);
        for jobs in [1, 2] {
            learn(&inputs, &conditions(), &paired(&PAIRS), out);
            let file = read_noise(&shared).unwrap();
            assert_eq!(file.jobs, jobs);
            assert_eq!(read_noise(&out.join(NOISE_FILE)).unwrap(), file);
            assert_eq!(file.metrics["s"].len(), 1, "{file:?}");
            // The same scatter again is the same scatter, better known: 2, then 0.95 · 2 + 2.
            let noise = file.metrics["s"]["output_tps"];
            assert!((noise.log_sd_pair - 0.01).abs() < 1e-12);
            let df = if jobs == 1 { 2.0 } else { 3.9 };
            assert!((noise.df - df).abs() < 1e-12, "{noise:?}");
        }
        // It is what the next job begins with.
        let known = noise(&inputs, Some(&conditions()));
        assert_eq!(known.metrics["s"].len(), 1);
    }

    #[test]
    fn the_profile_beside_the_baseline_serves_and_travels_on() {
        let (base, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(base.path().join("metrics.json"), "{}").unwrap();
        let inputs = inputs(&[("baseline-dir", base.path())]);
        learn(&inputs, &conditions(), &[], out.path());
        assert!(!out.path().join(NOISE_FILE).exists(), "nothing is known");
        let file = NoiseFile::new(&conditions(), NoiseSource::Pairs, clock::timestamp());
        crate::results::write_noise(base.path(), NOISE_FILE, &file).unwrap();
        // Without pairs it is the same, with its age.
        learn(&inputs, &conditions(), &[], out.path());
        assert_eq!(read_noise(&out.path().join(NOISE_FILE)).unwrap(), file);
        // With pairs it has learned.
        learn(&inputs, &conditions(), &paired(&PAIRS), out.path());
        assert_eq!(read_noise(&out.path().join(NOISE_FILE)).unwrap().jobs, 1);
        let before = read_noise(&base.path().join(NOISE_FILE)).unwrap();
        assert_eq!(before, file, "an artifact is left as it is");
    }

    #[test]
    fn a_profile_that_does_not_fit_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("noise.json");
        let inputs = inputs(&[("noise-profile", &path)]);
        learn(&inputs, &conditions(), &paired(&PAIRS), dir.path());
        let good = read_noise(&path).unwrap();
        let day = jiff::SignedDuration::from_hours(24);
        let mut other = good.clone();
        other.hw_key = "0".repeat(64);
        let mut late = good.clone();
        late.updated = good.updated - 31 * day;
        let mut early = good.clone();
        early.updated = good.updated + day;
        for (file, says) in [
            (other, "other hardware"),
            (late, "31 days ago"),
            (early, "future"),
        ] {
            crate::results::write_noise(dir.path(), "noise.json", &file).unwrap();
            assert_eq!(noise(&inputs, Some(&conditions())), NoiseProfile::default());
            let why = known(&inputs, &conditions()).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
        std::fs::write(&path, "{").unwrap();
        assert_eq!(noise(&inputs, Some(&conditions())), NoiseProfile::default());
        assert!(
            known(&inputs, &conditions())
                .unwrap_err()
                .contains("noise.json:1:")
        );
        assert_eq!(noise(&inputs, None), NoiseProfile::default());
    }
}
