//! The header of a safetensors file. Pure.
//!
//! Layout (huggingface/safetensors, README): the length of the header as u64 little-endian, at
//! most 100 MB, then a JSON object with one entry per tensor.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::HeaderError;

/// Bytes of the length that a file begins with.
pub const LENGTH_BYTES: usize = 8;
/// The longest header the format allows, in bytes.
pub const MOST_HEADER: u64 = 100_000_000;

/// One tensor's entry; `__metadata__` has none of it.
#[derive(Deserialize)]
struct Entry {
    dtype: Option<String>,
}

/// The length of the header, from the first bytes of a file.
///
/// # Errors
/// The bytes are too few, or the length is none that the format allows: this is another file.
pub fn header_length(start: &[u8]) -> Result<u64, HeaderError> {
    let digits = start.first_chunk::<LENGTH_BYTES>();
    let length = u64::from_le_bytes(*digits.ok_or(HeaderError::Truncated)?);
    if (2..=MOST_HEADER).contains(&length) {
        Ok(length)
    } else {
        Err(HeaderError::other("safetensors", start))
    }
}

/// The type that most tensors have, such as `BF16`; `None` for a file without tensors.
///
/// # Errors
/// The header is not the JSON it should be.
pub fn main_dtype(header: &[u8]) -> Result<Option<String>, HeaderError> {
    let entries: BTreeMap<String, Entry> =
        serde_json::from_slice(header).map_err(|error| HeaderError::broken(error.to_string()))?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for dtype in entries.into_values().filter_map(|entry| entry.dtype) {
        *counts.entry(dtype).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    Ok(most.map(|(dtype, _)| dtype).filter(|dtype| plain(dtype)))
}

/// Type names are short words; anything else is not shown.
fn plain(dtype: &str) -> bool {
    dtype.len() <= 16
        && dtype
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_length_comes_first() {
        assert_eq!(header_length(&64_u64.to_le_bytes()), Ok(64));
        assert_eq!(header_length(b"1234567"), Err(HeaderError::Truncated));
        let pointer = header_length(b"version https://git-lfs.github.com/spec/v1");
        assert!(pointer.unwrap_err().to_string().contains("git lfs pull"));
        assert!(header_length(&u64::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn the_commonest_type_wins() {
        let header = br#"{"__metadata__":{"format":"pt"},
            "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
            "b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]},
            "c":{"dtype":"BF16","shape":[1],"data_offsets":[6,8]}}"#;
        assert_eq!(main_dtype(header).unwrap().as_deref(), Some("BF16"));
        assert_eq!(main_dtype(b"{}"), Ok(None));
        assert!(main_dtype(b"[1]").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(header_length(&bytes));
            drop(main_dtype(&bytes));
        }

        #[test]
        fn any_json_is_read_or_refused(key in ".*", dtype in ".*") {
            let header = serde_json::json!({ key: { "dtype": dtype } }).to_string();
            let found = main_dtype(header.as_bytes()).unwrap();
            prop_assert!(found.is_none_or(|found| found.len() <= 16));
        }
    }
}
