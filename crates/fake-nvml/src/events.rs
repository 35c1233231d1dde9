//! What the GPUs report by themselves, as a program waits for it.
#![allow(
    non_snake_case,
    clippy::not_unsafe_ptr_arg_deref,
    reason = "called from C as nvml.h says"
)]

use std::{
    ffi::{c_uint, c_ulonglong},
    thread,
    time::{Duration, Instant},
};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlEventData_t, nvmlEventSet_t, nvmlEventTypeXidCriticalError,
    nvmlReturn_enum_NVML_ERROR_TIMEOUT, nvmlReturn_t,
};

use crate::{
    exports::{Handle, INVALID, LOST, NO_VALUE, OK, code, gpu, put},
    world::{is_lost, next_xid},
};

/// How often a wait for events looks: the real one is woken by the kernel.
const LOOK_FOR_EVENTS: Duration = Duration::from_millis(20);

#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetCreate(set: *mut nvmlEventSet_t) -> nvmlReturn_t {
    let registered: Box<Vec<usize>> = Box::default();
    code(put(set, Box::into_raw(registered).cast()))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceRegisterEvents(
    device: nvmlDevice_t,
    _types: c_ulonglong,
    set: nvmlEventSet_t,
) -> nvmlReturn_t {
    gpu(device, "nvmlDeviceRegisterEvents", |_, _, handle, _| {
        if set.is_null() {
            return Err(INVALID);
        }
        // SAFETY: it came from `nvmlEventSetCreate` and was not freed; it is not null.
        unsafe { (*set.cast::<Vec<usize>>()).push(handle.gpu) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetWait_v2(
    set: nvmlEventSet_t,
    data: *mut nvmlEventData_t,
    timeout_ms: c_uint,
) -> nvmlReturn_t {
    if set.is_null() {
        return INVALID;
    }
    // SAFETY: it came from `nvmlEventSetCreate` and was not freed; it is not null.
    let gpus = unsafe { (*set.cast::<Vec<usize>>()).clone() };
    let until = Instant::now() + Duration::from_millis(timeout_ms.into());
    loop {
        if let Some((at, xid)) = next_xid(&gpus) {
            let event = nvmlEventData_t {
                device: Handle {
                    gpu: at,
                    slice: None,
                }
                .out(),
                eventType: nvmlEventTypeXidCriticalError.into(),
                eventData: xid,
                gpuInstanceId: NO_VALUE,
                computeInstanceId: NO_VALUE,
            };
            return code(put(data, event));
        }
        if is_lost(&gpus) {
            return LOST;
        }
        if Instant::now() >= until {
            return nvmlReturn_enum_NVML_ERROR_TIMEOUT;
        }
        thread::sleep(LOOK_FOR_EVENTS);
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetFree(set: nvmlEventSet_t) -> nvmlReturn_t {
    if !set.is_null() {
        // SAFETY: it came from `nvmlEventSetCreate`, and nobody uses it after this.
        drop(unsafe { Box::from_raw(set.cast::<Vec<usize>>()) });
    }
    OK
}
