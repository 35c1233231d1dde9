//! Exact lengths with the real algorithms, on vocabularies so small that they cut words.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use kitt_action::{
    plan::{ApiPath, Prompt, Slot},
    workload::{Lengths, TokenCounter, Workload, WorkloadError, WorkloadSpec},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokenizers::{
    Tokenizer,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainerBuilder},
        unigram::{Unigram, UnigramTrainer},
        wordpiece::{WordPiece, WordPieceTrainerBuilder},
    },
    normalizers::{NormalizerWrapper, Prepend, Replace, Sequence},
    pre_tokenizers::{
        byte_level::ByteLevel,
        metaspace::{Metaspace, PrependScheme},
        whitespace::Whitespace,
    },
};

use super::{jobs, scenario, shared, slots, text, texts, tokens, uniform, with_api, workload};

const CORPUS: &str = "the time of the people and the way to work in a good world that is \
    all they have from day to day and with one new look at life there was more than some could \
    make before the long night came back down through the old house where no one had been for \
    a year of quiet summer and simple music in the garden by the river under the bridge";

/// A tokenizer in a file, and the same one to count with.
struct Case {
    name: &'static str,
    tokenizer: Tokenizer,
    counter: TokenCounter,
}

impl Case {
    fn new(name: &'static str, tokenizer: &Tokenizer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        tokenizer.save(&path, true).unwrap();
        // What is counted with was read from the same file.
        let tokenizer = Tokenizer::from_file(&path).unwrap();
        Self {
            name,
            tokenizer,
            counter: TokenCounter::local(&path).unwrap(),
        }
    }

    fn count(&self, text: &str) -> u32 {
        let encoding = self.tokenizer.encode(text, false).unwrap();
        u32::try_from(encoding.len()).unwrap()
    }
}

fn trained(mut tokenizer: Tokenizer, trainer: impl Into<TrainerWrapper>) -> Tokenizer {
    let mut trainer = trainer.into();
    // Sentences of other orders, so that no single one is learned by heart.
    let words: Vec<&str> = CORPUS.split_whitespace().collect();
    let sentences = (0..40).map(|n| {
        let word = |k: usize| words[(n * 7 + k * (n % 5 + 1)) % words.len()];
        (0..30).map(word).collect::<Vec<_>>().join(" ")
    });
    tokenizer.train(&mut trainer, sentences).unwrap();
    tokenizer
}

fn letters() -> HashSet<char> {
    ('a'..='z').collect()
}

fn byte_level() -> Case {
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
    let trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(310)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    Case::new("byte-level BPE", &trained(tokenizer, trainer))
}

fn unigram() -> Case {
    let mut tokenizer = Tokenizer::new(Unigram::default());
    tokenizer.with_pre_tokenizer(Some(Metaspace::new('▁', PrependScheme::Always, true)));
    let trainer = UnigramTrainer::builder()
        .show_progress(false)
        .vocab_size(90)
        .initial_alphabet(letters().into_iter().collect())
        .unk_token(Some("<unk>".to_owned()))
        .special_tokens(vec![tokenizers::AddedToken::from("<unk>", true)])
        .build()
        .unwrap();
    Case::new("Unigram", &trained(tokenizer, trainer))
}

fn word_piece() -> Case {
    let unknown = "[UNK]".to_owned();
    let model = WordPiece::builder().unk_token(unknown.clone()).build();
    let mut tokenizer = Tokenizer::new(model.unwrap());
    tokenizer.with_pre_tokenizer(Some(Whitespace {}));
    let trainer = WordPieceTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(120)
        .initial_alphabet(letters())
        .special_tokens(vec![tokenizers::AddedToken::from(unknown, true)])
        .build();
    Case::new("WordPiece", &trained(tokenizer, trainer))
}

/// Nothing cuts the text beforehand: merges go over words, as with `SentencePiece` without
/// `split_by_whitespace` and with "superword" vocabularies.
fn over_words() -> Case {
    let mut tokenizer = Tokenizer::new(BPE::default());
    let steps: Vec<NormalizerWrapper> = vec![
        Prepend::new("▁".to_owned()).into(),
        Replace::new(" ", "▁").unwrap().into(),
    ];
    tokenizer
        .with_normalizer(Some(Sequence::new(steps)))
        .unwrap();
    let trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(160)
        .initial_alphabet(letters())
        .build();
    Case::new("BPE over words", &trained(tokenizer, trainer))
}

