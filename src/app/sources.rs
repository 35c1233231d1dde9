//! The files that a plan names: read once, and their digests made part of the workload.

use std::{path::Path, sync::Arc};

use crate::{
    plan::{Arrivals, Plan, PromptSource, Scenario},
    workload::{Dataset, Trace, WorkloadError},
};

/// What was read. A plan names at most one file of each kind.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) dataset: Option<Arc<Dataset>>,
    pub(super) trace: Option<Trace>,
}

impl Sources {
    /// Reads the files that the plan's scenarios name and writes their digests into them: results
    /// of another file's content are not comparable.
    ///
    /// # Errors
    /// A file cannot be read, or is none of the known kinds.
    pub(super) fn read(plan: &mut Plan) -> Result<Self, WorkloadError> {
        let mut sources = Self::default();
        for scenario in &mut plan.scenarios {
            *scenario = sources.named_by(scenario.clone())?;
        }
        Ok(sources)
    }

    fn named_by(&mut self, mut scenario: Scenario) -> Result<Scenario, WorkloadError> {
        if let PromptSource::Dataset { path, .. } = &scenario.prompts {
            let (path, dataset) = (path.clone(), self.dataset(path)?);
            scenario = scenario.with_digest(&path, dataset.digest());
        }
        if let Arrivals::Replay { path, digest, .. } = &scenario.arrivals {
            let path = path.clone();
            let trace = match self.trace.take() {
                Some(known) => known,
                None => Trace::read(&path, digest)?,
            };
            scenario = scenario.with_digest(&path, &trace.digest);
            self.trace = Some(trace);
        }
        Ok(scenario)
    }

    fn dataset(&mut self, path: &Path) -> Result<Arc<Dataset>, WorkloadError> {
        let dataset = match self.dataset.take() {
            Some(known) => known,
            None => Dataset::read(path)?,
        };
        self.dataset = Some(Arc::clone(&dataset));
        Ok(dataset)
    }
}
