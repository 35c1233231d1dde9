//! The header of a GGUF file. Pure.
//!
//! Layout (ggml's `docs/gguf.md`), little-endian: `GGUF`, version u32, tensor count u64, count of
//! key-value pairs u64, then the pairs: key as a string, type u32, value. A string is its length
//! as u64 and its bytes; an array is the type of its elements u32, their number u64, and they.
//! What follows the pairs is not read. Every length in the file is untrusted: nothing is
//! allocated by it, and a length beyond the bytes ends the reading.

use super::HeaderError;

/// Nested arrays deeper than this are in no real file.
const DEEPEST: u8 = 4;
/// Architecture of the projector files that stand beside multimodal models.
const PROJECTOR: &str = "clip";

/// What is wanted of a GGUF file's header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gguf {
    /// `general.architecture`.
    pub architecture: Option<String>,
    /// `general.type`: `model`, `adapter`, `mmproj`; absent in older files.
    pub kind: Option<String>,
    /// `general.file_type`, llama.cpp's number of the quantisation.
    pub file_type: Option<u64>,
    /// `<architecture>.context_length`, in tokens.
    pub context_length: Option<u64>,
    /// `split.count`: how many files the model is split into; 0 and 1 mean one.
    pub split_count: u64,
    /// `split.no`: which of them this is, from 0.
    pub split_number: u64,
}

impl Gguf {
    /// Reads the header from the first bytes of a file.
    ///
    /// # Errors
    /// [`HeaderError::Truncated`] where the header goes on beyond these bytes; otherwise the file
    /// is no GGUF file of version 2 or 3, or its header is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut input = Input { rest: bytes };
        if !bytes.starts_with(b"GGUF") {
            let short = bytes.len() < 4 && b"GGUF".starts_with(bytes) && !bytes.is_empty();
            return Err(if short {
                HeaderError::Truncated
            } else {
                HeaderError::other("GGUF", bytes)
            });
        }
        input.take(4)?;
        match input.u32()? {
            2 | 3 => {}
            version if version.swap_bytes() <= 3 => {
                return Err(HeaderError::broken("it is big-endian"));
            }
            version => {
                let why = format!("version {version}; versions 2 and 3 are known");
                return Err(HeaderError::broken(why));
            }
        }
        input.u64()?;
        let pairs = input.u64()?;
        let mut header = Self::default();
        // The architecture's name may come after its keys.
        let mut lengths = Vec::new();
        for _ in 0..pairs {
            let key = input.text()?;
            let value = input.value(0)?;
            header.keep(key, value, &mut lengths);
        }
        if let Some(architecture) = &header.architecture {
            let own = lengths.iter().find(|(of, _)| of == architecture);
            header.context_length = own.map(|(_, length)| *length);
        }
        Ok(header)
    }

    fn keep(&mut self, key: &[u8], value: Value<'_>, lengths: &mut Vec<(String, u64)>) {
        match (key, value) {
            (b"general.architecture", Value::Text(text)) => self.architecture = name(text),
            (b"general.type", Value::Text(text)) => self.kind = name(text),
            (b"general.file_type", Value::Number(number)) => self.file_type = Some(number),
            (b"split.count", Value::Number(number)) => self.split_count = number,
            (b"split.no", Value::Number(number)) => self.split_number = number,
            (key, Value::Number(number)) => {
                let of = key.strip_suffix(b".context_length").and_then(name);
                // One file tells of one architecture; a hostile one must not fill the memory.
                if let Some(of) = of
                    && lengths.len() < 8
                {
                    lengths.push((of, number));
                }
            }
            _ => {}
        }
    }

    /// Whether a server can load it by itself: neither a projector nor an adapter.
    pub fn is_model(&self) -> bool {
        self.architecture.as_deref() != Some(PROJECTOR)
            && self.kind.as_deref().is_none_or(|kind| kind == "model")
    }

    /// llama.cpp's name of the file type, its `llama_ftype`; a number it does not have here
    /// stays a number.
    pub fn type_name(&self) -> Option<String> {
        let number = self.file_type?;
        let known = FILE_TYPES.iter().find(|(known, _)| *known == number);
        Some(known.map_or_else(|| format!("type {number}"), |(_, name)| (*name).to_owned()))
    }

    /// The quantisation's name; `None` for floating-point weights.
    pub fn quantisation(&self) -> Option<String> {
        self.type_name()
            .filter(|name| !matches!(name.as_str(), "F32" | "F16" | "BF16"))
    }
}