static CASES: LazyLock<Vec<Case>> =
    LazyLock::new(|| vec![byte_level(), unigram(), word_piece(), over_words()]);

/// A byte-level vocabulary of whole words, as large models have, small enough for a test.
fn whole_words(words: &BTreeSet<&str>, ignore_merges: bool) -> Value {
    let mut vocab: Vec<String> = ByteLevel::alphabet()
        .iter()
        .map(ToString::to_string)
        .collect();
    vocab.sort();
    vocab.extend(
        words
            .iter()
            .flat_map(|word| [(*word).to_owned(), format!("Ġ{word}")]),
    );
    vocab.dedup();
    let vocab: serde_json::Map<String, Value> = vocab
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .enumerate()
        .map(|(id, token)| (token, json!(id)))
        .collect();
    json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0 },
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": null,
        "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": ignore_merges, "vocab": vocab, "merges": [],
        },
    })
}

/// The words that prompts are written with.
fn prompt_words() -> Vec<String> {
    let all = workload(&scenario(2_000), &TokenCounter::Words);
    let jobs = jobs(&all, "words", 40);
    let words = jobs.iter().flat_map(|job| text(job).split(' '));
    let words: BTreeSet<String> = words.map(str::to_owned).collect();
    words.into_iter().collect()
}

fn written(file: &Value) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, file.to_string()).unwrap();
    (folder, path)
}

