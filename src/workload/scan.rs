//! A quick look into a `tokenizer.json`: which words its vocabulary holds whole. Pure.
//!
//! Building a tokenizer of 128 000 entries takes the tokenizers library half a second; reading
//! over its file takes hundredths. What is found here is a guess until the library has confirmed it.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{
    vocabulary::{Candidate, Vocabulary},
    words::{self, Role},
};

/// Fewer words of a kind make no good guess.
const ENOUGH: usize = 64;
/// Fewer nonce words for the beginning of a text make no good guess.
const ENOUGH_STARTS: usize = 16;

/// No word of ours has more letters.
const LONGEST_WORD: usize = 12;

/// How a token says that a space stands before it: byte-level alphabets (GPT-2), `SentencePiece`,
/// a plain space.
const MARKS: [char; 3] = ['Ġ', '▁', ' '];

/// What a quick look tells.
#[derive(Debug)]
pub(super) struct Scan {
    /// Words that are probably one token each.
    pub(super) guess: Option<Vocabulary>,
    /// No token reaches from one word over a space into the next. Then every tokenization has a
    /// cut at each space, what stands between two cuts is tokenized by itself, and a text is as
    /// long as its words together. This holds for merges (BPE), for the best path (Unigram) and
    /// for the longest match (`WordPiece`) alike.
    pub(super) separable: bool,
}

/// What was read of a file so far.
#[derive(Debug, Default)]
struct File {
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    seen: Option<Seen>,
}

impl File {
    /// Whether nothing of the rest matters. Merges, which come last, are the larger part.
    const fn complete(&self) -> bool {
        self.normalizer.is_some() && self.pre_tokenizer.is_some() && self.seen.is_some()
    }
}

/// Looks into the file.
///
/// # Errors
/// It is no JSON as far as it was read, or not of a tokenizer's shape.
pub(super) fn scan(json: &[u8]) -> Result<Scan, serde_json::Error> {
    let mut file = File::default();
    let read = Top(&mut file).deserialize(&mut serde_json::Deserializer::from_slice(json));
    // Reading stops in the middle of the file once it is complete.
    if !file.complete() {
        read?;
    }
    let seen = file.seen.ok_or_else(|| de::Error::missing_field("model"))?;
    let mark = seen.mark();
    let separable = match mark.and_then(|mark| seen.crossing.get(mark)) {
        Some(crossing) => !crossing,
        None => !seen.crossing.contains(&true),
    };
    let steps = [file.normalizer, file.pre_tokenizer];
    let prepends = steps.iter().flatten().any(prepends);
    let guess = separable.then(|| guess(&seen, mark, prepends)).flatten();
    Ok(Scan { guess, separable })
}

/// Reads the top of the file.
struct Top<'a>(&'a mut File);

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a tokenizer: an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "normalizer" => self.0.normalizer = Some(map.next_value()?),
                "pre_tokenizer" => self.0.pre_tokenizer = Some(map.next_value()?),
                "model" => map.next_value_seed(Model(self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            if self.0.complete() {
                break;
            }
        }
        Ok(())
    }
}

/// Reads the model.
struct Model<'a>(&'a mut File);

impl<'de> DeserializeSeed<'de> for Model<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Model<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a model: an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "vocab" {
                self.0.seen = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if self.0.complete() {
                return Ok(());
            }
        }
        if self.0.seen.is_none() {
            return Err(de::Error::missing_field("vocab"));
        }
        Ok(())
    }
}

