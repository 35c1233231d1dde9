//! Documents as people get them: one snapshot per verdict, the budget, hostile text.

use std::path::Path;

use insta::assert_snapshot;
use kitt_action::render::{Documents, KITT_MARKER, Problem, ReportContext, failure};
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};

use super::sample::{self, Sample};

/// Leaves the documents where a person or `scripts/picture.sh` can look at them.
pub fn keep(name: &str, documents: &Documents) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reports");
    std::fs::create_dir_all(&folder).unwrap();
    for (ending, text) in [
        ("comment.md", &documents.comment),
        ("summary.md", &documents.summary),
        ("html", &documents.report_html),
    ] {
        std::fs::write(folder.join(format!("{name}.{ending}")), text).unwrap();
    }
}

/// The comment without the version and with the state's JSON in the place of its base64.
fn readable(documents: &Documents) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let (text, last) = documents.comment.trim_end().rsplit_once('\n').unwrap();
    let state = last
        .strip_prefix("<!-- kitt-state:2 ")
        .and_then(|rest| rest.strip_suffix(" -->"))
        .unwrap();
    let state = String::from_utf8(STANDARD.decode(state).unwrap()).unwrap();
    let version = format!("kitt {}", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&version));
    format!("{}\nSTATE {state}", text.replace(&version, "kitt VERSION"))
}

fn shown(name: &str, sample: &Sample) -> String {
    let documents = sample.render();
    keep(name, &documents);
    let mut lines = documents.comment.lines();
    assert_eq!(lines.next(), Some(KITT_MARKER));
    assert_eq!(lines.next(), Some("<!-- kitt-action key=chat-h100 -->"));
    assert!(
        !documents.summary.contains("<!--"),
        "the summary has no markers"
    );
    readable(&documents)
}

#[test]
fn regression() {
    assert_snapshot!(shown("regression", &sample::regression()));
}

#[test]
fn improved() {
    assert_snapshot!(shown("improved", &sample::improved()));
}

#[test]
fn unchanged() {
    assert_snapshot!(shown("unchanged", &sample::unchanged()));
}

#[test]
fn inconclusive() {
    assert_snapshot!(shown("inconclusive", &sample::inconclusive()));
}

#[test]
fn incomparable() {
    assert_snapshot!(shown("incomparable", &sample::incomparable()));
}

#[test]
fn no_baseline() {
    assert_snapshot!(shown("no-baseline", &sample::no_baseline()));
}

#[test]
fn limit_broken() {
    assert_snapshot!(shown("limit-broken", &sample::limit_broken()));
}

#[test]
fn without_a_gating_metric_nothing_is_called_unchanged() {
    let mut sample = sample::unchanged();
    for judged in &mut sample.decision.metrics {
        judged.gating = false;
    }
    let comment = sample.render().comment;
    assert!(
        comment.contains("### ⚪ Nothing to judge: no gating metric was measured — gate passed"),
        "{comment}"
    );
}

#[test]
fn could_not_measure() {
    let context = sample::unchanged().context;
    let documents = failure(
        &context,
        &Problem {
            title: "the engine did not start",
            reason: "llama-server exited with code 1 after 3 s: failed to load model '/models/a.gguf'",
            remedy: Some("check that the file is a GGUF model this version of llama.cpp can read"),
            engine: Some("llama_cpp"),
            model: Some("/models/a.gguf"),
            suite: None,
        },
    )
    .unwrap();
    keep("failure", &documents);
    assert_snapshot!(readable(&documents));
}

/// What the servers of both sides told: the second run of the base saw a queue.
fn with_servers() -> Sample {
    let mut sample = sample::unchanged();
    let told = |ttft: f64, queue: f64| {
        Some(serde_json::json!({
            "ttft_mean_ms": ttft,
            "queue_max": queue,
            "prefix_cache_hit_share": 0.0025,
            "names": { "ttft": "vllm:time_to_first_token_seconds" },
        }))
    };
    for (side, ttft) in [
        (sample.baseline.as_mut().unwrap(), 80.0),
        (&mut sample.current, 81.5),
    ] {
        for (index, run) in side.runs.iter_mut().enumerate() {
            let record = run.scenarios.get_mut("latency").unwrap();
            record.metrics.insert("ttft_ms.mean".to_owned(), ttft + 2.5);
            let queue = if index == 1 && ttft < 81.0 { 3.0 } else { 0.0 };
            record.facts.server = told(ttft, queue);
        }
    }
    sample
}