#[test]
fn small_vocabularies_cut_words() {
    // Otherwise the other tests would prove nothing.
    let text = "government kitchen important";
    for case in CASES.iter() {
        assert!(case.count(text) > 3, "{}: {}", case.name, case.count(text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_length_is_exact(
        length in prop_oneof![1_u32..12, 1_u32..2_000],
        phase in "[a-z]{1,8}",
        share in prop_oneof![Just(0.0), 0.0..=1.0],
    ) {
        for case in CASES.iter() {
            let scenario = shared(scenario(length), share);
            let made = workload(&scenario, &case.counter);
            let made = jobs(&made, &phase, 3);
            prop_assert_eq!(made.len(), 3, "{}", case.name);
            for job in &made {
                let (text, request) = (text(job), &job.turns[0]);
                prop_assert_eq!(case.count(text), length, "{}: {}", case.name, text);
                prop_assert_eq!(request.input_tokens, Some(length));
                prop_assert_eq!(request.output_tokens.unwrap().get(), 5);
            }
        }
    }
}

#[test]
fn only_the_nonce_differs_between_phases() {
    for case in CASES.iter().take(3) {
        let made = workload(&scenario(300), &case.counter);
        let (first, again, other) = (
            jobs(&made, "a", 20),
            jobs(&made, "a", 20),
            jobs(&made, "b", 20),
        );
        assert_eq!(first, again, "{}", case.name);
        for (a, b) in texts(&first).into_iter().zip(texts(&other)) {
            let (a, b): (Vec<&str>, Vec<&str>) = (a.split(' ').collect(), b.split(' ').collect());
            assert_eq!(a.len(), b.len(), "{}", case.name);
            let differing = (0..a.len()).filter(|&place| a[place] != b[place]);
            let last = differing.max().unwrap();
            assert!(last < 64, "{}: words differ up to {last}", case.name);
        }
    }
}

#[test]
fn nonces_are_different_tokens() {
    for case in CASES.iter() {
        let made = workload(&scenario(200), &case.counter);
        let mut seen = BTreeSet::new();
        for phase in ["a", "b"] {
            for job in jobs(&made, phase, 100) {
                let ids =
                    case.tokenizer.encode(text(&job), false).unwrap().get_ids()[..100].to_vec();
                assert!(seen.insert(ids), "{}: {}", case.name, text(&job));
            }
        }
    }
}

#[test]
fn the_shared_part_is_the_same_in_all_and_the_rest_is_not() {
    let case = &CASES[0];
    let made = workload(&shared(scenario(400), 0.5), &case.counter);
    let ids = |job: &kitt_action::plan::Job| {
        case.tokenizer
            .encode(text(job), false)
            .unwrap()
            .get_ids()
            .to_vec()
    };
    let mut all: Vec<Vec<u32>> = jobs(&made, "a", 5).iter().map(ids).collect();
    all.extend(jobs(&made, "b", 5).iter().map(ids));
    for pair in all.windows(2) {
        let same = pair[0]
            .iter()
            .zip(&pair[1])
            .take_while(|(a, b)| a == b)
            .count();
        // Half of 400, and at most a few tokens where the next words happen to begin alike.
        assert!((200..210).contains(&same), "{same}");
    }
    let none = workload(&shared(scenario(400), 1.0), &case.counter);
    let all = jobs(&none, "a", 2);
    assert_eq!(text(&all[0]), text(&all[1]));
}

#[test]
fn conversations_are_counted_in_all_messages() {
    let mut scenario = scenario(40);
    scenario.turns = tokens(3);
    scenario.think = std::time::Duration::from_millis(10);
    for case in CASES.iter() {
        let chat = jobs(&workload(&scenario, &case.counter), "a", 2);
        for (place, request) in chat.iter().flat_map(|job| &job.turns).enumerate() {
            assert_eq!(request.index as usize, place);
            let turn = u32::try_from(place % 3).unwrap();
            // Each turn adds an answer of 5 and a question of 40.
            assert_eq!(request.input_tokens, Some(40 + turn * 45));
            assert_eq!(request.think.is_zero(), turn == 0);
            if let Prompt::Messages(messages) = &request.prompt {
                assert_eq!(messages.len(), 2 * turn as usize + 1);
                let counted: u32 = messages.iter().map(|one| case.count(&one.content)).sum();
                assert_eq!(request.input_tokens, Some(counted), "{}", case.name);
                assert_eq!(messages[1].role, "assistant");
            }
        }
        let made = with_api(&scenario, &case.counter, ApiPath::Completions);
        for request in jobs(&made, "a", 2).iter().flat_map(|job| &job.turns) {
            let Prompt::Text(text) = &request.prompt else {
                panic!("completions know no messages");
            };
            assert_eq!(
                request.input_tokens,
                Some(case.count(text)),
                "{}",
                case.name
            );
        }
    }
}

#[test]
fn drawn_lengths_are_exact_and_the_same_in_every_phase() {
    let case = &CASES[0];
    let made = workload(&uniform(scenario(1), 10, 90), &case.counter);
    let lengths = |phase| -> Vec<u32> {
        let jobs = jobs(&made, phase, 50);
        jobs.iter().map(|job| case.count(text(job))).collect()
    };
    let all = lengths("a");
    assert_eq!(all, lengths("b"));
    assert!(all.iter().all(|length| (10..=90).contains(length)));
    assert!(all.iter().collect::<BTreeSet<_>>().len() > 20);
}

#[test]
fn what_a_trace_says_wins() {
    let case = &CASES[0];
    let made = workload(&scenario(50), &case.counter);
    let slot = |input, blocks: &[u64]| Slot {
        input_tokens: Some(tokens(input)),
        output_tokens: Some(tokens(9)),
        due: Some(std::time::Duration::from_secs(1)),
        blocks: Some(blocks.into()),
        session: None,
    };
    let all = vec![
        slot(1_200, &[1, 2, 3]),
        slot(1_300, &[1, 2, 4]),
        slot(600, &[5, 2]),
    ];
    let made = slots(&made, "a", all);
    let lengths: Vec<u32> = made.iter().map(|job| case.count(text(job))).collect();
    assert_eq!(lengths, [1_200, 1_300, 600]);
    assert_eq!(made[0].turns[0].output_tokens, Some(tokens(9)));
    assert_eq!(made[0].due, Some(std::time::Duration::from_secs(1)));
    let ids = |place: usize| {
        case.tokenizer
            .encode(text(&made[place]), false)
            .unwrap()
            .get_ids()
            .to_vec()
    };
    let same = |a: usize, b: usize| {
        ids(a)
            .iter()
            .zip(ids(b))
            .take_while(|(a, b)| *a == b)
            .count()
    };
    // Two blocks of 512 in common.
    assert!((1_024..1_034).contains(&same(0, 1)), "{}", same(0, 1));
    assert!(same(0, 2) < 10);
}

#[test]
fn requests_of_a_recorded_conversation_begin_alike() {
    let made = workload(&scenario(50), &TokenCounter::Words);
    let slot = |input, session| Slot {
        input_tokens: Some(tokens(input)),
        session,
        ..Slot::default()
    };
    let all = slots(
        &made,
        "a",
        vec![slot(50, Some(7)), slot(90, Some(7)), slot(90, Some(8))],
    );
    assert!(text(&all[1]).starts_with(text(&all[0])));
    assert!(!text(&all[2]).starts_with(text(&all[0])));
}

#[tokio::test]
async fn a_vocabulary_of_whole_words_is_guessed_and_the_guess_holds() {
    let words = prompt_words();
    let words: BTreeSet<&str> = words.iter().map(String::as_str).collect();
    let (_folder, path) = written(&whole_words(&words, true));
    let counter = TokenCounter::local(&path).unwrap();
    let made = workload(&scenario(128), &counter);
    // Before and after the tokenizer is ready: the same prompts.
    let before = jobs(&made, "a", 200);
    assert_eq!(made.check().await.unwrap(), Lengths::Exact);
    assert_eq!(before, jobs(&made, "a", 200));
    let tokenizer = {
        let mut tokenizer = Tokenizer::from_file(&path).unwrap();
        tokenizer.with_truncation(None).unwrap();
        tokenizer
    };
    for job in &before {
        assert_eq!(tokenizer.encode(text(job), false).unwrap().len(), 128);
    }
    let facts = made.facts();
    assert!(
        facts.tokens.starts_with("tokenizer.json sha256:"),
        "{facts:?}"
    );
    assert!(facts.counted >= 8 && facts.wrong == 0, "{facts:?}");
}

#[tokio::test]
async fn a_wrong_guess_is_told_and_put_right() {
    // Whole words are in the vocabulary, but no merge leads to them.
    let words = prompt_words();
    let words: BTreeSet<&str> = words.iter().map(String::as_str).collect();
    let (_folder, path) = written(&whole_words(&words, false));
    let counter = TokenCounter::local(&path).unwrap();
    let made = workload(&scenario(128), &counter);
    drop(jobs(&made, "a", 1));
    // The tokenizer may have been ready already.
    let first = made.check().await.unwrap();
    assert!(
        matches!(first, Lengths::Guessed | Lengths::Exact),
        "{first:?}"
    );
    let after = jobs(&made, "a", 3);
    assert_eq!(made.check().await.unwrap(), Lengths::Exact);
    let mut tokenizer = Tokenizer::from_file(&path).unwrap();
    tokenizer.with_truncation(None).unwrap();
    for job in &after {
        assert_eq!(tokenizer.encode(text(job), false).unwrap().len(), 128);
    }
}

#[test]
fn a_length_that_cannot_be_written_names_the_closest() {
    // Every letter is two bytes, so that every text has an even number of tokens.
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": { "type": "Replace", "pattern": { "Regex": "[^ ]" }, "content": "xx" },
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "post_processor": null, "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": { "x": 0 }, "merges": [],
        },
    });
    let (_folder, path) = written(&file);
    let prepare = |length| {
        Workload::prepare(WorkloadSpec {
            scenario: &scenario(length),
            seed: 1,
            api: ApiPath::Chat,
            tokens: TokenCounter::local(&path).unwrap(),
            dataset: None,
        })
    };
    assert!(prepare(12).is_ok());
    let error = prepare(13).unwrap_err();
    let WorkloadError::NoExactText {
        wanted: 13,
        closest,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(closest, 12);
}

#[test]
fn files_that_are_no_tokenizers_are_refused() {
    let refused = |content: &str| {
        let (_folder, path) = written(&Value::Null);
        std::fs::write(&path, content).unwrap();
        TokenCounter::local(&path).unwrap_err().to_string()
    };
    for content in ["", "{}", "hello", "[1]"] {
        let message = refused(content);
        assert!(
            message.contains("give the tokenizer.json of the served model"),
            "{message}"
        );
    }
    let missing = TokenCounter::local(Path::new("/nowhere/tokenizer.json")).unwrap_err();
    assert!(
        missing.to_string().contains("/nowhere/tokenizer.json"),
        "{missing}"
    );
}

#[test]
fn a_vocabulary_without_a_tokenizer_is_found_out() {
    // It looks like one, but the library cannot build it.
    let (_folder, path) = written(&json!({ "model": { "type": "BPE", "vocab": { "a": 0 } } }));
    let error = Workload::prepare(WorkloadSpec {
        scenario: &scenario(10),
        seed: 1,
        api: ApiPath::Chat,
        tokens: TokenCounter::local(&path).unwrap(),
        dataset: None,
    });
    assert!(
        matches!(error, Err(WorkloadError::Tokenizer { .. })),
        "{error:?}"
    );
}
