//! What makes two results comparable.
//!
//! The strict part must be equal on both sides; the soft part is shown when it differs. Nothing
//! in it names a person, a host or a serial number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Facts about host, engine and workload, as sorted key and value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Must be equal for a comparison: GPU model and count, CPU model, engine, model, workload.
    pub strict: BTreeMap<String, String>,
    /// May differ, and is shown when it does: driver minor version, image, engine arguments,
    /// kernel.
    pub soft: BTreeMap<String, String>,
}

impl Fingerprint {
    /// SHA-256 of the strict part's canonical JSON, as hexadecimal digits. Equal digests mean
    /// comparable results.
    pub fn digest(&self) -> String {
        // A map of strings always serialises.
        let canonical = serde_json::to_vec(&self.strict).unwrap_or_default();
        format!("{:x}", Sha256::digest(canonical))
    }
}
