//! Texts of an exact number of tokens. Pure.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::vocabulary::{Entry, Vocabulary};

/// Room for words that is made beforehand.
const MOST_RESERVED: u32 = 1 << 14;
/// Corrections of a text before it is given up.
const MOST_REPAIRS: u32 = 96;
/// From here on corrections are of one word, and replace the last one: those before went in a
/// circle.
const STUCK: u32 = 8;

/// A part of a text.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// A nonce, shorter where the text has not room for all of it.
    Nonce(ChaCha8Rng),
    /// Words until the text has this many tokens.
    Text {
        /// Chooses the words.
        random: ChaCha8Rng,
        /// Tokens of the text at the end of this part.
        until: u32,
    },
}

/// Words in order, and how many tokens they are together if words do not touch each other.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    words: Vec<&'static str>,
    /// At most what was asked for; fewer when no words fill the rest.
    pub(super) tokens: u32,
}

impl Draft {
    /// The words with single spaces between them.
    pub(super) fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// Writes `tokens` tokens, one part after the other; the last one fills the rest. `at_start`:
/// nothing stands before the text.
pub(super) fn draft(
    vocabulary: &Vocabulary,
    parts: Vec<Part>,
    tokens: u32,
    at_start: bool,
) -> Draft {
    let mut writer = Writer {
        vocabulary,
        at_start,
        left: tokens,
        words: Vec::with_capacity(tokens.min(MOST_RESERVED) as usize),
    };
    for part in parts {
        match part {
            Part::Nonce(mut random) => {
                for _ in 0..vocabulary.nonce_words {
                    if !writer.push(&mut random, &vocabulary.nonce) {
                        break;
                    }
                }
            }
            Part::Text { mut random, until } => {
                while tokens - writer.left < until {
                    if !writer.push(&mut random, &vocabulary.text) {
                        break;
                    }
                }
            }
        }
    }
    Draft {
        tokens: tokens - writer.left,
        words: writer.words,
    }
}

struct Writer<'a> {
    vocabulary: &'a Vocabulary,
    at_start: bool,
    left: u32,
    words: Vec<&'static str>,
}

impl Writer<'_> {
    /// Adds one of the words. False when none fits.
    fn push(&mut self, random: &mut ChaCha8Rng, entries: &[Entry]) -> bool {
        let chosen = self.choose(random, entries).or_else(|| {
            let starters = &self.vocabulary.starters;
            self.at_start.then(|| self.choose(random, starters))?
        });
        let Some((word, cost)) = chosen else {
            return false;
        };
        self.words.push(word);
        self.left -= cost;
        self.at_start = false;
        true
    }

    /// A random word, or the next one in the list behind which the rest can still be filled.
    fn choose(&self, random: &mut ChaCha8Rng, entries: &[Entry]) -> Option<(&'static str, u32)> {
        if self.left == 0 || entries.is_empty() {
            return None;
        }
        let begin = random.random_range(0..entries.len());
        let (before, from) = entries.split_at_checked(begin)?;
        from.iter().chain(before).find_map(|entry| {
            let cost = entry.cost(self.at_start)?;
            let rest = self.left.checked_sub(cost)?;
            self.vocabulary
                .reach
                .holds(rest)
                .then_some((entry.word, cost))
        })
    }
}

/// What came of an attempt to write an exact number of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Repaired {
    /// As asked.
    Exact(String),
    /// The nearest that was found.
    Closest(u32),
}

/// Adds and takes away words at the end until `count` finds exactly `wanted` tokens, for
/// tokenizers whose tokens reach over words. The text's beginning stays.
///
/// # Errors
/// What `count` fails with.
pub(super) fn repair<E>(
    vocabulary: &Vocabulary,
    draft: Draft,
    wanted: u32,
    mut random: ChaCha8Rng,
    mut count: impl FnMut(&str) -> Result<u32, E>,
) -> Result<Repaired, E> {
    let mut words = draft.words;
    let mut closest = None;
    for attempt in 0..MOST_REPAIRS {
        let text = words.join(" ");
        let counted = count(&text)?;
        if counted == wanted {
            return Ok(Repaired::Exact(text));
        }
        if closest.is_none_or(|known: u32| known.abs_diff(wanted) > counted.abs_diff(wanted)) {
            closest = Some(counted);
        }
        let stuck = attempt >= STUCK;
        // As many words as the difference is, at this text's tokens for each word.
        let difference = counted.abs_diff(wanted) as usize;
        let change = match difference * words.len() / counted.max(1) as usize {
            _ if stuck => 1,
            change => change.max(1),
        };
        if counted > wanted {
            words.truncate(words.len().saturating_sub(change));
        }
        if stuck || words.is_empty() {
            words.pop();
            push_any(vocabulary, &mut words, &mut random);
        }
        if counted < wanted {
            for _ in 0..change {
                push_any(vocabulary, &mut words, &mut random);
            }
        }
    }
    Ok(Repaired::Closest(closest.unwrap_or(draft.tokens)))
}

