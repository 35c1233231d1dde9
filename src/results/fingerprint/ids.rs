//! Which boards were measured, told so that nobody learns a serial number from it.
//!
//! A UUID has few unknown digits once the model is known, so a plain hash could be guessed. Only
//! a keyed one is written: HMAC-SHA-256 (RFC 2104), cut to 48 bits. Who has no key learns nothing
//! and can compare nothing across repositories.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::telemetry::GpuInfo;

/// Hexadecimal digits of a hash that are kept.
const KEPT: usize = 12;

/// What the hashes are made with.
#[derive(Clone)]
pub struct IdKey(Vec<u8>);

impl fmt::Debug for IdKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("IdKey(…)")
    }
}

impl IdKey {
    /// A key that a repository or an operator keeps: the same board has the same hash wherever it
    /// is used. `None` when it is shorter than 16 bytes, which could be guessed.
    pub fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= 16).then(|| Self(secret.to_owned()))
    }

    /// A key that is forgotten: hashes tell boards of one result apart and nothing more.
    pub fn random() -> Self {
        Self(rand::random::<[u8; 32]>().to_vec())
    }

    fn hash(&self, value: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(value.as_bytes());
        let hex = format!("{:x}", mac.finalize().into_bytes());
        Some(hex.chars().take(KEPT).collect())
    }
}

/// Keyed hashes of the boards that were measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardIds {
    /// Hash of a fixed text: equal on two sides that used the same key.
    pub key: String,
    /// One per GPU, in the order of the GPUs: 12 hexadecimal digits.
    pub gpus: Vec<String>,
}

impl BoardIds {
    /// Hashes the GPUs' UUIDs.
    pub fn new(gpus: &[GpuInfo], key: &IdKey) -> Self {
        Self {
            key: key.hash("kitt-action: which key").unwrap_or_default(),
            gpus: gpus.iter().filter_map(|gpu| key.hash(&gpu.uuid)).collect(),
        }
    }

    /// Whether both sides used the same boards, in any order; `None` when their keys differ.
    pub fn same_boards(&self, other: &Self) -> Option<bool> {
        let sorted = |ids: &Self| {
            let mut gpus = ids.gpus.clone();
            gpus.sort();
            gpus
        };
        (!self.key.is_empty() && self.key == other.key).then(|| sorted(self) == sorted(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(uuids: &[&str]) -> Vec<GpuInfo> {
        let gpu = |uuid: &&str| GpuInfo {
            uuid: (*uuid).to_owned(),
            ..GpuInfo::default()
        };
        uuids.iter().map(gpu).collect()
    }

    /// Test case 2 of RFC 4231, cut to 6 bytes; the key is shorter than kitt allows.
    #[test]
    fn the_hash_is_hmac_sha_256() {
        let key = IdKey(b"Jefe".to_vec());
        let hash = key.hash("what do ya want for nothing?");
        assert_eq!(hash.as_deref(), Some("5bdcc146bf60"));
    }

    #[test]
    fn boards_are_recognised_under_the_same_key_only() {
        let key = IdKey::new(b"0123456789abcdef").unwrap();
        let one = BoardIds::new(&gpus(&["GPU-a", "GPU-b"]), &key);
        let swapped = BoardIds::new(&gpus(&["GPU-b", "GPU-a"]), &key);
        let other = BoardIds::new(&gpus(&["GPU-a", "GPU-c"]), &key);
        assert_eq!(one.same_boards(&swapped), Some(true));
        assert_eq!(one.same_boards(&other), Some(false));
        let forgotten = BoardIds::new(&gpus(&["GPU-a", "GPU-b"]), &IdKey::random());
        assert_eq!(one.same_boards(&forgotten), None);
        assert_eq!(one.gpus[0].len(), 12);
        assert!(!serde_json::to_string(&one).unwrap().contains("GPU-a"));
    }

    #[test]
    fn a_key_that_can_be_guessed_is_refused_and_none_is_shown() {
        assert!(IdKey::new(b"org/repo").is_none());
        let key = IdKey::new(b"0123456789abcdef").unwrap();
        assert_eq!(format!("{key:?}"), "IdKey(…)");
    }
}
