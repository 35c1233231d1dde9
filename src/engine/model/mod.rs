//! What a model's files say of themselves. Pure: the bytes come from `context`.

mod config;
mod gguf;
mod safetensors;

use serde::{Deserialize, Serialize};

pub use config::Config;
pub use gguf::Gguf;
pub use safetensors::{LENGTH_BYTES, MOST_HEADER, header_length, main_dtype};

/// How a model's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelFormat {
    /// llama.cpp's single-file format.
    Gguf,
    /// A folder with `config.json` and `.safetensors` files.
    Safetensors,
    /// A folder with `config.json` and pickled PyTorch weights.
    Pytorch,
}

impl ModelFormat {
    /// The name people use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gguf => "GGUF",
            Self::Safetensors => "safetensors",
            Self::Pytorch => "PyTorch",
        }
    }
}

/// What was read of a model before anything is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// How the weights are stored.
    pub format: ModelFormat,
    /// The architecture by its own name: `general.architecture` of a GGUF file, the first of
    /// `architectures` of a `config.json`.
    pub architecture: Option<String>,
    /// The quantisation by its own name: `quantization_config.quant_method`, or the GGUF file
    /// type; `None` for unquantised weights.
    pub quantisation: Option<String>,
    /// The type of the weights by its own name, such as `bfloat16` or `BF16`.
    pub dtype: Option<String>,
    /// The longest context the model was trained for, in tokens.
    pub context_length: Option<u64>,
    /// The file to load, for formats of one file (the first of split ones): its name in the
    /// model's folder.
    pub file: Option<String>,
    /// Whether its files are links that lead out of its folder, as in the hub's cache: a
    /// container that sees the folder alone cannot follow them.
    pub linked: bool,
}

/// Why a model's header cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes end before the header does. More bytes may help.
    #[error("it ends inside its header (a broken download?)")]
    Truncated,
    /// It begins with something else.
    #[error("it is not a {format} file{}", if *pointer { ": it is a Git LFS pointer, run `git lfs pull`" } else { " (a broken download?)" })]
    Other {
        /// What was wanted.
        format: &'static str,
        /// Whether it is the text that Git LFS leaves in the place of a file.
        pointer: bool,
    },
    /// The header says something impossible.
    #[error("its header is broken: {why}")]
    Broken {
        /// What.
        why: String,
    },
}

impl HeaderError {
    fn broken(why: impl Into<String>) -> Self {
        Self::Broken { why: why.into() }
    }

    /// The file begins with something else than its format does.
    fn other(format: &'static str, bytes: &[u8]) -> Self {
        let pointer = bytes.starts_with(b"version https://git-lfs");
        Self::Other { format, pointer }
    }
}