/// `llama_ftype` of llama.cpp's `include/llama.h`: what most tensors of the file are.
const FILE_TYPES: [(u64, &str); 33] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4_MOE"),
];

/// A name that may be shown: short and of plain letters.
fn name(bytes: &[u8]) -> Option<String> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_-.".contains(b);
    let fits = !bytes.is_empty() && bytes.len() <= 64 && bytes.iter().all(plain);
    fits.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// A value, as far as it is wanted.
enum Value<'a> {
    Number(u64),
    Text(&'a [u8]),
    Other,
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], HeaderError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(HeaderError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A little-endian number of up to eight bytes.
    fn number(&mut self, bytes: u64) -> Result<u64, HeaderError> {
        let digits = self.take(bytes)?.iter().rev();
        Ok(digits.fold(0, |sum, digit| sum << 8 | u64::from(*digit)))
    }

    fn u32(&mut self) -> Result<u32, HeaderError> {
        Ok(u32::try_from(self.number(4)?).unwrap_or(u32::MAX))
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        self.number(8)
    }

    fn text(&mut self) -> Result<&'a [u8], HeaderError> {
        let length = self.u64()?;
        self.take(length)
    }

    fn value(&mut self, depth: u8) -> Result<Value<'a>, HeaderError> {
        let kind = self.u32()?;
        self.value_of(kind, depth)
    }

    fn value_of(&mut self, kind: u32, depth: u8) -> Result<Value<'a>, HeaderError> {
        match kind {
            // Unsigned and signed whole numbers; a negative one is none of the wanted.
            0 => self.number(1).map(Value::Number),
            2 => self.number(2).map(Value::Number),
            4 => self.number(4).map(Value::Number),
            10 => self.number(8).map(Value::Number),
            5 => self.number(4).map(|n| positive(n, 1 << 31)),
            11 => self.number(8).map(|n| positive(n, 1 << 63)),
            8 => self.text().map(Value::Text),
            9 => self.array(depth),
            _ => match width(kind) {
                Some(bytes) => self.take(bytes).map(|_| Value::Other),
                None => Err(HeaderError::broken(format!("value type {kind}"))),
            },
        }
    }

    fn array(&mut self, depth: u8) -> Result<Value<'a>, HeaderError> {
        if depth >= DEEPEST {
            return Err(HeaderError::broken("arrays are nested too deep"));
        }
        let kind = self.u32()?;
        let count = self.u64()?;
        if let Some(bytes) = width(kind) {
            self.take(count.saturating_mul(bytes))?;
            return Ok(Value::Other);
        }
        // Every element takes at least its length: a count beyond the bytes ends soon.
        for _ in 0..count {
            self.value_of(kind, depth + 1)?;
        }
        Ok(Value::Other)
    }
}

/// A signed number is wanted only when it is not negative.
fn positive(number: u64, sign: u64) -> Value<'static> {
    if number < sign {
        Value::Number(number)
    } else {
        Value::Other
    }
}

