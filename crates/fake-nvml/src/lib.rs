//! A stand-in for NVIDIA's management library that plays a script. For tests only.
//!
//! Copied as `libnvidia-ml.so.1` and found through `LD_LIBRARY_PATH`, it is loaded by programs as
//! the real one is. The environment variable `FAKE_NVML_SCRIPT` names the script (see
//! [`script`]); it is read again whenever it changes, so that a test can steer a program that
//! runs. Time zero is the library's start in each process.
//!
//! Only the functions that the `kitt` program calls are here; the others are missing, as in an
//! old driver.

#[cfg(target_os = "linux")]
mod events;
#[cfg(target_os = "linux")]
mod exports;
pub mod script;
#[cfg(target_os = "linux")]
mod world;
