//! Seeded random streams that are the same on every platform and release.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The stream of these parts: SHA-256 over the parts, each behind its length so that no two
/// lists of parts look alike, seeds `ChaCha8`.
pub fn stream(parts: &[&[u8]]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    ChaCha8Rng::from_seed(hash.finalize().into())
}
