//! Which words prompts are written with, and how many tokens each of them is. Pure.
//!
//! Nearly every tokenizer cuts a text of words and single spaces at the spaces, so that a
//! word's tokens do not depend on its neighbours: a text is as long as its words together.
//! Where all words are one token, any number of them is exact; where a small vocabulary cuts
//! words, [`Reach`] says which lengths can still be put together.

use std::collections::BTreeMap;

use super::words::{self, Role};

/// With fewer words of one token, longer ones are used as well.
const ENOUGH_SINGLES: usize = 32;
/// A nonce's alphabet is at least this large, where there are so many words.
const ENOUGH_FOR_NONCES: usize = 16;
/// Bits of a nonce: two of a million prompts are equal with a probability of 3e-8.
const NONCE_BITS: f64 = 64.0;
/// The nearest possible length is looked for so far around one that is not.
const FAR: u32 = 1_000;
/// No nonce has more words, however small the alphabet.
const MOST_NONCE_WORDS: u32 = 32;

/// A word as a tokenizer counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) role: Role,
    pub(super) word: &'static str,
    /// Tokens at the beginning of a text; `None` where not known.
    pub(super) first: Option<u32>,
    /// Tokens behind a space; `None` where not known.
    pub(super) inner: Option<u32>,
}

/// A usable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) word: &'static str,
    /// Tokens at the beginning of a text; `None`: not to be used there.
    pub(super) first: Option<u32>,
    /// Tokens behind a space.
    pub(super) inner: u32,
}

impl Entry {
    /// Tokens at this place.
    pub(super) const fn cost(&self, at_start: bool) -> Option<u32> {
        if at_start {
            self.first
        } else {
            Some(self.inner)
        }
    }
}

/// The words that prompts are written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vocabulary {
    /// Words of nonces: all of the same number of tokens, so that a nonce's length is constant.
    pub(super) nonce: Vec<Entry>,
    /// Words of a nonce.
    pub(super) nonce_words: u32,
    /// Words of the text.
    pub(super) text: Vec<Entry>,
    /// For the first word, when none of the others fits.
    pub(super) starters: Vec<Entry>,
    /// Lengths that words of the text can fill.
    pub(super) reach: Reach,
    /// Whether a text is known to be as long as its words together.
    pub(super) additive: bool,
}

impl Vocabulary {
    /// Chooses among the candidates. `None` when there is no word to write with.
    pub(super) fn new(candidates: &[Candidate], additive: bool) -> Option<Self> {
        let text = text(candidates);
        let nonce = nonce(candidates);
        let letters = f64::from(u32::try_from(nonce.len()).unwrap_or(u32::MAX)).log2();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates: an alphabet of one letter gets the most words"
        )]
        let nonce_words = ((NONCE_BITS / letters).ceil() as u32).min(MOST_NONCE_WORDS);
        if text.is_empty() || nonce.is_empty() {
            return None;
        }
        Some(Self {
            reach: Reach::new(text.iter().map(|entry| entry.inner)),
            starters: candidates.iter().filter_map(entry).collect(),
            nonce,
            nonce_words,
            text,
            additive,
        })
    }

    /// Whether some words are exactly this many tokens.
    fn fills(&self, tokens: u32, at_start: bool) -> bool {
        let entries = self.text.iter().chain(&self.nonce).chain(&self.starters);
        let mut costs = entries.filter_map(|entry| entry.cost(at_start));
        costs.any(|cost| {
            tokens
                .checked_sub(cost)
                .is_some_and(|rest| self.reach.holds(rest))
        })
    }

    /// The number of tokens nearest to this that some words are; 0 where none is near.
    pub(super) fn closest(&self, tokens: u32, at_start: bool) -> u32 {
        (0..=FAR)
            .flat_map(|far| [tokens.checked_sub(far), tokens.checked_add(far)])
            .flatten()
            .find(|near| self.fills(*near, at_start))
            .unwrap_or(0)
    }

    /// One token for each word: an estimate, where nobody counts tokens.
    pub(super) fn words() -> Option<Self> {
        let one = |(role, word)| Candidate {
            role,
            word,
            first: Some(1),
            inner: Some(1),
        };
        let candidates: Vec<Candidate> = words::all().map(one).collect();
        Self::new(&candidates, true)
    }
}