/// Whether a space is put before the text.
fn prepends(step: &Value) -> bool {
    match step {
        Value::Object(keys) => {
            let is = |key: &str, value: &str| keys.get(key).is_some_and(|found| found == value);
            is("type", "Prepend")
                || keys.get("add_prefix_space") == Some(&Value::Bool(true))
                || is("prepend_scheme", "always")
                || is("prepend_scheme", "first")
                || keys.values().any(prepends)
        }
        Value::Array(steps) => steps.iter().any(prepends),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn guess(seen: &Seen, mark: Option<usize>, prepends: bool) -> Option<Vocabulary> {
    let inner = |forms: &Forms| match mark {
        Some(mark) => forms.marked.get(mark) == Some(&true),
        None => forms.bare,
    };
    let first = |forms: &Forms| if prepends { inner(forms) } else { forms.bare };
    let candidates: Vec<Candidate> = words::all()
        .filter(|(role, _)| *role != Role::Spare)
        .filter_map(|(role, word)| {
            let forms = seen.words.get(word)?;
            Some(Candidate {
                role,
                word,
                first: first(forms).then_some(1),
                inner: inner(forms).then_some(1),
            })
        })
        .collect();
    let vocabulary = Vocabulary::new(&candidates, true)?;
    let starts = vocabulary.nonce.iter().filter(|one| one.first.is_some());
    let enough = vocabulary.text.len() >= ENOUGH
        && vocabulary.nonce.len() >= ENOUGH
        && starts.count() >= ENOUGH_STARTS;
    enough.then_some(vocabulary)
}

/// In which forms a word stands in the vocabulary.
#[derive(Debug, Default)]
struct Forms {
    bare: bool,
    /// By mark.
    marked: [bool; MARKS.len()],
}

/// What was seen of a vocabulary.
#[derive(Debug)]
struct Seen {
    words: HashMap<&'static str, Forms>,
    /// By mark: a token holds it behind a letter or digit. Only the mark in use matters: special
    /// tokens are spelled with others.
    crossing: [bool; MARKS.len()],
}

impl Seen {
    fn see(&mut self, token: &str) {
        let mut marks = 0;
        let mut form = None;
        let mut word = token;
        while let Some((mark, rest)) = marked(word) {
            (marks, form, word) = (marks + 1, Some(mark), rest);
        }
        // A second mark is only looked for where there can be one.
        if !word.is_ascii() || word.contains(' ') {
            for (mark, crossing) in MARKS.iter().zip(&mut self.crossing) {
                let before = word.rfind(*mark).and_then(|at| word.get(..at));
                *crossing |=
                    before.is_some_and(|text| text.contains(|c: char| c.is_ascii_alphanumeric()));
            }
        }
        // Most tokens are no word of ours, which their length or first letter tells at once.
        if word.len() > LONGEST_WORD || !word.starts_with(|c: char| c.is_ascii_lowercase()) {
            return;
        }
        if let Some(forms) = self.words.get_mut(word) {
            match (marks, form.and_then(|mark| forms.marked.get_mut(mark))) {
                (0, _) => forms.bare = true,
                (1, Some(marked)) => *marked = true,
                // Two marks in front are another token than one.
                _ => {}
            }
        }
    }

    /// The mark that most words have; `None` where hardly any has one: the spaces are thrown
    /// away (`WordPiece`).
    fn mark(&self) -> Option<usize> {
        let count = |mark: usize| {
            let marked = |forms: &&Forms| forms.marked.get(mark) == Some(&true);
            self.words.values().filter(marked).count()
        };
        let best = (0..MARKS.len()).max_by_key(|mark| count(*mark))?;
        (count(best) >= ENOUGH).then_some(best)
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = words::all().map(|(_, word)| (word, Forms::default()));
        let seen = Self {
            words: words.collect(),
            crossing: [false; MARKS.len()],
        };
        deserializer.deserialize_any(Vocab(seen))
    }
}

/// The mark at the beginning of a token, by its place among [`MARKS`], and what follows.
fn marked(token: &str) -> Option<(usize, &str)> {
    let mut marks = MARKS.iter().enumerate();
    marks.find_map(|(place, mark)| Some((place, token.strip_prefix(*mark)?)))
}

/// Reads a vocabulary: a map from token to number, or a list of tokens with their scores.
struct Vocab(Seen);

impl<'de> Visitor<'de> for Vocab {
    type Value = Seen;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a vocabulary: a map or a list of tokens")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Seen, A::Error> {
        while map.next_key_seed(Token(&mut self.0))?.is_some() {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Seen, A::Error> {
        while list.next_element_seed(Scored(&mut self.0))?.is_some() {}
        Ok(self.0)
    }
}

/// One token.
struct Token<'a>(&'a mut Seen);

impl<'de> DeserializeSeed<'de> for Token<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Token<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a token")
    }

    fn visit_str<E: de::Error>(self, token: &str) -> Result<(), E> {
        self.0.see(token);
        Ok(())
    }
}

/// A token and its score.
struct Scored<'a>(&'a mut Seen);

