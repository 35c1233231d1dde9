//! Datasets: files of conversations, told apart by their content.
//!
//! A JSON array of records, as `ShareGPT` comes, or JSON lines. The file is read once, piece by
//! piece; its conversations stay in memory.

mod record;

use std::{
    fmt,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use rand::seq::SliceRandom;
use serde::{
    Deserialize,
    de::{self, Deserializer, SeqAccess, Visitor},
};

use super::{WorkloadError, files};
use crate::plan::stream;
use record::Record;

pub(super) use record::Conversation;

/// Everything is kept in memory.
const MOST_MIB: u64 = 1024;
/// Read at once.
const BUFFER: usize = 1 << 16;

/// A dataset in memory.
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    digest: String,
    format: Format,
    conversations: Vec<Conversation>,
    skipped: usize,
}

/// How a file holds its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Array,
    Lines,
}

/// What a result says about its dataset.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DatasetFacts {
    /// The file's name, without its folder.
    pub file: String,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
    /// `array` or `lines`.
    pub format: &'static str,
    /// Conversations that can be asked.
    pub conversations: usize,
    /// Conversations without a user's message.
    pub skipped: usize,
}

impl Dataset {
    /// Reads a dataset of at most 1 GiB.
    ///
    /// # Errors
    /// It cannot be read or is too large, a record is wrong (with line and key), or it has no
    /// prompt in it.
    pub fn read(path: &Path) -> Result<Arc<Self>, WorkloadError> {
        let mut reader =
            BufReader::with_capacity(BUFFER, files::Source::open("dataset", path, MOST_MIB)?);
        let records = parse(&mut reader);
        let (format, records) = records.map_err(|problem| problem.at(path))?;
        let total = records.len();
        let conversations: Vec<Conversation> =
            records.into_iter().filter_map(|record| record.0).collect();
        let skipped = total - conversations.len();
        if conversations.is_empty() {
            return Err(WorkloadError::EmptyDataset {
                path: path.to_owned(),
                skipped,
            });
        }
        Ok(Arc::new(Self {
            path: path.to_owned(),
            digest: reader.into_inner().digest(),
            format,
            conversations,
            skipped,
        }))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the content, hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What a result says about it.
    pub fn facts(&self) -> DatasetFacts {
        let name = self.path.file_name().unwrap_or_default();
        DatasetFacts {
            file: name.to_string_lossy().into_owned(),
            sha256: self.digest.clone(),
            format: match self.format {
                Format::Array => "array",
                Format::Lines => "lines",
            },
            conversations: self.conversations.len(),
            skipped: self.skipped,
        }
    }

    /// All conversations in a seeded order without replacement, then again in another, for ever.
    pub(super) fn order(self: &Arc<Self>, seed: u64) -> Order {
        Order {
            dataset: Arc::clone(self),
            seed,
            round: 0,
            left: Vec::new(),
        }
    }
}

/// See [`Dataset::order`].
#[derive(Debug)]
pub(super) struct Order {
    dataset: Arc<Dataset>,
    seed: u64,
    round: u64,
    left: Vec<u32>,
}

impl Order {
    /// The next conversation.
    pub(super) fn next(&mut self) -> Option<&Conversation> {
        if self.left.is_empty() {
            let count = u32::try_from(self.dataset.conversations.len()).unwrap_or(u32::MAX);
            self.left = (0..count).collect();
            let parts: [&[u8]; 3] = [
                b"order",
                &self.seed.to_le_bytes(),
                &self.round.to_le_bytes(),
            ];
            self.left.shuffle(&mut stream(&parts));
            self.round += 1;
        }
        let place = self.left.pop()?;
        self.dataset.conversations.get(place as usize)
    }
}

/// What is wrong with a file, before it has a name.
#[derive(Debug)]
enum Problem {
    Record {
        line: usize,
        key: Option<String>,
        why: String,
    },
    Read(std::io::Error),
}

impl Problem {
    fn new(line: usize, error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let key = Some(error.path().to_string()).filter(|path| path != ".");
        let inner = error.into_inner();
        if inner.is_io() {
            return Self::Read(inner.into());
        }
        let text = inner.to_string();
        // The line is told apart, and the one that serde_json counts is within the record.
        let why = text.split_once(" at line ").map_or(&*text, |(why, _)| why);
        Self::Record {
            line: line + inner.line().saturating_sub(1),
            key,
            why: why.to_owned(),
        }
    }

    fn at(self, path: &Path) -> WorkloadError {
        match self {
            Self::Record { line, key, why } => WorkloadError::Dataset {
                path: path.to_owned(),
                line,
                key,
                why,
            },
            Self::Read(error) => files::unreadable("dataset", path, error),
        }
    }
}

/// Reads either format.
fn parse(reader: &mut impl BufRead) -> Result<(Format, Vec<Record>), Problem> {
    let begin = reader.fill_buf().map_err(Problem::Read)?;
    let mark = begin.starts_with(b"\xef\xbb\xbf");
    if mark {
        reader.consume(3);
    }
    let begin = reader.fill_buf().map_err(Problem::Read)?;
    if begin.trim_ascii_start().starts_with(b"[") {
        Ok((Format::Array, array(reader)?))
    } else {
        Ok((Format::Lines, lines(reader)?))
    }
}

fn array(reader: &mut impl BufRead) -> Result<Vec<Record>, Problem> {
    let mut json = serde_json::Deserializer::from_reader(reader);
    let records: Records =
        serde_path_to_error::deserialize(&mut json).map_err(|error| Problem::new(1, error))?;
    // Nothing may follow; and all of the file belongs to its digest.
    json.end().map_err(|error| Problem::Record {
        line: error.line(),
        key: None,
        why: "something follows the end of the array".to_owned(),
    })?;
    Ok(records.0)
}

/// Without a line's own message, an array's error is told with the place in the array.
struct Records(Vec<Record>);

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Records;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records, A::Error> {
                let mut records = Vec::new();
                while let Some(record) = list.next_element()? {
                    if u32::try_from(records.len()).is_err() {
                        return Err(de::Error::custom("there are more than 4 billion records"));
                    }
                    records.push(record);
                }
                Ok(Records(records))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

fn lines(reader: &mut impl BufRead) -> Result<Vec<Record>, Problem> {
    let mut records = Vec::new();
    let mut line = Vec::new();
    let mut blank = None;
    for number in 1_usize.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(Problem::Read)? == 0 {
            break;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            blank = blank.or(Some(number));
            continue;
        }
        // Blank lines at the end are common and lose nothing; others are a sign of damage.
        if let Some(line) = blank {
            return Err(Problem::Record {
                line,
                key: None,
                why: "the line is empty".to_owned(),
            });
        }
        let mut json = serde_json::Deserializer::from_slice(text);
        let record = serde_path_to_error::deserialize(&mut json);
        records.push(record.map_err(|error| Problem::new(number, error))?);
        json.end().map_err(|_more| Problem::Record {
            line: number,
            key: None,
            why: "something follows the record; a line holds one".to_owned(),
        })?;
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