fn push_any(vocabulary: &Vocabulary, words: &mut Vec<&'static str>, random: &mut ChaCha8Rng) {
    let entries = if words.is_empty() {
        &vocabulary.starters
    } else {
        &vocabulary.text
    };
    if entries.is_empty() {
        return;
    }
    let entry = entries.get(random.random_range(0..entries.len()));
    words.extend(entry.map(|entry| entry.word));
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        plan::stream,
        workload::{
            vocabulary::Candidate,
            words::{self, Role},
        },
    };

    fn parts(nonce: &[u8], tokens: u32) -> Vec<Part> {
        vec![
            Part::Nonce(stream(&[b"nonce", nonce])),
            Part::Text {
                random: stream(&[b"text"]),
                until: tokens,
            },
        ]
    }

    /// Words behind a space are as many tokens as `inner` says for their length in letters, and
    /// one more at the beginning.
    fn vocabulary(inner: impl Fn(usize) -> u32) -> Vocabulary {
        let candidates: Vec<Candidate> = words::all()
            .map(|(role, word)| Candidate {
                role,
                word,
                first: Some(inner(word.len()) + 1),
                inner: Some(inner(word.len())),
            })
            .collect();
        Vocabulary::new(&candidates, true).unwrap()
    }

    #[test]
    fn words_are_counted_and_the_nonce_is_first() {
        let words = Vocabulary::words().unwrap();
        let text = |nonce: &[u8], tokens| draft(&words, parts(nonce, tokens), tokens, true).text();
        for tokens in [1, 5, 8, 9, 32, 500] {
            let count = text(b"a", tokens).split(' ').count();
            assert_eq!(count, tokens as usize);
        }
        // Eight words of four letters and seven spaces.
        let (a, b) = (text(b"a", 100), text(b"b", 100));
        assert_ne!(a.split_at(39).0, b.split_at(39).0);
        assert_eq!(a.split_at(39).1, b.split_at(39).1);
        // A nonce that is cut is the beginning of the whole one.
        assert!(a.starts_with(&text(b"a", 3)));
    }

    #[test]
    fn the_text_is_the_same_on_every_platform() {
        let words = Vocabulary::words().unwrap();
        assert_eq!(
            draft(&words, parts(b"fixed", 14), 14, true).text(),
            "jump burn week link jump tree view mark early come off another letter far"
        );
    }

    proptest! {
        #[test]
        fn lengths_of_two_and_three_fill_any_number_but_one(tokens in 1_u32..2_000) {
            // Behind a space 2 or 3 tokens, at the beginning 3 or 4: by hand, all lengths but 1,
            // 2 can be made: 3, 4, 3 + 2, 4 + 2, ...
            let vocabulary = vocabulary(|letters| if letters % 2 == 0 { 2 } else { 3 });
            let draft = draft(&vocabulary, parts(b"x", tokens), tokens, true);
            prop_assert_eq!(draft.tokens, if tokens < 3 { 0 } else { tokens });
        }

        #[test]
        fn a_nonce_is_always_as_long(tokens in 100_u32..200, nonce in any::<[u8; 4]>()) {
            let vocabulary = vocabulary(|letters| if letters % 2 == 0 { 2 } else { 3 });
            let nonce = draft(&vocabulary, vec![Part::Nonce(stream(&[&nonce]))], tokens, true);
            // Every word of a nonce has four letters: 2 tokens, the first one 3.
            prop_assert_eq!(nonce.tokens, 8 * 2 + 1);
        }

        #[test]
        fn repair_finds_texts_where_words_touch(tokens in 1_u32..400, seed in any::<u64>()) {
            // A word that ends with the letter with which the next one begins shares its token.
            let count = |text: &str| -> Result<u32, Infallible> {
                let words: Vec<&str> = text.split(' ').collect();
                let touching = words
                    .windows(2)
                    .filter(|pair| pair[0].chars().last() == pair[1].chars().next())
                    .count();
                Ok(u32::try_from(words.len() - touching).unwrap())
            };
            let words = Vocabulary::words().unwrap();
            let random = stream(&[&seed.to_le_bytes()]);
            let first = draft(&words, parts(&seed.to_le_bytes(), tokens), tokens, true);
            let Repaired::Exact(text) = repair(&words, first, tokens, random, count).unwrap() else {
                panic!("no text of {tokens}");
            };
            prop_assert_eq!(count(&text).unwrap(), tokens);
        }
    }

    #[test]
    fn what_cannot_be_repaired_names_the_closest_length() {
        let words = Vocabulary::words().unwrap();
        let doubled = |text: &str| -> Result<u32, Infallible> {
            Ok(2 * u32::try_from(text.split(' ').count()).unwrap())
        };
        let first = draft(&words, parts(b"x", 7), 7, true);
        let result = repair(&words, first, 7, stream(&[b"r"]), doubled).unwrap();
        assert!(matches!(result, Repaired::Closest(6 | 8)), "{result:?}");
    }

    #[test]
    fn spare_words_are_for_the_beginning_only_where_nothing_else_fits() {
        let mut vocabulary = Vocabulary::words().unwrap();
        for entry in vocabulary.text.iter_mut().chain(&mut vocabulary.nonce) {
            entry.first = Some(2);
        }
        let one = draft(&vocabulary, parts(b"x", 1), 1, true);
        assert_eq!((one.tokens, one.text().split(' ').count()), (1, 1));
        let two = draft(&vocabulary, parts(b"x", 2), 2, true).text();
        assert!(vocabulary.nonce.iter().any(|entry| entry.word == two));
        assert!(words::all().any(|(role, word)| role == Role::Nonce && word == two));
    }
}