impl<'de> DeserializeSeed<'de> for Scored<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Scored<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a token and its score")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<(), A::Error> {
        pair.next_element_seed(Token(self.0))?;
        while pair.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    /// A file whose vocabulary holds every word in these forms.
    fn file(forms: &[&str], extra: &[&str]) -> Value {
        let words =
            words::all().flat_map(|(_, word)| forms.iter().map(move |m| format!("{m}{word}")));
        let vocab: Map<String, Value> = words
            .chain(extra.iter().map(|token| (*token).to_owned()))
            .enumerate()
            .map(|(id, token)| (token, json!(id)))
            .collect();
        json!({ "version": "1.0", "model": { "type": "BPE", "vocab": vocab, "merges": [["a", "b"]] } })
    }

    fn scanned(file: &Value) -> Scan {
        scan(file.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn words_behind_a_mark_are_single_behind_a_space() {
        for mark in ["Ġ", "▁"] {
            let scan = scanned(&file(&["", mark], &["ĠĠ", "▁▁the", "é"]));
            assert!(scan.separable);
            let vocabulary = scan.guess.unwrap();
            assert_eq!(vocabulary.nonce.len(), 256);
            assert!(vocabulary.nonce.iter().all(|one| one.first == Some(1)));
            // Without a form for the beginning there is no guess: nobody knows how texts begin.
            assert!(scanned(&file(&[mark], &[])).guess.is_none());
            // Unless a space is put there.
            let mut prepending = file(&[mark], &[]);
            prepending["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true }
            ] });
            assert!(scanned(&prepending).guess.is_some());
        }
    }

    #[test]
    fn a_list_without_marks_is_read_as_well() {
        let list: Vec<Value> = words::all().map(|(_, word)| json!([word, -3.5])).collect();
        let file = json!({ "model": { "type": "Unigram", "unk_id": 0, "vocab": list } });
        let vocabulary = scanned(&file).guess.unwrap();
        assert!(
            vocabulary
                .text
                .iter()
                .all(|one| (one.first, one.inner) == (Some(1), 1))
        );
    }

    #[test]
    fn tokens_over_words_are_seen() {
        for (mark, token) in [
            ("Ġ", "ofĠthe"),
            ("▁", "▁of▁the"),
            (" ", "of the"),
            ("▁", "a▁"),
        ] {
            let scan = scanned(&file(&["", mark], &[token]));
            assert!(!scan.separable && scan.guess.is_none(), "{token}");
        }
        for token in ["ĠĠĠthe", "Ġ▁", ").Ġ", "<｜begin▁of▁text｜>"] {
            assert!(scanned(&file(&["", "Ġ"], &[token])).separable, "{token}");
        }
    }

    #[test]
    fn reading_stops_where_only_merges_follow() {
        let mut known = file(&["", "Ġ"], &[]).to_string();
        // Keys are in alphabetical order: the steps follow the model.
        known.insert_str(
            known.len() - 1,
            r#","normalizer":null,"pre_tokenizer":null"#,
        );
        assert!(scan(known.as_bytes()).unwrap().guess.is_some());
        let vocab = file(&["", "Ġ"], &[])["model"]["vocab"].to_string();
        let begin =
            format!(r#"{{"normalizer":null,"pre_tokenizer":null,"model":{{"vocab":{vocab}"#);
        assert!(
            scan(format!("{begin},\"merges\":[[").as_bytes())
                .unwrap()
                .guess
                .is_some()
        );
        let half = begin.split_at(begin.len() / 2).0;
        assert!(scan(half.as_bytes()).is_err());
    }

    #[test]
    fn every_word_is_short_enough_to_be_seen() {
        let short = |word: &str| word.len() <= LONGEST_WORD;
        assert!(words::all().all(|(_, word)| short(word)));
    }

    #[test]
    fn what_is_no_tokenizer_is_an_error_with_its_place() {
        let error = |text: &str| scan(text.as_bytes()).unwrap_err().to_string();
        assert!(error("{").contains("line 1 column 1"));
        assert!(error("{}").contains("missing field `model`"));
        assert!(error(r#"{"model":{"vocab":3}}"#).contains("a vocabulary"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_tokenizer_or_an_error(bytes in any::<Vec<u8>>()) {
            drop(scan(&bytes));
        }

        #[test]
        fn any_tokens_are_looked_at(tokens in proptest::collection::vec("[Ġ▁ a-z\\PC]{0,6}", 0..20)) {
            let vocab: Map<String, Value> = tokens.into_iter().map(|token| (token, json!(1))).collect();
            drop(scan(json!({ "model": { "vocab": vocab } }).to_string().as_bytes()));
        }
    }
}
