//! Prompts: seeded English-like text behind a nonce.
//!
//! In: seed, run nonce, scenario, position, length. Out: the prompt's text. Pure: the same
//! arguments give the same text on every platform and release (SHA-256 and `ChaCha8`).

use std::num::NonZeroU32;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// 256 different words of four letters, one for each byte of a nonce. Hexadecimal digits would
/// do, but tokenizers cut those into pieces whose number depends on the digits; common short
/// words are nearly always one token each, so that the prompt's length in tokens stays the same.
const NONCE_WORDS: &str = "\
    able acid also army baby ball band base bear been belt best bird blue body bone born \
    both burn busy call came camp care case cast chat chip clay club coat cold cook cool \
    copy corn crew dark data dawn dead dear deck deep desk diet dock dose draw drop dual \
    dust each east easy else ever face fair fall fast fear feel fell file fill find fire \
    fish flag flat folk foot fort free from full gain gate gear girl give goal gold gone \
    gray grew grow hair hall hang hard have hear held here high hill hold home host huge \
    hunt inch iron join jump june keen kept kind knee know lack lake land last lead leaf \
    left less lift line link list load lock look loss loud luck mail make mark mass mean \
    meet mild milk mill mine mode moon most much must navy neck news nice nine noon note \
    oral pace pack paid palm part path pick pine pipe play plus poet pole poor post pure \
    race rail rank rate real rely rest rice ride rise road role roll room rope rule safe \
    sail same save seed seem self sell ship shot sick sign silk size snow soil sole some \
    soon soul spot stay step stop suit take talk tank tape team tend term text than them \
    they this tile tiny tone tool tree true tune turn type upon user very view wage wake \
    wall warm wave weak week went west when wide wild wind wing wise wish wolf word work \
    year";

/// Words of the text behind the nonce.
const TEXT_WORDS: &str = "\
    the of and to in is that for it as was with be by on not he his but at are this have \
    from or had an they which one you were all her she there would their we him been has \
    when who will no more if out so said what up its about into than them can only other \
    time new some could these two may first then do any like my now over such our man me \
    even most made after also did many off before must well back through years much where \
    your way down should because long each just state those people too how little good world \
    make very year still see own work men day get here old between both life being under \
    three never know same last another while us might great go come since against right came \
    take used himself few house use place during without again home around small however \
    found part school once general high upon every left number course war until always away \
    something fact water less public put thing almost hand enough far took head yet \
    government system better set told nothing night end why called eyes find going look \
    asked later point knew next program city business give group toward days young let room \
    within power order important side social face often given several national early local \
    large among rather different possible light interest kind change study book river \
    mountain garden window letter morning evening summer winter forest market bridge kitchen \
    doctor teacher music picture story island engine paper metal silver yellow simple quiet \
    gentle heavy narrow distant careful common certain recent modern ancient bright steady";

/// Words of a nonce: 64 bits.
const NONCE_LENGTH: usize = 8;

/// The prompt of request `index` of a scenario.
///
/// It starts with a nonce of eight four-letter words, unique per `run_nonce`, `scenario` and
/// `index`, so that no prefix cache can serve it; its length never changes. What follows depends
/// on `seed`, `scenario` and `index` only: the same request asks the same in every run.
///
/// `tokens` is the number of whitespace-separated words in all, a rough stand-in for tokens
/// until a tokenizer is at hand. A prompt is never shorter than its nonce.
pub fn prompt(
    seed: u64,
    run_nonce: &str,
    scenario: &str,
    index: u32,
    tokens: NonZeroU32,
) -> String {
    let mut text = nonce(run_nonce, scenario, index);
    let words: Vec<&str> = TEXT_WORDS.split_whitespace().collect();
    let mut random = ChaCha8Rng::from_seed(digest(&[
        b"text",
        &seed.to_le_bytes(),
        scenario.as_bytes(),
        &index.to_le_bytes(),
    ]));
    let mut left_in_sentence = 0_u32;
    for _ in NONCE_LENGTH..tokens.get() as usize {
        let word = words
            .get(random.random_range(0..words.len()))
            .copied()
            .unwrap_or_default();
        if left_in_sentence == 0 {
            left_in_sentence = random.random_range(6..15);
            text.push_str(". ");
            push_capitalised(&mut text, word);
        } else {
            text.push(' ');
            text.push_str(word);
        }
        left_in_sentence -= 1;
    }
    text.push('.');
    text
}

fn nonce(run_nonce: &str, scenario: &str, index: u32) -> String {
    let words: Vec<&str> = NONCE_WORDS.split_whitespace().collect();
    let bytes = digest(&[
        b"nonce",
        run_nonce.as_bytes(),
        scenario.as_bytes(),
        &index.to_le_bytes(),
    ]);
    let chosen: Vec<&str> = bytes
        .iter()
        .take(NONCE_LENGTH)
        .filter_map(|byte| words.get(usize::from(*byte)).copied())
        .collect();
    chosen.join(" ")
}

fn push_capitalised(text: &mut String, word: &str) {
    let mut letters = word.chars();
    text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
    text.push_str(letters.as_str());
}

/// SHA-256 over the parts, each behind its length so that no two lists of parts look alike.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn words(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    /// The text behind the nonce: eight words of four letters and seven spaces.
    fn behind_nonce(prompt: &str) -> &str {
        prompt.split_at(39).1
    }

    #[test]
    fn the_nonce_alphabet_has_a_word_for_each_byte() {
        let all: Vec<&str> = NONCE_WORDS.split_whitespace().collect();
        assert_eq!(all.len(), 256);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 256);
        assert!(all.iter().all(|word| word.len() == 4));
    }

    #[test]
    fn another_run_changes_the_nonce_and_nothing_else() {
        let first = prompt(7, "run-a", "throughput", 3, words(100));
        let again = prompt(7, "run-a", "throughput", 3, words(100));
        let other = prompt(7, "run-b", "throughput", 3, words(100));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert_eq!(first.len(), other.len());
        assert_eq!(behind_nonce(&first), behind_nonce(&other));
    }

    #[test]
    fn seed_scenario_and_index_each_change_the_text() {
        let base = prompt(7, "run", "throughput", 3, words(60));
        for other in [
            prompt(8, "run", "throughput", 3, words(60)),
            prompt(7, "run", "latency", 3, words(60)),
            prompt(7, "run", "throughput", 4, words(60)),
        ] {
            assert_ne!(behind_nonce(&base), behind_nonce(&other));
        }
    }

    #[test]
    fn nonces_are_unique_over_runs_scenarios_and_positions() {
        let mut seen = BTreeSet::new();
        for run in ["a", "b"] {
            for scenario in ["batch_inference/c1", "batch_inference/c8"] {
                for index in 0..500 {
                    assert!(seen.insert(nonce(run, scenario, index)));
                }
            }
        }
        // Neither is a part's end mistaken for the next one's beginning.
        assert_ne!(nonce("ab", "c", 0), nonce("a", "bc", 0));
    }

    #[test]
    fn a_prompt_has_the_asked_number_of_words() {
        for count in [8, 9, 32, 500] {
            let text = prompt(1, "run", "latency", 0, words(count));
            assert_eq!(text.split_whitespace().count(), count as usize);
        }
        let shortest = prompt(1, "run", "latency", 0, words(1));
        assert_eq!(shortest.split_whitespace().count(), NONCE_LENGTH);
    }

    #[test]
    fn the_text_is_the_same_on_every_platform() {
        let text = prompt(42, "fixed", "latency", 0, words(14));
        assert_eq!(
            text,
            "true hang mark acid soon silk post milk. Over change head few them you."
        );
    }
}
