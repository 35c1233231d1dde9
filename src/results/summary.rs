//! `summary.md` in KITT's layout (`research/kitt-and-engines.md` §1.4). Pure.
//!
//! Every word that comes from outside is escaped: the file may be shown by GitHub.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{
    RunStatus,
    schema_v1::{Document, Entry, KittResult},
};
use crate::measure::Validity;

/// Longest text taken over from data, in characters.
const TEXT_CHARS: usize = 300;

/// KITT lists the first five errors of a test.
const ERRORS: usize = 5;

/// The file's content.
pub(super) fn summary(document: &Document) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _written = write(&mut text, document);
    text
}

fn write(out: &mut String, document: &Document) -> std::fmt::Result {
    let status = match document.status {
        RunStatus::Running => "RUNNING",
        RunStatus::Complete if document.passed => "PASSED",
        RunStatus::Complete | RunStatus::Failed => "FAILED",
        RunStatus::Cancelled => "CANCELLED",
    };
    let time = document.total_time_seconds.unwrap_or_default();
    writeln!(
        out,
        "# KITT Benchmark Results - {}\n",
        escape(&document.suite_name)
    )?;
    writeln!(out, "**Generated:** {}  ", document.timestamp)?;
    writeln!(out, "**Engine:** {}  ", escape(&document.engine))?;
    writeln!(out, "**Model:** {}  ", escape(&document.model))?;
    writeln!(
        out,
        "**Status:** {status} ({}/{})  ",
        document.passed_count, document.total_benchmarks
    )?;
    writeln!(out, "**Total Time:** {time:.1}s\n")?;
    system(out, &document.system_info)?;
    writeln!(out, "## Results\n")?;
    writeln!(out, "| Benchmark | Run | Status | Key Metric |")?;
    writeln!(out, "|-----------|-----|--------|------------|")?;
    for result in &document.results {
        let status = if result.passed { "PASS" } else { "FAIL" };
        writeln!(
            out,
            "| {} | {} | {status} | {} |",
            escape(&result.test_name),
            result.run_number,
            key_metric(&result.metrics)
        )?;
    }
    trust(out, &document.measurements)?;
    writeln!(out, "\n## Detailed Metrics\n")?;
    for result in &document.results {
        details(out, result)?;
    }
    Ok(())
}

fn system(out: &mut String, info: &Value) -> std::fmt::Result {
    writeln!(out, "## System Information\n")?;
    let rows = [
        ("GPU", "/gpu/model"),
        ("GPU count", "/gpu/count"),
        ("GPU memory (GiB)", "/gpu/vram_gb"),
        ("CPU", "/cpu/model"),
        ("Cores", "/cpu/cores"),
        ("RAM (GiB)", "/ram_gb"),
        ("Driver", "/driver_version"),
        ("CUDA", "/cuda_version"),
        ("OS", "/os"),
        ("Environment", "/environment_type"),
    ];
    for (label, pointer) in rows {
        match info.pointer(pointer) {
            None | Some(Value::Null) => {}
            Some(value) => writeln!(out, "- **{label}:** {}", scalar(value))?,
        }
    }
    writeln!(out)
}

/// Whether each scenario's numbers can be trusted, as far as that is known.
fn trust(out: &mut String, entries: &[Entry]) -> std::fmt::Result {
    let mut first = true;
    for entry in entries {
        let known = [
            entry
                .validity
                .map(|validity| validity_text(validity).to_owned()),
            entry.audit.as_ref().and_then(client),
            entry
                .token_source
                .as_deref()
                .map(|source| format!("tokens: {}", escape(source))),
        ];
        let known: Vec<String> = known.into_iter().flatten().collect();
        if known.is_empty() {
            continue;
        }
        if std::mem::take(&mut first) {
            writeln!(out, "\n## Validity\n")?;
        }
        let name = escape(&entry.scenario);
        writeln!(out, "- **{name}**, run {}: {}", entry.run, known.join("; "))?;
    }
    Ok(())
}

/// What the client's audit comes to, in a sentence; `None` when it says nothing.
fn client(audit: &Value) -> Option<String> {
    let number = |pointer: &str| audit.pointer(pointer).and_then(Value::as_f64);
    let parts = [
        number("/late_send_ms/p99").map(|ms| format!("sends {ms:.2} ms late at p99")),
        number("/loop_lag_ms/p99").map(|ms| format!("chunks read {ms:.2} ms late at p99")),
        number("/cpu_share")
            .map(|share| format!("{:.0} % of its threads' time busy", share * 100.0)),
        match audit.pointer("/stamps").and_then(Value::as_str) {
            Some("kernel") => Some("the kernel stamps arrivals".to_owned()),
            Some("user") => Some("the client itself stamps arrivals".to_owned()),
            Some(_) | None => None,
        },
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("client: {}", parts.join(", ")))
}

