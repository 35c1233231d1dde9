//! Questions that are no longer asked once the GPU has said that it cannot answer.

use nvml_wrapper::{
    Device, enums::device::SampleValue, error::NvmlError, structs::device::FieldId,
};

/// A question to a GPU.
pub(super) struct Asked<T> {
    ask: fn(&Device<'static>) -> Result<T, NvmlError>,
    answers: bool,
}

impl<T> Asked<T> {
    pub(super) const fn new(ask: fn(&Device<'static>) -> Result<T, NvmlError>) -> Self {
        Self { ask, answers: true }
    }

    /// The answer, unless there is none.
    ///
    /// # Errors
    /// The GPU is gone.
    pub(super) fn read(&mut self, device: &Device<'static>) -> Result<Option<T>, NvmlError> {
        if !self.answers {
            return Ok(None);
        }
        match (self.ask)(device) {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_gone(&error) => Err(error),
            Err(error) => {
                self.answers = !is_unsupported(&error);
                Ok(None)
            }
        }
    }
}

/// Fields that are read in one call. `N` values, in the order of the names given.
pub(super) struct Fields<const N: usize> {
    /// Position and number of those that answer.
    asked: Vec<(usize, FieldId)>,
}

impl<const N: usize> Fields<N> {
    /// `ids` in the numbering from before driver 580.82: the wrapper translates the question. The
    /// answer carries the translated number, so that answers are known by position only.
    pub(super) fn new(ids: [u32; N]) -> Self {
        Self {
            asked: ids.into_iter().map(FieldId).enumerate().collect(),
        }
    }

    /// The values of this moment. A field the GPU does not have is not asked for again.
    ///
    /// # Errors
    /// The GPU is gone.
    pub(super) fn read(&mut self, device: &Device<'static>) -> Result<[Option<u64>; N], NvmlError> {
        let mut values = [None; N];
        if self.asked.is_empty() {
            return Ok(values);
        }
        let ids: Vec<FieldId> = self.asked.iter().map(|(_, id)| FieldId(id.0)).collect();
        let answers = match device.field_values_for(&ids) {
            Ok(answers) => answers,
            Err(error) if is_gone(&error) => return Err(error),
            Err(error) => {
                if is_unsupported(&error) {
                    self.asked.clear();
                }
                return Ok(values);
            }
        };
        let mut dropped = Vec::new();
        for ((position, _), answer) in self.asked.iter().zip(answers) {
            match answer.and_then(|sample| sample.value) {
                Ok(value) => {
                    if let Some(slot) = values.get_mut(*position) {
                        *slot = whole(&value);
                    }
                }
                Err(error) if is_gone(&error) => return Err(error),
                Err(error) if is_unsupported(&error) => dropped.push(*position),
                Err(_not_this_time) => {}
            }
        }
        self.asked
            .retain(|(position, _)| !dropped.contains(position));
        Ok(values)
    }
}

/// All fields asked for here are counts.
fn whole(value: &SampleValue) -> Option<u64> {
    match *value {
        SampleValue::U32(value) => Some(value.into()),
        SampleValue::U64(value) => Some(value),
        SampleValue::I64(value) => u64::try_from(value).ok(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float keeps whole numbers up to 2^53, which is 285 years of millijoules at 1 kW"
        )]
        SampleValue::F64(value) => (value >= 0.0 && value.is_finite()).then_some(value as u64),
    }
}

/// The GPU or the driver is not there any more.
pub(super) const fn is_gone(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::GpuLost
            | NvmlError::ResetRequired
            | NvmlError::Uninitialized
            | NvmlError::DriverNotLoaded
    )
}

/// It will never answer this, as opposed to not this time.
pub(super) const fn is_unsupported(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::NotSupported
            | NvmlError::InvalidArg
            | NvmlError::NoPermission
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_)
    )
}
