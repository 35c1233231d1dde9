//! The functions a program finds in the library. Names and types are NVML's (`nvml.h`).
#![allow(
    non_snake_case,
    clippy::wildcard_imports,
    clippy::missing_safety_doc,
    clippy::not_unsafe_ptr_arg_deref,
    reason = "called from C as nvml.h says"
)]

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_ulonglong},
    ptr,
};

use nvml_wrapper_sys::bindings::*;

use crate::{
    script::{Gpu, Process, Script},
    world::{ask, now},
};

pub(crate) const OK: nvmlReturn_t = nvmlReturn_enum_NVML_SUCCESS;
pub(crate) const INVALID: nvmlReturn_t = nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
const UNSUPPORTED: nvmlReturn_t = nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
const MISSING: nvmlReturn_t = nvmlReturn_enum_NVML_ERROR_FUNCTION_NOT_FOUND;
pub(crate) const LOST: nvmlReturn_t = nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST;
const TOO_SMALL: nvmlReturn_t = nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
pub(crate) const NO_VALUE: u32 = u32::MAX;
/// Driver 580.82 gave fields new numbers.
const RENUMBERED: (u32, u32) = (580, 82);

/// A GPU, or a slice of one, as the caller holds it.
#[derive(Clone, Copy)]
pub(crate) struct Handle {
    pub(crate) gpu: usize,
    pub(crate) slice: Option<usize>,
}

impl Handle {
    pub(crate) fn out(self) -> nvmlDevice_t {
        let slice = self.slice.map_or(0, |slice| slice + 1);
        ptr::without_provenance_mut((slice << 16) | (self.gpu + 1))
    }

    fn of(device: nvmlDevice_t) -> Option<Self> {
        let bits = device.addr();
        Some(Self {
            gpu: (bits & 0xffff).checked_sub(1)?,
            slice: (bits >> 16).checked_sub(1),
        })
    }
}

pub(crate) fn code(result: Result<(), nvmlReturn_t>) -> nvmlReturn_t {
    result.err().unwrap_or(OK)
}

pub(crate) fn put<T>(into: *mut T, value: T) -> Result<(), nvmlReturn_t> {
    if into.is_null() {
        return Err(INVALID);
    }
    // SAFETY: nvml.h obliges the caller to give a place for the answer; it is not null.
    unsafe { into.write(value) };
    Ok(())
}

/// Writes a text and its end into a buffer of the caller's.
fn put_text(into: *mut c_char, length: c_uint, text: &str) -> Result<(), nvmlReturn_t> {
    if into.is_null() {
        return Err(INVALID);
    }
    if text.len() >= length as usize {
        return Err(TOO_SMALL);
    }
    // SAFETY: nvml.h obliges the caller to give `length` bytes; text and end are fewer.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr().cast(), into, text.len());
        into.add(text.len()).write(0);
    }
    Ok(())
}

/// Asks a GPU that is there and has the function.
pub(crate) fn gpu(
    device: nvmlDevice_t,
    function: &str,
    body: impl FnOnce(&Script, &Gpu, Handle, u64) -> Result<(), nvmlReturn_t>,
) -> nvmlReturn_t {
    ask(|script, ms| {
        let found =
            Handle::of(device).and_then(|handle| Some((script.gpus.get(handle.gpu)?, handle)));
        let Some((gpu, handle)) = found else {
            return INVALID;
        };
        if script.missing.iter().any(|name| name == function) {
            MISSING
        } else if gpu.is_lost(ms) {
            LOST
        } else if gpu.unsupported.iter().any(|name| name == function) {
            UNSUPPORTED
        } else {
            code(body(script, gpu, handle, ms))
        }
    })
}

#[expect(clippy::cast_possible_truncation, reason = "what scripts say fits")]
const fn narrow(value: u64) -> c_uint {
    value as c_uint
}