fn entry(candidate: &Candidate) -> Option<Entry> {
    // A word of no tokens would never end a text.
    let inner = candidate.inner.filter(|tokens| *tokens > 0)?;
    Some(Entry {
        word: candidate.word,
        first: candidate.first.filter(|tokens| *tokens > 0),
        inner,
    })
}

fn text(candidates: &[Candidate]) -> Vec<Entry> {
    let of = |wanted: &dyn Fn(&Candidate) -> bool| -> Vec<Entry> {
        let chosen = candidates.iter().filter(|candidate| wanted(candidate));
        chosen.filter_map(entry).collect()
    };
    let singles = of(&|one| one.role == Role::Text && one.inner == Some(1));
    if singles.len() >= ENOUGH_SINGLES {
        singles
    } else {
        of(&|one| one.role != Role::Nonce)
    }
}

fn nonce(candidates: &[Candidate]) -> Vec<Entry> {
    let proper = candidates.iter().filter(|one| one.role == Role::Nonce);
    let alphabet = alike(proper.filter_map(entry));
    if alphabet.len() >= ENOUGH_FOR_NONCES {
        return alphabet;
    }
    // Few of them are alike: take whatever words there are.
    alike(candidates.iter().filter_map(entry))
}

/// The largest group of words with the same number of tokens; one token goes before several.
fn alike(entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut groups: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        groups.entry(entry.inner).or_default().push(entry);
    }
    let singles = groups
        .get(&1)
        .filter(|group| group.len() >= ENOUGH_FOR_NONCES);
    let largest = || {
        groups
            .iter()
            .max_by_key(|(tokens, group)| (group.len(), u32::MAX - **tokens))
            .map(|(_, group)| group)
    };
    let mut chosen = singles.or_else(largest).cloned().unwrap_or_default();
    // At the beginning of a text the same: only words with the most common number.
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for tokens in chosen.iter().filter_map(|entry| entry.first) {
        *counts.entry(tokens).or_default() += 1;
    }
    let common = counts
        .iter()
        .max_by_key(|(tokens, count)| (**count, u32::MAX - **tokens))
        .map(|(tokens, _)| *tokens);
    for entry in &mut chosen {
        if entry.first != common {
            entry.first = None;
        }
    }
    chosen
}

/// Which numbers of tokens can be filled with words of given lengths, each as often as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    /// Whether each small number can be filled.
    small: Vec<bool>,
    /// Larger ones can be when they are a multiple of this.
    divisor: u32,
}

impl Reach {
    fn new(lengths: impl Iterator<Item = u32>) -> Self {
        let mut lengths: Vec<u32> = lengths.collect();
        lengths.sort_unstable();
        lengths.dedup();
        let divisor = lengths.iter().copied().fold(0, gcd).max(1);
        // Beyond (a − 1)(b − 1) every multiple of the common divisor can be filled (Sylvester);
        // the square of the longest is more than that.
        let longest = lengths.last().copied().unwrap_or(1).min(1_000) as usize;
        let mut small = vec![false; longest * longest + 1];
        if let Some(zero) = small.first_mut() {
            *zero = true;
        }
        for number in 1..small.len() {
            let filled = lengths.iter().any(|length| {
                number
                    .checked_sub(*length as usize)
                    .and_then(|rest| small.get(rest))
                    .is_some_and(|rest| *rest)
            });
            if let Some(slot) = small.get_mut(number) {
                *slot = filled;
            }
        }
        Self { small, divisor }
    }

