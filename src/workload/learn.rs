//! Which words are how many tokens, found with few questions. Pure: gives texts to be counted,
//! takes the counts.
//!
//! A text of n words that has n tokens more than what stands before it can only be words of one
//! token each, because no word has none. So one question settles a whole list; a list with
//! other words in it is halved until its parts are clean or small.

use std::collections::VecDeque;

use super::{
    vocabulary::Candidate,
    words::{self, Role},
};

/// What the words of a question stand behind.
const ANCHOR: &str = "the";
/// A list this small that is not clean is given up, unless words are scarce.
const SMALL: usize = 4;
/// Questions about lists.
const MOST_LISTS: u32 = 64;
/// With fewer words of one token, words are asked for one by one.
const SCARCE: usize = 32;
/// Questions about single words, then.
const MOST_SINGLES: usize = 64;
/// Words that are also counted at the beginning of a text: nonces and texts.
const STARTS: [(Role, usize); 2] = [(Role::Nonce, 8), (Role::Text, 4)];

type Word = (Role, &'static str);

/// Learns words.
#[derive(Debug)]
pub(super) struct Learner {
    /// Tokens of the anchor alone.
    anchor: Option<u32>,
    lists: VecDeque<Vec<Word>>,
    questions: u32,
    /// Words of lists that were given up.
    unclear: Vec<Word>,
    stage: Stage,
    /// Places in `found` whose words are still to be counted at the beginning.
    starts: VecDeque<usize>,
    found: Vec<Candidate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Lists,
    Singles,
    Starts,
}

impl Learner {
    /// Knows nothing yet.
    pub(super) fn new() -> Self {
        let list = |wanted| words::all().filter(|(role, _)| *role == wanted).collect();
        Self {
            anchor: None,
            lists: [list(Role::Nonce), list(Role::Text)].into(),
            questions: 0,
            unclear: Vec::new(),
            stage: Stage::Lists,
            starts: VecDeque::new(),
            found: Vec::new(),
        }
    }

    /// The next text to be counted; `None` when enough is known.
    pub(super) fn question(&mut self) -> Option<String> {
        if self.anchor.is_none() {
            return Some(ANCHOR.to_owned());
        }
        if self.stage != Stage::Starts {
            if self.stage == Stage::Lists && self.questions >= MOST_LISTS {
                self.unclear.extend(self.lists.drain(..).flatten());
            }
            if self.lists.is_empty() && self.stage == Stage::Lists {
                self.stage = Stage::Singles;
                self.plan_singles();
            }
            if let Some(list) = self.lists.front() {
                let words: Vec<&str> = list.iter().map(|(_, word)| *word).collect();
                return Some(format!("{ANCHOR} {}", words.join(" ")));
            }
            self.stage = Stage::Starts;
            self.plan_starts();
        }
        let place = self.starts.front()?;
        Some(self.found.get(*place)?.word.to_owned())
    }

    /// Takes the tokens of the text that [`Self::question`] gave last.
    pub(super) fn answer(&mut self, tokens: u32) {
        let Some(anchor) = self.anchor else {
            self.anchor = Some(tokens);
            return;
        };
        if let Some(list) = self.lists.pop_front() {
            self.questions += 1;
            self.settle(list, tokens.saturating_sub(anchor));
        } else if let Some(place) = self.starts.pop_front()
            && let Some(candidate) = self.found.get_mut(place)
        {
            candidate.first = Some(tokens);
        }
    }

    /// What was found.
    pub(super) fn finish(self) -> Vec<Candidate> {
        self.found
    }

    fn settle(&mut self, mut list: Vec<Word>, tokens: u32) {
        let single = tokens as usize == list.len();
        if single || list.len() == 1 {
            let inner = if single { 1 } else { tokens };
            self.found.extend(list.iter().map(|(role, word)| Candidate {
                role: *role,
                word,
                first: None,
                inner: Some(inner),
            }));
        } else if list.len() <= SMALL {
            self.unclear.extend(list);
        } else {
            let rest = list.split_off(list.len() / 2);
            self.lists.extend([list, rest]);
        }
    }

    fn plan_singles(&mut self) {
        let singles = self.found.iter().filter(|one| one.role == Role::Text);
        if singles.count() >= SCARCE {
            return;
        }
        let spare = words::all().filter(|(role, _)| *role == Role::Spare);
        // Spare words and unclear ones in turn, so that both get some of the questions.
        let unclear = std::mem::take(&mut self.unclear);
        let mut unclear = unclear.into_iter();
        for word in spare {
            self.lists.push_back(vec![word]);
            self.lists.extend(unclear.next().map(|word| vec![word]));
        }
        self.lists.truncate(MOST_SINGLES);
    }

    fn plan_starts(&mut self) {
        for (role, most) in STARTS {
            let places = (0..self.found.len()).filter(|place| {
                let one = self.found.get(*place);
                one.is_some_and(|one| one.role == role && one.inner == Some(1))
            });
            self.starts.extend(places.take(most));
        }
        if self.starts.is_empty() {
            // No word of one token: whatever there is.
            let most = STARTS.iter().map(|(_, most)| *most).sum();
            self.starts.extend((0..self.found.len()).take(most));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::stream,
        workload::{
            compose::{Part, draft},
            vocabulary::Vocabulary,
        },
    };

    /// Has a text counted: `first` tokens more for its first word.
    fn learned(first: u32, tokens: impl Fn(&str) -> u32) -> (Vec<Candidate>, u32) {
        let mut learner = Learner::new();
        let mut questions = 0;
        while let Some(text) = learner.question() {
            learner.answer(first + text.split(' ').map(&tokens).sum::<u32>());
            questions += 1;
        }
        (learner.finish(), questions)
    }

    #[test]
    fn two_lists_of_single_words_take_two_questions() {
        let (found, questions) = learned(0, |_| 1);
        // The anchor, two lists, twelve words at the beginning.
        assert_eq!(questions, 1 + 2 + 12);
        assert!(found.iter().all(|one| one.inner == Some(1)));
        assert_eq!(found.iter().filter(|one| one.first == Some(1)).count(), 12);
        assert_eq!(
            found.len(),
            words::all()
                .filter(|(role, _)| *role != Role::Spare)
                .count()
        );
    }

    #[test]
    fn a_few_long_words_cost_a_few_words() {
        let long = ["huge", "keen", "government", "kitchen"];
        let (found, questions) = learned(1, |word| if long.contains(&word) { 2 } else { 1 });
        assert!(questions <= 60, "{questions}");
        assert!(found.iter().all(|one| !long.contains(&one.word)));
        // Each long word takes at most three others along.
        let all = words::all()
            .filter(|(role, _)| *role != Role::Spare)
            .count();
        assert!(found.len() >= all - 16, "{}", found.len());
        assert!(
            found
                .iter()
                .all(|one| one.first.is_none_or(|first| first == 2))
        );
    }

    #[test]
    fn where_every_word_is_cut_single_ones_are_learned() {
        let letters = |word: &str| u32::try_from(word.len()).unwrap();
        let (found, questions) = learned(0, letters);
        assert!(questions <= 150, "{questions}");
        assert!(found.len() >= 40, "{}", found.len());
        for one in &found {
            assert_eq!(one.inner, Some(letters(one.word)));
        }
        let vocabulary = Vocabulary::new(&found, true).unwrap();
        for tokens in [1, 2, 17, 400] {
            let parts = vec![
                Part::Nonce(stream(&[b"nonce"])),
                Part::Text {
                    random: stream(&[b"text"]),
                    until: tokens,
                },
            ];
            let draft = draft(&vocabulary, parts, tokens, true);
            assert_eq!(draft.tokens, tokens);
            let counted: u32 = draft.text().split(' ').map(letters).sum();
            assert_eq!(counted, tokens);
        }
    }
}
