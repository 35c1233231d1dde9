//! Text from everywhere that tries to be more than text, through every output. Who judges are
//! independent readers: of markdown, of HTML, of workflow commands and of output files. A document
//! must have the same structure as with harmless words, and no new link, mention or command.

mod binary;
mod documents;
mod outputs;
mod readers;

use std::{fs, sync::OnceLock};

use serde::Deserialize;

use super::harness::fixture;

#[derive(Deserialize)]
struct Entry {
    group: String,
    text: String,
    #[serde(default = "once")]
    times: usize,
}

const fn once() -> usize {
    1
}

/// A text, and what it tries.
pub struct Hostile {
    pub group: String,
    pub text: String,
}

/// All of them.
pub fn corpus() -> &'static [Hostile] {
    static CORPUS: OnceLock<Vec<Hostile>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let text = fs::read_to_string(fixture("hostile-text/strings.json")).unwrap();
        let entries: Vec<Entry> = serde_json::from_str(&text).unwrap();
        let whole = |entry: Entry| Hostile {
            group: entry.group,
            text: entry.text.repeat(entry.times),
        };
        entries.into_iter().map(whole).collect()
    })
}

#[test]
fn the_corpus_is_large_and_of_many_kinds() {
    let groups: std::collections::BTreeSet<&str> =
        corpus().iter().map(|one| one.group.as_str()).collect();
    assert!(corpus().len() >= 200, "{}", corpus().len());
    assert!(groups.len() >= 12, "{groups:?}");
    let texts: std::collections::BTreeSet<&str> =
        corpus().iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts.len(), corpus().len(), "each text is there once");
}
