//! One text at a time in every place of a results file, through reading, comparing, judging and
//! rendering.

use std::{fs, path::Path};

use kitt_action::{
    compare::{self, CompareOptions},
    context::GatePolicy,
    render::{self, Documents, NoBaseline, Problem, ReportContext, ReportInput},
    results::{self, Limits, ResultSet},
    verdict,
};
use serde_json::{Value, json};

use super::{
    corpus,
    readers::{difference, html_shape, markdown_shape, more, references, unseen},
};

/// A word that tries nothing.
const HARMLESS: &str = "plain word";

/// Words that try nothing, each once: equal ones would be said once.
pub fn harmless(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{HARMLESS} {number}"))
        .collect()
}

/// Texts that follow each other into the places of a document.
pub struct Words<'a> {
    texts: &'a [&'a str],
    next: usize,
}

impl<'a> Words<'a> {
    pub fn new(texts: &'a [&'a str], first: usize) -> Self {
        Self { texts, next: first }
    }

    fn next(&mut self) -> String {
        self.next += 1;
        self.texts[self.next % self.texts.len()].to_owned()
    }

    /// As part of a name, which has 200 bytes at most.
    fn part(&mut self) -> String {
        self.next().chars().take(40).collect()
    }
}

/// A `metrics.json` with texts wherever some may stand. `end` is what the sides differ by.
pub fn document(mut words: Words<'_>, end: &str, speed: f64, conditions: &str) -> Value {
    let mut w = || words.next();
    let mut metrics = json!({"output_tps": {"value": speed}, "ttft_ms.p50": {"value": 1e3 / speed},
        "error_rate": {"value": 0.0}});
    metrics[format!("m{}", w().chars().take(40).collect::<String>())] = json!({"value": speed});
    let entry = |run: u32, w: &mut dyn FnMut() -> String| {
        json!({"run": run, "scenario": "latency", "test": w(), "passed": true,
            "errors": [w()], "metrics": metrics, "samples": {"ttft_ms": 200, w(): 1},
            "outcomes": {"ok": 200, w(): 1}, "sent": 200, "ok": 200, "output_tokens_mean": 32.0,
            "input_tokens_mean": 61.5, "validity": "valid", "notes": [w(), w()], "window_s": 30.0,
            "coalesced_share": 0.0, "token_source": w(), "quantile_method": {"ttft_ms": w()},
            "server": {"ttft_mean_ms": 80.0, "names": {"ttft": w()}, w(): w()},
            "gpu": {"source": w(), "findings": [w()], w(): w()},
            "audit": {w(): w()}})
    };
    let entries = [entry(1, &mut w), entry(2, &mut w)];
    json!({"schema_version": 1, "status": "complete", "kitt_version": w(), "suite_name": w(),
        "timestamp": "2026-01-15T10:30:00+00:00", "engine": w(), "model": w(),
        "total_time_seconds": 12.5,
        "fingerprint": {
            "strict": {"gpu.name": conditions, "engine.name": "e", format!("s{}", w()): w()},
            "soft": {"driver": w(), "same": w(), "other": format!("{}{end}", w()),
                format!("k{}", w()): format!("{}{end}", w())}},
        "provenance": {"kitt_version": w(), "image": w(), "image_digest": w(),
            "engine_version": w(), "engine_args": [w(), w()], "commit": w(), "git_ref": w(),
            "event": w(), "run_url": w(), "telemetry": w(), "tokenizer": w()},
        "measurements": entries,
        "search": {w(): w()}, "calibration": {w(): w()}, "results": []})
}

fn read(dir: &Path, document: &Value) -> ResultSet {
    let path = dir.join("metrics.json");
    fs::write(&path, document.to_string()).unwrap();
    results::read(&path, &Limits::default()).unwrap()
}

/// The documents of comparisons in which everything that can say something says one of the texts.
fn reports(texts: &[&str], first: usize) -> Vec<(&'static str, Documents)> {
    let dir = tempfile::tempdir().unwrap();
    let side = |end: &str, speed: f64, conditions: &str| {
        let words = Words::new(texts, first);
        read(dir.path(), &document(words, end, speed, conditions))
    };
    let mut words = Words::new(texts, first);
    let current = side("2", 50.0, "H100");
    let base = side("", 100.0, "H100");
    let drifted = side("", 100.0, &words.next());
    let config = |end: &str| {
        let mut words = Words::new(texts, first + 1);
        json!({"model": words.next() + end, "args": [words.next()],
            format!("k{}", words.part()): words.next() + end})
    };
    let context = ReportContext {
        head: Some(words.next()),
        results: Some(format!("artifact {}", words.next())),
        updated: words.next(),
        reproduce: Some(words.next()),
        origin: Some(words.next()),
        config_diff: compare::config_diff(&config(""), &config("2")),
        ..ReportContext::default()
    };
    let (warning, why) = (words.next(), words.next());
    let report = |baseline: Result<&ResultSet, &str>| {
        let base = baseline.ok();
        let comparison = compare::compare(base, &current, &CompareOptions::default()).unwrap();
        let policy = GatePolicy {
            gate: true,
            ..GatePolicy::default()
        };
        let mut decision = verdict::decide(&comparison, &current, base, &policy).unwrap();
        decision.warnings.push(warning.clone());
        render::render(&ReportInput {
            decision: &decision,
            comparison: &comparison,
            current: &current,
            baseline: baseline.map_err(NoBaseline),
            pairs: None,
            context: &context,
        })
        .unwrap()
    };
    let mut all = vec![
        ("regressed", report(Ok(&base))),
        ("drifted", report(Ok(&drifted))),
        ("first", report(Err(&why))),
    ];
    let (title, reason, remedy) = (words.next(), words.next(), words.next());
    let (engine, model, suite) = (words.next(), words.next(), words.next());
    let problem = Problem {
        title: &title,
        reason: &reason,
        remedy: Some(&remedy),
        engine: Some(&engine),
        model: Some(&model),
        suite: Some(&suite),
    };
    all.push(("failure", render::failure(&context, &problem).unwrap()));
    all
}