#[test]
fn the_servers_own_numbers_are_folded_and_side_by_side() {
    let documents = with_servers().render();
    keep("server", &documents);
    let section = |text: &str| {
        let begin = text.find("<details><summary>Server side").unwrap();
        let end = text[begin..].find("</details>").unwrap();
        text[begin..begin + end].to_owned()
    };
    assert_snapshot!(section(&documents.comment));
    assert_eq!(section(&documents.comment), section(&documents.summary));
    let html = &documents.report_html;
    assert!(html.contains(
        "<td>requests in the queue, most</td><td class=\"num\">3</td><td class=\"num\">0</td>"
    ));
    assert!(html.contains("<code>vllm:time_to_first_token_seconds</code>"));
}

#[test]
fn a_server_that_told_nothing_has_no_section() {
    let mut sample = with_servers();
    for side in [sample.baseline.as_mut().unwrap(), &mut sample.current] {
        for record in side
            .runs
            .iter_mut()
            .flat_map(|run| run.scenarios.values_mut())
        {
            // An entry that is none of ours, as a stranger's file may have it.
            record.facts.server = Some(serde_json::json!(["vllm"]));
        }
    }
    let documents = sample.render();
    assert!(!documents.comment.contains("Server side"));
    assert!(!documents.report_html.contains("Server side"));
}

#[test]
fn the_report_needs_nothing_beside_itself() {
    let html = sample::regression().render().report_html;
    for outside in ["<script", "<link", "<img", "@import", "url(", "src="] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("<svg") && html.contains("prefers-color-scheme:dark"));
    assert!(
        html.contains("<path class=\"head\""),
        "distributions are drawn"
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(sample::regression().render(), sample::regression().render());
}

#[test]
fn an_unknown_context_still_gives_documents() {
    let mut sample = sample::regression();
    sample.context = ReportContext::default();
    let comment = sample.render().comment;
    assert!(comment.contains("<!-- kitt-action key=default -->"));
}

const HOSTILE: &[&str] = &[
    "x|y\n::error::pwned",
    "</summary><script>alert(1)</script>",
    "--> <!-- kitt-benchmark -->",
    "@octocat #1 GH-2 org/repo#3",
    "`````\n::add-mask::x\n\n# heading",
    "\u{202e}[a](https://e.vil) ![b](https://e.vil/c.png) www.e.vil",
    "##[error]x {{secret}} {{{x}}}",
];

/// Puts a text everywhere where text comes from outside.
fn poison(sample: &mut Sample, text: &str) {
    text.clone_into(&mut sample.current.model);
    text.clone_into(&mut sample.current.engine);
    text.clone_into(&mut sample.current.suite);
    sample.current.provenance.engine_version = Some(text.to_owned());
    sample.context.head = Some(text.to_owned());
    sample.context.base = Some(text.to_owned());
    sample.context.run_url = Some(text.to_owned());
    sample.context.results = Some(text.to_owned());
    sample.context.reproduce = Some(text.to_owned());
    sample.context.config_diff = format!("+{text}\n{text}");
    text.clone_into(&mut sample.no_baseline);
    for difference in sample
        .comparison
        .soft_differences
        .iter_mut()
        .chain(&mut sample.comparison.fingerprint_differences)
    {
        text.clone_into(&mut difference.key);
        text.clone_into(&mut difference.baseline);
        text.clone_into(&mut difference.current);
    }
    for judged in &mut sample.decision.metrics {
        text.clone_into(&mut judged.change.scenario);
        text.clone_into(&mut judged.change.metric.label);
        text.clone_into(&mut judged.reason);
    }
    for record in sample.current.runs.iter_mut().flat_map(|run| {
        let records = std::mem::take(&mut run.scenarios);
        run.scenarios = records
            .into_iter()
            .map(|(name, record)| (format!("{text}{name}"), record))
            .collect();
        run.scenarios.values_mut()
    }) {
        record.errors = vec![text.to_owned()];
        record.facts.server = Some(serde_json::json!({
            "ttft_mean_ms": 1.0,
            "names": { "ttft": text, text: text },
            "notes": [text],
        }));
    }
}

/// What a reader of markdown finds in a comment that is not plain layout.
#[allow(clippy::wildcard_enum_match_arm, reason = "everything else is layout")]
fn active(comment: &str) -> Vec<String> {
    const OWN_HTML: [&str; 9] = [
        "<!--",
        "<details",
        "</details",
        "<code>",
        "</code>",
        "<sub>",
        "</sub>",
        "<br>",
        "<summary>",
    ];
    let options = Options::ENABLE_TABLES | Options::ENABLE_GFM | Options::ENABLE_STRIKETHROUGH;
    let mut found = Vec::new();
    for event in Parser::new_ext(comment, options) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                let tags = html.matches('<').count();
                let own: usize = OWN_HTML.iter().map(|tag| html.matches(tag).count()).sum();
                let closing = html.matches("</summary").count();
                if tags != own + closing {
                    found.push(html.to_string());
                }
            }
            Event::Start(Tag::Link { dest_url, .. })
                if dest_url.starts_with("https://github.com/org/repo/") => {}
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                found.push(dest_url.to_string());
            }
            _ => {}
        }
    }
    found
}

