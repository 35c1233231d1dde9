//! A recorded trace as a source: the same readings again, on any machine.

use std::{fs::File, path::Path, vec};

use super::{GpuInfo, GpuReading, GpuSample, GpuSource, TelemetryError, read_traces};

/// Plays the samples of a recording, one per question, whatever time has passed.
#[derive(Debug)]
pub struct ReplaySource {
    devices: Vec<GpuInfo>,
    samples: vec::IntoIter<GpuSample>,
}

impl ReplaySource {
    /// Opens a recording (see [`super::write_trace`]); its traces are played one after the other.
    ///
    /// # Errors
    /// [`TelemetryError::Replay`]: the file cannot be read, holds no trace, or its traces are of
    /// different GPUs.
    pub fn open(path: &Path) -> Result<Self, TelemetryError> {
        let name = path.display().to_string();
        let wrong = |detail: String| TelemetryError::Replay {
            path: name.clone(),
            detail,
        };
        let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
        let traces = read_traces(file, &name)?;
        let first = traces
            .first()
            .ok_or_else(|| wrong("it holds no trace".to_owned()))?;
        let devices = first.devices.clone();
        if traces.iter().any(|trace| trace.devices != devices) {
            return Err(wrong("its traces are of different GPUs".to_owned()));
        }
        let samples: Vec<GpuSample> = traces.into_iter().flat_map(|trace| trace.samples).collect();
        Ok(Self {
            devices,
            samples: samples.into_iter(),
        })
    }
}

impl GpuSource for ReplaySource {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn devices(&self) -> &[GpuInfo] {
        &self.devices
    }

    fn sample(&mut self) -> Result<Option<Vec<GpuReading>>, TelemetryError> {
        let sample = self.samples.next().ok_or(TelemetryError::Ended)?;
        Ok(Some(sample.readings))
    }
}