const fn validity_text(validity: Validity) -> &'static str {
    match validity {
        Validity::Valid => "valid",
        Validity::ClientLimited => "not valid, the client was the limit",
        Validity::ScheduleMissed => "not valid, requests were not sent when due",
        Validity::ServerErrored => "not valid, too many requests failed",
        Validity::GpuInvalid => "not valid, a GPU failed or was not ours alone",
        Validity::Inconclusive => "inconclusive, too little was measured",
    }
}

/// KITT's choice of the number to show.
fn key_metric(metrics: &Map<String, Value>) -> String {
    let number = |name: &str| metrics.get(name).and_then(Value::as_f64);
    if let Some(tps) = number("avg_tps") {
        format!("{tps:.1} tok/s")
    } else if let Some(accuracy) = number("accuracy") {
        format!("{:.1}%", accuracy * 100.0)
    } else if let Some(latency) = number("avg_latency_ms") {
        format!("{latency:.1} ms")
    } else {
        "-".to_owned()
    }
}

fn details(out: &mut String, result: &KittResult) -> std::fmt::Result {
    let name = escape(&result.test_name);
    writeln!(out, "### {name} (Run {})\n", result.run_number)?;
    for (key, value) in &result.metrics {
        match value {
            Value::Object(nested) => {
                writeln!(out, "- **{}:**", escape(key))?;
                for (key, value) in nested {
                    writeln!(out, "  - {}: {}", escape(key), scalar(value))?;
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                writeln!(out, "- **{}:** {}", escape(key), scalar(value))?;
            }
        }
    }
    if let (Some(first), Some(last)) = (result.warmup_times.first(), result.warmup_times.last()) {
        let count = result.warmup_times.len();
        writeln!(
            out,
            "- Warmup: {count} requests, first {first:.3}s, last {last:.3}s"
        )?;
    }
    for error in result.errors.iter().take(ERRORS) {
        writeln!(out, "- Error: {}", escape(error))?;
    }
    writeln!(out)
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => {
            format!("{:.4}", number.as_f64().unwrap_or_default())
        }
        Value::Null => "not measured".to_owned(),
        Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => escape(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
                .as_str(),
        ),
    }
}

/// Text from outside, for one table cell or list item: markdown and HTML lose their meaning,
/// line breaks become spaces, mentions and references do not link, hidden characters go.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let text: String = text.chars().take(TEXT_CHARS).collect();
    // A joiner of no width breaks a link, `@team` and `#123`, which a backslash does not.
    for c in text.replace("://", ":\u{200d}//").chars() {
        match c {
            '\n' | '\r' | '\t' => escaped.push(' '),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '|' | '*' | '_' | '[' | ']' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '@' | '#' => {
                escaped.push(c);
                escaped.push('\u{200d}');
            }
            '\u{200d}' => escaped.push(c),
            c if crate::ids::is_hidden(c) => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_one_harmless_cell() {
        let cell = escape("a|b\n::error::<script>*y* @org #1 \u{202e}`z` https://x.y");
        assert_eq!(
            cell,
            "a\\|b ::error::&lt;script&gt;\\*y\\* @\u{200d}org #\u{200d}1 \\`z\\` https:\u{200d}//x.y"
        );
    }

    #[test]
    fn the_client_is_summed_up_as_far_as_it_is_known() {
        let audit = serde_json::json!({
            "stamps": "kernel", "late_send_ms": {"p99": 0.021}, "loop_lag_ms": {"p99": null},
            "cpu_share": 0.123
        });
        assert_eq!(
            client(&audit).unwrap(),
            "client: sends 0.02 ms late at p99, 12 % of its threads' time busy, the kernel stamps \
             arrivals"
        );
        assert_eq!(
            client(&serde_json::json!({"threads": 2, "stamps": 5})),
            None
        );
        assert_eq!(client(&serde_json::json!([])), None);
    }

    #[test]
    fn the_key_metric_is_kitts() {
        let metrics = |json: Value| json.as_object().unwrap().clone();
        let json = serde_json::json!({"avg_tps": 100.13, "avg_latency_ms": 2560.0});
        assert_eq!(key_metric(&metrics(json)), "100.1 tok/s");
        let json = serde_json::json!({"accuracy": 0.625});
        assert_eq!(key_metric(&metrics(json)), "62.5%");
        assert_eq!(key_metric(&Map::new()), "-");
    }
}
