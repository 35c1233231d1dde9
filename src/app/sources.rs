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
            sources.scenario(scenario)?;
        }
        Ok(sources)
    }

    /// As [`Sources::read`], for one scenario.
    ///
    /// # Errors
    /// As there.
    pub(super) fn scenario(&mut self, scenario: &mut Scenario) -> Result<(), WorkloadError> {
        if let PromptSource::Dataset { path, digest } = &mut scenario.prompts {
            self.dataset(path)?.digest().clone_into(digest);
        }
        if let Arrivals::Replay { path, digest, .. } = &mut scenario.arrivals {
            if self.trace.is_none() {
                self.trace = Some(Trace::read(path, digest)?);
            }
            if let Some(trace) = &self.trace {
                trace.digest.clone_into(digest);
            }
        }
        Ok(())
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
