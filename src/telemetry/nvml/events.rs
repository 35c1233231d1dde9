//! What NVIDIA GPUs report by themselves: XID errors and uncorrectable memory errors.
//!
//! Only events from after the registration are delivered: register before the engine starts.

use std::time::Duration;

use nvml_wrapper::{
    EventSet, Nvml, bitmasks::event::EventTypes, enums::event::XidError, error::NvmlError,
};

use super::asked::is_gone;
use crate::telemetry::{EventKind, EventSource, GpuInfo, TelemetryError};

/// XID 999 is NVML's word for "unknown" (`nvml.h`).
const UNKNOWN_XID: u64 = 999;

/// A registered set of events.
pub(super) struct NvmlEvents {
    set: EventSet<'static>,
    uuids: Vec<String>,
}

impl NvmlEvents {
    /// Listens to what each GPU can report; `None` where none can report anything (WSL, vGPU).
    pub(super) fn register(nvml: &'static Nvml, infos: &[GpuInfo]) -> Option<Self> {
        // A set is gone once one registration has failed: ask first, and leave those out that
        // fail all the same.
        let mut listed: Vec<(&str, EventTypes)> = infos
            .iter()
            .map(board)
            .filter_map(|uuid| Some((uuid, supported(nvml, uuid)?)))
            .collect();
        while !listed.is_empty() {
            match registered(nvml, &listed) {
                Ok(set) => {
                    let uuids = infos.iter().map(|info| board(info).to_owned()).collect();
                    return Some(Self { set, uuids });
                }
                Err(Some(failed)) => {
                    listed.remove(failed);
                }
                Err(None) => return None,
            }
        }
        None
    }
}

/// Slices report nothing, their board does.
fn board(info: &GpuInfo) -> &str {
    match &info.details.slice_of {
        Some(of) => &of.uuid,
        None => &info.uuid,
    }
}

fn supported(nvml: &'static Nvml, uuid: &str) -> Option<EventTypes> {
    let wanted = EventTypes::CRITICAL_XID_ERROR | EventTypes::DOUBLE_BIT_ECC_ERROR;
    let device = nvml.device_by_uuid(uuid).ok()?;
    let found = device.supported_event_types().ok()? & wanted;
    (!found.is_empty()).then_some(found)
}

/// The set, or the position of the GPU that cannot be registered.
fn registered(
    nvml: &'static Nvml,
    listed: &[(&str, EventTypes)],
) -> Result<EventSet<'static>, Option<usize>> {
    let mut set = nvml.create_event_set().map_err(|_unsupported| None)?;
    for (position, (uuid, types)) in listed.iter().enumerate() {
        let failed = |_: NvmlError| Some(position);
        let device = nvml.device_by_uuid(*uuid).map_err(failed)?;
        set = device
            .register_events(*types, set)
            .map_err(|_refused| Some(position))?;
    }
    Ok(set)
}

impl EventSource for NvmlEvents {
    fn wait(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<(Option<usize>, EventKind)>, TelemetryError> {
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let event = match self.set.wait(millis) {
            Ok(event) => event,
            Err(error) if is_gone(&error) => {
                let detail = error.to_string();
                return Ok(Some((None, EventKind::Lost { detail })));
            }
            Err(NvmlError::Timeout) => return Ok(None),
            Err(error) => return Err(TelemetryError::Events(error.to_string())),
        };
        let uuid = event.device.uuid().ok();
        let gpu = uuid.and_then(|uuid| self.uuids.iter().position(|known| *known == uuid));
        let kind = match event.event_data {
            Some(XidError::Value(code)) => EventKind::Xid { code },
            Some(XidError::Unknown) => EventKind::Xid { code: UNKNOWN_XID },
            None if event.event_type.contains(EventTypes::DOUBLE_BIT_ECC_ERROR) => {
                EventKind::EccUncorrected
            }
            None => return Ok(None),
        };
        Ok(Some((gpu, kind)))
    }
}