/// What got through, if anything. Where nothing is to be seen of a text, less may be there.
fn faults(
    plain: &[(&'static str, Documents)],
    texts: &[&str],
    first: usize,
    seen: bool,
) -> Vec<String> {
    let compare = if seen { difference } else { more };
    let mut faults = Vec::new();
    for ((name, plain), (_, hostile)) in plain.iter().zip(&reports(texts, first)) {
        for (kind, plain, hostile) in [
            ("comment", &plain.comment, &hostile.comment),
            ("summary", &plain.summary, &hostile.summary),
        ] {
            let mut found = compare(&markdown_shape(plain), &markdown_shape(hostile));
            let known = references(plain);
            found.extend(references(hostile).difference(&known).cloned());
            if unseen(hostile).iter().any(|c| *c != '\u{200d}') {
                found.push(format!("unseen characters: {:?}", unseen(hostile)));
            }
            faults.extend(found.iter().map(|fault| format!("{name} {kind}: {fault}")));
        }
        let found = compare(
            &html_shape(&plain.report_html),
            &html_shape(&hostile.report_html),
        );
        faults.extend(found.iter().map(|fault| format!("{name} html: {fault}")));
        assert!(hostile.comment.len() < 60_000 && hostile.report_html.len() < 4_000_000);
    }
    faults
}

/// Texts in one document.
const TOGETHER: usize = 16;

/// Whether anything of a text is to be seen.
fn is_seen(text: &&str) -> bool {
    !render::markdown(text)
        .trim_matches(['\u{200d}', ' '])
        .is_empty()
}

fn stays_text(first: usize) {
    let texts: Vec<&str> = corpus().iter().map(|one| one.text.as_str()).collect();
    let (seen, unseen): (Vec<&str>, Vec<&str>) = texts.into_iter().partition(is_seen);
    let plain = harmless(TOGETHER);
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    let plain = reports(&plain, first);
    let mut wrong = Vec::new();
    for (texts, seen) in [(seen, true), (unseen, false)] {
        for texts in texts.chunks(TOGETHER) {
            let found = faults(&plain, texts, first, seen);
            if !found.is_empty() {
                let short = |text: &&str| text.chars().take(40).collect::<String>();
                let texts: Vec<String> = texts.iter().map(short).collect();
                wrong.push(format!("{texts:?}\n  {}", found.join("\n  ")));
            }
        }
    }
    let shown: String = wrong.join("\n").chars().take(8_000).collect();
    assert!(
        wrong.is_empty(),
        "{} groups got through:\n{shown}",
        wrong.len()
    );
}

/// Each text alone in every place that a line of markdown has for one.
#[test]
fn each_text_alone_stays_text_in_every_block() {
    let places: [fn(&str) -> String; 6] = [
        |text| format!("a\n\n{text}\n\nb\n"),
        |text| format!("| a | b |\n|---|---|\n| {text} | c |\n\nd\n"),
        |text| format!("> [!WARNING]\n> {text}\n\nb\n"),
        |text| format!("- {text}\n- b\n"),
        |text| format!("**a**: {text}, {text} <sub>{text}</sub>\n"),
        |text| format!("### a {text} b\n\n<details><summary>a</summary>\n\n{text}\n\n</details>\n"),
    ];
    let html = |text: &str| {
        format!(
            "<p title=\"{text}\" lang='{text}'>{text}</p><code>{text}</code><svg><text>{text}</text></svg>"
        )
    };
    for one in corpus() {
        let safe = render::markdown(&one.text);
        for place in places {
            let (plain, hostile) = (place(HARMLESS), place(&safe));
            let compare = if is_seen(&one.text.as_str()) {
                difference
            } else {
                more
            };
            let mut found = compare(&markdown_shape(&plain), &markdown_shape(&hostile));
            found.extend(references(&hostile));
            assert_eq!(
                found,
                Vec::<String>::new(),
                "{:.80?} as {hostile:.200?}",
                one.text
            );
        }
        let hostile = html_shape(&html(&render::html(&one.text)));
        let elements: usize = hostile.values().sum();
        let expected: usize = html_shape(&html("x")).values().sum();
        assert_eq!(elements, expected, "{:.80?}: {hostile:?}", one.text);
    }
}

#[test]
fn a_document_of_any_texts_has_the_structure_of_harmless_ones() {
    stays_text(0);
}

/// Every text comes into other places.
#[test]
fn so_has_one_with_the_texts_in_other_places() {
    stays_text(5);
}
