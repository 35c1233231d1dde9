//! Conversations of a dataset as jobs.

use std::{io::Write, num::NonZeroU32, sync::Arc, time::Duration};

use kitt_action::{
    plan::{ApiPath, Length, Prompt, PromptSource, Scenario, Slot},
    workload::{TokenCounter, Workload, WorkloadError, WorkloadSpec},
};
use serde_json::json;

use super::{jobs, scenario, slots, text, tokens, with_api, workload};

fn dataset(content: &str) -> (tempfile::NamedTempFile, Scenario) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    let mut scenario = scenario(10);
    scenario.prompts = PromptSource::Dataset {
        path: file.path().to_owned(),
        digest: String::new(),
    };
    (file, scenario)
}

const TALK: &str = r#"{"messages": [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"}, {"role": "assistant", "content": "four"},
    {"role": "user", "content": "five"}]}"#;

#[test]
fn questions_stand_behind_a_nonce_in_a_seeded_order() {
    let lines: Vec<String> = (0..30)
        .map(|n| json!({ "prompt": format!("question {n}") }).to_string())
        .collect();
    let lines = lines.join("\n");
    let (_file, scenario) = dataset(&lines);
    let made = workload(&scenario, &TokenCounter::Words);
    let (a, b) = (jobs(&made, "a", 45), jobs(&made, "b", 45));
    let split = |job| -> (String, String) {
        let (nonce, question) = text(job).split_once("\n\n").unwrap();
        (nonce.to_owned(), question.to_owned())
    };
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(split(a).1, split(b).1);
        assert_ne!(split(a).0, split(b).0);
        assert_eq!(split(a).0.split(' ').count(), 8);
        assert_eq!(a.turns[0].input_tokens, None);
        assert_eq!(a.turns[0].output_tokens, NonZeroU32::new(5));
    }
    let mut round: Vec<String> = a.iter().take(30).map(|job| split(job).1).collect();
    assert_ne!(round[0], "question 0");
    round.sort();
    round.dedup();
    assert_eq!(round.len(), 30);
    assert_eq!(made.digest().unwrap().len(), 64);
}

#[test]
fn conversations_go_on_with_the_datasets_own_answers() {
    let (_file, mut scenario) = dataset(&TALK.replace('\n', " "));
    scenario.turns = tokens(2);
    scenario.think = Duration::from_millis(7);
    let all = jobs(&workload(&scenario, &TokenCounter::Words), "a", 2);
    let turns = &all[0].turns;
    assert_eq!(turns.len(), 2);
    let Prompt::Messages(first) = &turns[0].prompt else {
        panic!()
    };
    let Prompt::Messages(second) = &turns[1].prompt else {
        panic!()
    };
    // The nonce stands before everything, the system's message included.
    assert!(first[0].content.ends_with("\n\nbe brief"));
    assert_eq!(
        (first[1].role.as_str(), first[1].content.as_str()),
        ("user", "one")
    );
    assert_eq!(second[..2], first[..]);
    assert_eq!(
        (second[2].role.as_str(), second[2].content.as_str()),
        ("assistant", "two")
    );
    assert_eq!(second[3].content, "three");
    assert_eq!(
        (turns[0].think, turns[1].think),
        (Duration::ZERO, Duration::from_millis(7))
    );
    let indices: Vec<u32> = all
        .iter()
        .flat_map(|job| &job.turns)
        .map(|one| one.index)
        .collect();
    assert_eq!(indices, [0, 1, 2, 3]);

    let made = with_api(&scenario, &TokenCounter::Words, ApiPath::Completions);
    let Prompt::Text(joined) = &jobs(&made, "a", 1)[0].turns[1].prompt else {
        panic!()
    };
    assert!(
        joined.ends_with("\n\nbe brief\n\none\n\ntwo\n\nthree"),
        "{joined}"
    );
}

#[test]
fn a_conversation_is_as_long_as_it_is() {
    let (_file, mut scenario) = dataset(&TALK.replace('\n', " "));
    scenario.turns = tokens(9);
    let all = jobs(&workload(&scenario, &TokenCounter::Words), "a", 1);
    assert_eq!(all[0].turns.len(), 3);
}

#[test]
fn the_datasets_answer_length_wins_over_the_scenario_and_the_traces_over_both() {
    let (_file, mut scenario) = dataset("{\"prompt\": \"a\", \"output_tokens\": 77}\n");
    scenario.output_tokens = Length::fixed(tokens(5));
    let made = workload(&scenario, &TokenCounter::Words);
    let slot = Slot {
        output_tokens: Some(tokens(3)),
        ..Slot::default()
    };
    let all = slots(&made, "a", vec![Slot::default(), slot]);
    let lengths: Vec<u32> = all
        .iter()
        .map(|job| job.turns[0].output_tokens.unwrap().get())
        .collect();
    assert_eq!(lengths, [77, 3]);
}

#[test]
fn a_dataset_is_read_once_and_must_be_the_planned_one() {
    let (file, mut scenario) = dataset("{\"prompt\": \"a\"}\n");
    let first = workload(&scenario, &TokenCounter::Words);
    let prepare = |scenario: &Scenario| {
        Workload::prepare(WorkloadSpec {
            scenario,
            seed: 42,
            api: ApiPath::Chat,
            tokens: TokenCounter::Words,
            dataset: first.dataset(),
        })
    };
    // What is in memory is used even when the file is gone.
    file.close().unwrap();
    let again = prepare(&scenario).unwrap();
    assert!(Arc::ptr_eq(
        &again.dataset().unwrap(),
        &first.dataset().unwrap()
    ));
    let PromptSource::Dataset { digest, .. } = &mut scenario.prompts else {
        panic!()
    };
    "00".clone_into(digest);
    let error = prepare(&scenario).unwrap_err();
    assert!(matches!(error, WorkloadError::Changed { .. }), "{error}");
}

#[test]
fn facts_name_the_file_without_its_folder() {
    let talk =
        json!([{ "conversations": [{ "from": "human", "value": "a" }] }, { "conversations": [] }]);
    let (file, scenario) = dataset(&talk.to_string());
    let facts = workload(&scenario, &TokenCounter::Words).facts();
    let dataset = facts.dataset.unwrap();
    assert_eq!(
        dataset.file,
        file.path().file_name().unwrap().to_str().unwrap()
    );
    assert_eq!((dataset.conversations, dataset.skipped), (1, 1));
    assert_eq!(facts.tokens, "words (estimated)");
}
