//! Results directories: written, killed, damaged, read back; KITT's own; garbage.

mod garbage;
mod killed;
mod kitt;
mod log;
mod newest;
mod own;
mod properties;
pub mod support;

use std::{fs, path::Path};

use kitt_action::results::{Limits, ResultSet, read};

fn load(path: &Path) -> ResultSet {
    read(path, &Limits::default()).unwrap()
}

fn refused(path: &Path) -> String {
    read(path, &Limits::default()).unwrap_err().to_string()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