    /// Whether words can fill exactly this many tokens.
    pub(super) fn holds(&self, tokens: u32) -> bool {
        match self.small.get(tokens as usize) {
            Some(filled) => *filled,
            None => tokens.is_multiple_of(self.divisor),
        }
    }
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn candidate(role: Role, word: &'static str, first: u32, inner: u32) -> Candidate {
        Candidate {
            role,
            word,
            first: Some(first),
            inner: Some(inner),
        }
    }

    #[test]
    fn the_nonce_alphabet_has_a_word_for_each_byte() {
        let vocabulary = Vocabulary::words().unwrap();
        let words: BTreeSet<&str> = vocabulary.nonce.iter().map(|entry| entry.word).collect();
        assert_eq!((words.len(), vocabulary.nonce.len()), (256, 256));
        assert!(words.iter().all(|word| word.len() == 4));
        // 256 letters are 8 bits each.
        assert_eq!(vocabulary.nonce_words, 8);
    }

    #[test]
    fn lengths_of_3_and_5_reach_all_but_four_numbers() {
        // By hand: 1, 2, 4 and 7 cannot be made of 3 and 5; (3−1)(5−1) = 8 and all above can.
        let reach = Reach::new([5, 3].into_iter());
        let missing: Vec<u32> = (0..200).filter(|n| !reach.holds(*n)).collect();
        assert_eq!(missing, [1, 2, 4, 7]);
    }

    #[test]
    fn even_lengths_reach_even_numbers() {
        // By hand: of 4 and 6, all even numbers but 2.
        let reach = Reach::new([4, 6, 4].into_iter());
        let missing: Vec<u32> = (0..200).filter(|n| !reach.holds(*n)).collect();
        assert!(missing.iter().all(|n| n % 2 == 1 || *n == 2));
        assert_eq!(missing.len(), 101);
    }

    #[test]
    fn one_token_words_are_enough_where_there_are_enough() {
        let words: Vec<&'static str> = words::all().map(|(_, word)| word).collect();
        let mut candidates: Vec<Candidate> = words
            .iter()
            .take(40)
            .map(|word| candidate(Role::Text, word, 1, 1))
            .collect();
        candidates.push(candidate(Role::Text, "several", 2, 2));
        let vocabulary = Vocabulary::new(&candidates, true).unwrap();
        assert_eq!(vocabulary.text.len(), 40);
        // No nonce words: the text's make the alphabet. 64 / log2(40) = 12.03.
        assert_eq!((vocabulary.nonce.len(), vocabulary.nonce_words), (40, 13));
        let few = Vocabulary::new(&candidates[30..], true).unwrap();
        assert_eq!(few.text.len(), 11);
    }

    #[test]
    fn a_nonces_words_are_alike() {
        let candidates = [
            candidate(Role::Nonce, "able", 2, 2),
            candidate(Role::Nonce, "acid", 3, 2),
            candidate(Role::Nonce, "also", 2, 2),
            candidate(Role::Nonce, "army", 1, 3),
            candidate(Role::Text, "the", 1, 1),
        ];
        let vocabulary = Vocabulary::new(&candidates, true).unwrap();
        let words: Vec<&str> = vocabulary.nonce.iter().map(|entry| entry.word).collect();
        assert_eq!(words, ["able", "acid", "also"]);
        assert!(vocabulary.nonce.iter().all(|entry| entry.inner == 2));
        let firsts: Vec<Option<u32>> = vocabulary.nonce.iter().map(|entry| entry.first).collect();
        assert_eq!(firsts, [Some(2), None, Some(2)]);
        // 64 / log2(3) = 40.4, cut.
        assert_eq!(vocabulary.nonce_words, MOST_NONCE_WORDS);
    }

    #[test]
    fn words_of_no_tokens_are_no_words() {
        let nothing = [candidate(Role::Text, "the", 0, 0)];
        assert_eq!(Vocabulary::new(&nothing, true), None);
        assert_eq!(Vocabulary::new(&[], true), None);
    }
}
