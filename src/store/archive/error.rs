//! Why an archive is not unpacked, in words that name the entry.

use std::path::PathBuf;

/// Why an archive is not unpacked. Nothing of it is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// More bytes than are taken at all.
    #[error("it is {size} bytes; at most {limit} are taken")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes are not those that were stored.
    #[error("its digest is {found}, and {stated} was stated: it was cut or changed on the way")]
    Digest {
        /// SHA-256 of the bytes.
        found: String,
        /// What was stated.
        stated: String,
    },
    /// A digest that nobody can compare with.
    #[error("the digest that was stated, `{0}`, is not sha256: and 64 hexadecimal digits")]
    UnknownDigest(String),
    /// Neither an archive nor results.
    #[error("it is neither a zip archive nor a JSON document")]
    Unknown,
    /// A damaged or unusual archive.
    #[error("it is no zip archive that can be read: {0}")]
    Broken(String),
    /// More entries than results have.
    #[error("it has more than {limit} entries")]
    Entries {
        /// The limit.
        limit: usize,
    },
    /// A name that leads out of the directory, or is none.
    #[error("the entry `{name}` is refused: {why}")]
    Name {
        /// The name, shortened and made harmless.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The same place twice: what a check sees must be what is read later.
    #[error("the entry `{0}` is there twice")]
    Twice(String),
    /// A link, a device, or an encrypted entry.
    #[error("the entry `{name}` is {what}, and only plain files are unpacked")]
    Kind {
        /// The name, made harmless.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// A file that would be larger than is read.
    #[error("{name} is {size} bytes; at most {limit} are read")]
    FileTooLarge {
        /// The name.
        name: String,
        /// What it says of itself, or what came out until it was stopped.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// All files together would be larger than is kept.
    #[error("its files are more than {limit} bytes together")]
    Total {
        /// The limit in bytes.
        limit: u64,
    },
    /// Packed tighter than results can be.
    #[error(
        "{name} unpacks to more than {limit} times its packed size: it is made to fill the disk"
    )]
    Ratio {
        /// The name.
        name: String,
        /// The limit.
        limit: u64,
    },
    /// There are no results in it.
    #[error("there is no metrics.json in it")]
    NoResults,
    /// The file system refuses.
    #[error("cannot write {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