fn uuid(script: &Script, at: usize) -> String {
    let told = script.gpus.get(at).and_then(|gpu| gpu.texts.get("uuid"));
    told.cloned()
        .unwrap_or_else(|| format!("GPU-00000000-0000-0000-0000-00000000000{at}"))
}

fn total(gpu: &Gpu, handle: Handle) -> u64 {
    let slice = handle.slice.and_then(|slice| gpu.slices.get(slice));
    slice.map_or_else(|| gpu.number("total", 0, 80 << 30), |(_, bytes)| *bytes)
}

// --- Start and end -----------------------------------------------------------------------------

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    match now().script.init.as_deref() {
        None => OK,
        Some("not-loaded") => nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED,
        Some("mismatch") => nvmlReturn_enum_NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        Some("no-permission") => nvmlReturn_enum_NVML_ERROR_NO_PERMISSION,
        Some(_) => nvmlReturn_enum_NVML_ERROR_UNKNOWN,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    OK
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, length: c_uint) -> nvmlReturn_t {
    code(put_text(version, length, &now().script.driver))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) -> nvmlReturn_t {
    let cuda = c_int::try_from(now().script.cuda).unwrap_or(0);
    code(put(version, cuda))
}

// --- Which GPUs there are ----------------------------------------------------------------------

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> nvmlReturn_t {
    code(put(count, narrow(now().script.gpus.len() as u64)))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetHandleByIndex_v2(
    index: c_uint,
    device: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    let handle = Handle {
        gpu: index as usize,
        slice: None,
    };
    if handle.gpu >= now().script.gpus.len() {
        return INVALID;
    }
    code(put(device, handle.out()))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetHandleByUUID(
    wanted: *const c_char,
    device: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    if wanted.is_null() {
        return INVALID;
    }
    // SAFETY: nvml.h obliges the caller to give a text with an end; it is not null.
    let wanted = unsafe { CStr::from_ptr(wanted) }.to_string_lossy();
    let script = now().script;
    for (at, gpu) in script.gpus.iter().enumerate() {
        if uuid(&script, at) == wanted {
            return code(put(
                device,
                Handle {
                    gpu: at,
                    slice: None,
                }
                .out(),
            ));
        }
        let slice = gpu.slices.iter().position(|(uuid, _)| *uuid == wanted);
        if slice.is_some() {
            return code(put(device, Handle { gpu: at, slice }.out()));
        }
    }
    nvmlReturn_enum_NVML_ERROR_NOT_FOUND
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetUUID(
    device: nvmlDevice_t,
    text: *mut c_char,
    length: c_uint,
) -> nvmlReturn_t {
    // A GPU that fell off the bus still has its name.
    ask(|script, _| {
        let Some(handle) = Handle::of(device) else {
            return INVALID;
        };
        let slice = handle
            .slice
            .and_then(|slice| script.gpus.get(handle.gpu)?.slices.get(slice));
        let found = slice.map_or_else(|| uuid(script, handle.gpu), |(uuid, _)| uuid.clone());
        code(put_text(text, length, &found))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetName(
    device: nvmlDevice_t,
    text: *mut c_char,
    length: c_uint,
) -> nvmlReturn_t {
    gpu(device, "nvmlDeviceGetName", |_, gpu, handle, _| {
        let mut name = gpu
            .texts
            .get("name")
            .cloned()
            .unwrap_or_else(|| "Fake GPU".to_owned());
        if handle.slice.is_some() {
            name.push_str(" MIG 1g.10gb");
        }
        put_text(text, length, &name)
    })
}

// --- What they are -----------------------------------------------------------------------------

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetCudaComputeCapability(
    device: nvmlDevice_t,
    major: *mut c_int,
    minor: *mut c_int,
) -> nvmlReturn_t {
    gpu(
        device,
        "nvmlDeviceGetCudaComputeCapability",
        |_, _, _, _| put(major, 9).and_then(|()| put(minor, 0)),
    )
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigMode(
    device: nvmlDevice_t,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> nvmlReturn_t {
    gpu(device, "nvmlDeviceGetMigMode", |_, gpu, _, _| {
        let on = c_uint::from(!gpu.slices.is_empty());
        put(current, on).and_then(|()| put(pending, on))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetEccMode(
    device: nvmlDevice_t,
    current: *mut nvmlEnableState_t,
    pending: *mut nvmlEnableState_t,
) -> nvmlReturn_t {
    gpu(device, "nvmlDeviceGetEccMode", |_, _, _, _| {
        put(current, 1).and_then(|()| put(pending, 1))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetPowerManagementLimitConstraints(
    device: nvmlDevice_t,
    least: *mut c_uint,
    most: *mut c_uint,
) -> nvmlReturn_t {
    gpu(
        device,
        "nvmlDeviceGetPowerManagementLimitConstraints",
        |_, _, _, _| put(least, 200_000).and_then(|()| put(most, 700_000)),
    )
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetPciInfo_v3(
    device: nvmlDevice_t,
    info: *mut nvmlPciInfo_t,
) -> nvmlReturn_t {
    gpu(device, "nvmlDeviceGetPciInfo_v3", |_, _, handle, _| {
        let mut pci = nvmlPciInfo_t {
            busIdLegacy: [0; 16],
            domain: 0,
            bus: narrow(handle.gpu as u64 + 1),
            device: 0,
            pciDeviceId: 0x2330_10de,
            pciSubSystemId: 0x16c1_10de,
            busId: [0; 32],
        };
        let address = format!("00000000:{:02X}:00.0", handle.gpu + 1);
        put_text(pci.busId.as_mut_ptr(), 32, &address)?;
        put(info, pci)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetVbiosVersion(
    device: nvmlDevice_t,
    text: *mut c_char,
    length: c_uint,
) -> nvmlReturn_t {
    gpu(device, "nvmlDeviceGetVbiosVersion", |_, _, _, _| {
        put_text(text, length, "96.00.89.00.01")
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetNvLinkState(
    device: nvmlDevice_t,
    link: c_uint,
    active: *mut nvmlEnableState_t,
) -> nvmlReturn_t {
    gpu(device, "nvmlDeviceGetNvLinkState", |_, _, _, _| {
        if link < 18 {
            put(active, 1)
        } else {
            Err(INVALID)
        }
    })
}

/// Functions that answer with one whole number.
macro_rules! numbers {
    ($($name:ident($($more:ident: $kind:ty),*) -> $out:ty = |$gpu:ident, $handle:ident, $ms:ident| $value:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(device: nvmlDevice_t, $($more: $kind,)* into: *mut $out) -> nvmlReturn_t {
            gpu(device, stringify!($name), |_, $gpu, $handle, $ms| {
                $(let _ = $more;)*
                let _ = ($gpu, $handle, $ms);
                put(into, $value)
            })
        }
    )*};
}

numbers! {
    nvmlDeviceGetEnforcedPowerLimit() -> c_uint = |gpu, handle, ms| narrow(gpu.number("limit", ms, 700_000));
    nvmlDeviceGetPowerManagementDefaultLimit() -> c_uint = |gpu, handle, ms| 700_000;
    nvmlDeviceGetPersistenceMode() -> nvmlEnableState_t = |gpu, handle, ms| 1;
    nvmlDeviceGetComputeMode() -> nvmlComputeMode_t = |gpu, handle, ms| 0;
    nvmlDeviceGetMaxClockInfo(kind: nvmlClockType_t) -> c_uint = |gpu, handle, ms| 1980;
    nvmlDeviceGetMaxPcieLinkGeneration() -> c_uint = |gpu, handle, ms| 5;
    nvmlDeviceGetMaxPcieLinkWidth() -> c_uint = |gpu, handle, ms| 16;
    nvmlDeviceGetCurrPcieLinkGeneration() -> c_uint = |gpu, handle, ms| 5;
    nvmlDeviceGetCurrPcieLinkWidth() -> c_uint = |gpu, handle, ms| 16;
    nvmlDeviceGetVirtualizationMode() -> nvmlGpuVirtualizationMode_t = |gpu, handle, ms| 0;
    nvmlDeviceGetMaxMigDeviceCount() -> c_uint = |gpu, handle, ms| narrow(gpu.slices.len() as u64);
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle() -> nvmlDevice_t = |gpu, handle, ms| Handle { slice: None, ..handle }.out();
    nvmlDeviceGetPowerUsage() -> c_uint = |gpu, handle, ms| narrow(gpu.number("power", ms, 100_000));
    nvmlDeviceGetTotalEnergyConsumption() -> c_ulonglong = |gpu, handle, ms| gpu.energy(ms);
    nvmlDeviceGetTemperature(sensor: nvmlTemperatureSensors_t) -> c_uint = |gpu, handle, ms| narrow(gpu.number("temp", ms, 40));
    nvmlDeviceGetClockInfo(kind: nvmlClockType_t) -> c_uint = |gpu, handle, ms| narrow(gpu.number("clock", ms, 1980));
    nvmlDeviceGetCurrentClocksThrottleReasons() -> c_ulonglong = |gpu, handle, ms| 0;
    nvmlDeviceGetPerformanceState() -> nvmlPstates_t = |gpu, handle, ms| 0;
    nvmlDeviceGetTotalEccErrors(kind: nvmlMemoryErrorType_t, counter: nvmlEccCounterType_t) -> c_ulonglong = |gpu, handle, ms| gpu.number("ecc", ms, 0);
    nvmlDeviceGetSupportedEventTypes() -> c_ulonglong = |gpu, handle, ms| u64::from(nvmlEventTypeXidCriticalError) | u64::from(nvmlEventTypeDoubleBitEccError);
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: nvmlDevice_t,
    index: c_uint,
    slice: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    gpu(
        device,
        "nvmlDeviceGetMigDeviceHandleByIndex",
        |_, gpu, handle, _| {
            let at = index as usize;
            if at >= gpu.slices.len() {
                return Err(nvmlReturn_enum_NVML_ERROR_NOT_FOUND);
            }
            put(
                slice,
                Handle {
                    slice: Some(at),
                    ..handle
                }
                .out(),
            )
        },
    )
}

// --- What they do ------------------------------------------------------------------------------

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    device: nvmlDevice_t,
    memory: *mut nvmlMemory_v2_t,
) -> nvmlReturn_t {
    gpu(
        device,
        "nvmlDeviceGetMemoryInfo_v2",
        |_, gpu, handle, ms| {
            if memory.is_null() {
                return Err(INVALID);
            }
            // SAFETY: nvml.h obliges the caller to set the version; it is not null.
            let version = unsafe { (*memory).version };
            if version as usize != size_of::<nvmlMemory_v2_t>() | (2 << 24) {
                return Err(nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
            }
            let (total, used) = (total(gpu, handle), gpu.number("used", ms, 600 << 20));
            put(
                memory,
                nvmlMemory_v2_t {
                    version,
                    total,
                    reserved: 0,
                    free: total - used.min(total),
                    used,
                },
            )
        },
    )
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetUtilizationRates(
    device: nvmlDevice_t,
    rates: *mut nvmlUtilization_t,
) -> nvmlReturn_t {
    gpu(device, "nvmlDeviceGetUtilizationRates", |_, gpu, _, ms| {
        let busy = narrow(gpu.number("util", ms, 0));
        put(
            rates,
            nvmlUtilization_t {
                gpu: busy,
                memory: busy / 2,
            },
        )
    })
}

/// The number a field had before driver 580.82.
fn old_number(script: &Script, field: u32) -> Option<u32> {
    let mut parts = script
        .driver
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < RENUMBERED {
        return Some(field);
    }
    match field {
        269..=273 => Some(field - 18),
        // What has these numbers now is of other boards.
        251..=268 => None,
        other => Some(other),
    }
}

/// A field's value: whether it is 64 bits wide, and its number.
fn field(gpu: &Gpu, field: u32, ms: u64) -> Option<(bool, u64)> {
    if gpu
        .unsupported
        .iter()
        .any(|name| *name == field.to_string())
    {
        return None;
    }
    Some(match field {
        74 => (true, gpu.held_ns("power-cap", ms)),
        82 => (false, gpu.number("temp", ms, 40) + 10),
        83 => (true, gpu.energy(ms)),
        185 | 186 => (false, gpu.number("power", ms, 100_000)),
        197 => (true, ms * 1000),
        198 => (true, ms * 3000),
        251 => (true, gpu.held_ns("sw-thermal", ms)),
        252 => (true, gpu.held_ns("hw-thermal", ms)),
        253 => (true, gpu.held_ns("power-brake", ms)),
        _ => return None,
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetFieldValues(
    device: nvmlDevice_t,
    count: c_int,
    values: *mut nvmlFieldValue_t,
) -> nvmlReturn_t {
    gpu(device, "nvmlDeviceGetFieldValues", |script, gpu, _, ms| {
        for at in 0..usize::try_from(count).map_err(|_| INVALID)? {
            // SAFETY: nvml.h obliges the caller to give `count` values.
            let value = unsafe { &mut *values.add(at) };
            let known = old_number(script, value.fieldId).and_then(|id| field(gpu, id, ms));
            value.timestamp = i64::try_from(ms * 1000).unwrap_or(i64::MAX);
            match known {
                Some((true, number)) => {
                    value.valueType = nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
                    value.value = nvmlValue_t { ullVal: number };
                    value.nvmlReturn = OK;
                }
                Some((false, number)) => {
                    value.valueType = nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT;
                    value.value = nvmlValue_t {
                        uiVal: narrow(number),
                    };
                    value.nvmlReturn = OK;
                }
                None => value.nvmlReturn = UNSUPPORTED,
            }
        }
        Ok(())
    })
}

fn processes(
    device: nvmlDevice_t,
    function: &str,
    count: *mut c_uint,
    infos: *mut nvmlProcessInfo_t,
    wanted: fn(&Process) -> bool,
) -> nvmlReturn_t {
    gpu(device, function, |_, gpu, _, ms| {
        if count.is_null() {
            return Err(INVALID);
        }
        let now = |one: &&Process| wanted(one) && one.from <= ms && ms < one.until;
        let found: Vec<&Process> = gpu.processes.iter().filter(now).collect();
        // SAFETY: nvml.h obliges the caller to say how many places there are; it is not null.
        let room = unsafe { *count } as usize;
        put(count, narrow(found.len() as u64))?;
        if found.len() > room {
            return Err(TOO_SMALL);
        }
        for (at, one) in found.iter().enumerate() {
            let info = nvmlProcessInfo_t {
                pid: one.pid,
                usedGpuMemory: one.memory.unwrap_or(u64::MAX),
                gpuInstanceId: NO_VALUE,
                computeInstanceId: NO_VALUE,
            };
            // SAFETY: there is room for `room` of them, and `at` is below it.
            unsafe { infos.add(at).write(info) };
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    infos: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    let name = "nvmlDeviceGetComputeRunningProcesses_v3";
    processes(device, name, count, infos, |one| !one.draws)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMPSComputeRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    infos: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    let name = "nvmlDeviceGetMPSComputeRunningProcesses_v3";
    processes(device, name, count, infos, |_| false)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    infos: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    let name = "nvmlDeviceGetGraphicsRunningProcesses_v3";
    processes(device, name, count, infos, |one| one.draws)
}