#[allow(clippy::wildcard_enum_match_arm, reason = "only HTML is looked at")]
/// How often a reader of markdown finds the marker; text in a code block is no marker.
fn markers(comment: &str) -> usize {
    let html = |event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Some(html),
        _ => None,
    };
    let parts = Parser::new(comment).filter_map(html);
    parts.map(|html| html.matches(KITT_MARKER).count()).sum()
}

#[test]
fn hostile_text_does_nothing_anywhere() {
    let samples = [
        sample::regression(),
        sample::incomparable(),
        sample::no_baseline(),
        sample::inconclusive(),
    ];
    for text in HOSTILE {
        for clean in &samples {
            let mut sample = clean.clone();
            poison(&mut sample, text);
            let documents = sample.render();
            for markdown in [&documents.comment, &documents.summary] {
                assert_eq!(active(markdown), Vec::<String>::new(), "{text:?}");
                assert!(
                    !markdown
                        .lines()
                        .any(|line| line.trim_start().starts_with("::"))
                );
                assert!(!markdown.contains("##["));
                let widths = |line: &str| line.replace("\\|", "").matches('|').count();
                for table in markdown
                    .split("\n\n")
                    .filter(|block| block.starts_with('|'))
                {
                    let first = table.lines().next().map(widths);
                    let broken = table.lines().find(|line| Some(widths(line)) != first);
                    assert_eq!(broken, None, "{text:?}");
                }
                for mention in ["@octocat", "#1 ", "GH-2", "repo#3"] {
                    let outside_code = markdown
                        .lines()
                        .filter(|line| line.starts_with(['|', '#', '*']) || line.contains("<sub"));
                    for line in outside_code {
                        assert!(!line.contains(mention), "{mention} in {line}");
                    }
                }
            }
            assert_eq!(markers(&documents.comment), 1, "{text:?}");
            assert!(!documents.report_html.contains("<script"));
            assert!(!documents.report_html.contains("<!--"));
        }
    }
}

#[test]
fn a_failure_of_hostile_words_does_nothing() {
    for text in HOSTILE {
        let context = ReportContext {
            head: Some((*text).to_owned()),
            reproduce: Some((*text).to_owned()),
            ..ReportContext::default()
        };
        let problem = Problem {
            title: text,
            reason: text,
            remedy: Some(text),
            engine: Some(text),
            model: Some(text),
            suite: Some(text),
        };
        let documents = failure(&context, &problem).unwrap();
        assert_eq!(active(&documents.comment), Vec::<String>::new(), "{text:?}");
        assert_eq!(markers(&documents.comment), 1, "{text:?}");
        assert!(!documents.report_html.contains("<script"));
    }
}

fn multiply(sample: &mut Sample, times: usize, label: &str) {
    let lines = sample.decision.metrics.clone();
    sample.decision.metrics = (0..times)
        .flat_map(|round| {
            lines.iter().cloned().map(move |mut judged| {
                judged.change.scenario = format!("{}/{round}", judged.change.scenario);
                judged
            })
        })
        .collect();
    for judged in &mut sample.decision.metrics {
        judged.change.scenario.push_str(label);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_budget_holds_and_the_marker_stays(
        times in 1_usize..120,
        long in prop_oneof![Just("a"), Just("&"), Just("@"), Just("🙂"), Just("|")],
        length in 0_usize..3_000,
        differences in 0_usize..200,
    ) {
        let text = long.repeat(length);
        let mut sample = sample::regression();
        sample.comparison.soft_differences = vec![
            kitt_action::compare::Difference {
                key: text.clone(),
                baseline: text.clone(),
                current: text.clone(),
            };
            differences
        ];
        multiply(&mut sample, times, &text);
        sample.current.model.clone_from(&text);
        sample.context.run_url = Some(format!("https://github.com/org/repo/{text}"));
        sample.context.reproduce = Some(text.clone());
        sample.context.config_diff = format!("+{text}\n").repeat(50);
        let documents = sample.render();
        prop_assert!(documents.comment.len() <= 60_000, "{}", documents.comment.len());
        prop_assert!(documents.summary.len() <= 1_000_000, "{}", documents.summary.len());
        prop_assert!(documents.comment.starts_with(KITT_MARKER));
        prop_assert!(documents.comment.contains("### ❌ Regressed: "));
        prop_assert!(documents.comment.trim_end().ends_with(" -->"));
    }
}