/// Bytes of a value of fixed width.
const fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes
    }

    fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        [text(key), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
    }

    fn file(version: u32, pairs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend(7_u64.to_le_bytes());
        bytes.extend((pairs.len() as u64).to_le_bytes());
        bytes.extend(pairs.concat());
        bytes
    }

    /// As llama.cpp writes it: the file type stands after the vocabulary.
    fn whole() -> Vec<u8> {
        let vocabulary = [
            8_u32.to_le_bytes().to_vec(),
            2_u64.to_le_bytes().to_vec(),
            text("a"),
            text("bc"),
        ];
        let scores = [
            6_u32.to_le_bytes().to_vec(),
            2_u64.to_le_bytes().to_vec(),
            vec![0; 8],
        ];
        file(
            3,
            &[
                pair("general.architecture", 8, &text("llama")),
                pair("general.type", 8, &text("model")),
                pair("llama.context_length", 4, &4096_u32.to_le_bytes()),
                pair("other.context_length", 4, &1_u32.to_le_bytes()),
                pair("llama.rope.freq_base", 6, &1.0_f32.to_le_bytes()),
                pair("tokenizer.ggml.tokens", 9, &vocabulary.concat()),
                pair("tokenizer.ggml.scores", 9, &scores.concat()),
                pair("tokenizer.ggml.add_bos_token", 7, &[1]),
                pair("split.count", 2, &3_u16.to_le_bytes()),
                pair("split.no", 2, &1_u16.to_le_bytes()),
                pair("general.file_type", 4, &15_u32.to_le_bytes()),
            ],
        )
    }

    #[test]
    fn a_header_is_read_to_its_end() {
        let header = Gguf::parse(&whole()).unwrap();
        assert_eq!(header.architecture.as_deref(), Some("llama"));
        assert_eq!(header.context_length, Some(4096));
        assert_eq!((header.split_count, header.split_number), (3, 1));
        assert_eq!(header.quantisation().as_deref(), Some("Q4_K_M"));
        assert!(header.is_model());
    }

    #[test]
    fn projectors_and_adapters_are_no_models() {
        for (key, value) in [
            ("general.architecture", "clip"),
            ("general.type", "adapter"),
        ] {
            let header = Gguf::parse(&file(2, &[pair(key, 8, &text(value))])).unwrap();
            assert!(!header.is_model(), "{value}");
        }
    }

    #[test]
    fn floating_point_weights_are_not_quantised_and_unknown_types_keep_their_number() {
        let named = |number: u32| {
            let pairs = [pair("general.file_type", 4, &number.to_le_bytes())];
            Gguf::parse(&file(3, &pairs)).unwrap().quantisation()
        };
        assert_eq!(named(1), None);
        assert_eq!(named(32), None);
        assert_eq!(named(7).as_deref(), Some("Q8_0"));
        assert_eq!(named(999).as_deref(), Some("type 999"));
    }

    #[test]
    fn every_cut_is_seen_as_one() {
        let whole = whole();
        for end in 1..whole.len() {
            let cut = Gguf::parse(&whole[..end]);
            assert_eq!(cut, Err(HeaderError::Truncated), "cut at {end}");
        }
    }

    #[test]
    fn other_files_and_broken_headers_are_named() {
        let says = |bytes: &[u8]| Gguf::parse(bytes).unwrap_err().to_string();
        assert!(says(b"version https://git-lfs.github.com").contains("git lfs pull"));
        assert!(says(b"PK\x03\x04").contains("not a GGUF file"));
        assert!(says(b"").contains("not a GGUF file"));
        assert!(says(&file(1, &[])).contains("version 1"));
        assert!(says(&file(3_u32.swap_bytes(), &[])).contains("big-endian"));
        assert!(says(&file(3, &[pair("a", 99, &[])])).contains("value type 99"));
        let nested = [9_u32.to_le_bytes().to_vec(), 1_u64.to_le_bytes().to_vec()].concat();
        assert!(says(&file(3, &[pair("a", 9, &nested.repeat(9))])).contains("nested"));
    }

    #[test]
    fn a_hostile_length_takes_no_memory() {
        let huge = u64::MAX.to_le_bytes();
        let array = |kind: u32| [kind.to_le_bytes().to_vec(), huge.to_vec()].concat();
        for pairs in [
            pair("a", 8, &huge),
            pair("a", 9, &array(4)),
            pair("a", 9, &array(8)),
        ] {
            assert_eq!(Gguf::parse(&file(3, &[pairs])), Err(HeaderError::Truncated));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(Gguf::parse(&bytes));
            drop(Gguf::parse(&[b"GGUF\x03\0\0\0".as_slice(), &bytes].concat()));
        }

        #[test]
        fn a_changed_byte_is_read_or_refused(at in 0_usize..300, value in any::<u8>()) {
            let mut bytes = whole();
            let index = at % bytes.len();
            bytes[index] = value;
            drop(Gguf::parse(&bytes));
        }
    }
}
