//! Scenario documents: plain lists of numbers in, a verdict out, by the very rules that judge a
//! pull request.
//!
//! In: the bytes of a `kitt-action/scenario/1` document. Out: a [`Document`], or what is wrong
//! with it. [`answer()`] judges it. So anybody can hold kitt's decisions against data whose truth
//! is known.

mod answer;
mod design;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::metric::{Better, Statistic};

pub use answer::{Answer, answer};

/// The name of the format.
const SCHEMA: &str = "kitt-action/scenario/1";

/// One document. What tells the truth about it (`truth`, `scenario`, `id`, `seed`, `family`) is
/// not read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Document {
    schema: Option<String>,
    design: DocumentDesign,
    metric: Option<DocumentMetric>,
    #[serde(default)]
    baseline: Vec<RunValues>,
    #[serde(default)]
    current: Vec<RunValues>,
    order: Option<Vec<Slot>>,
    series: Option<Vec<Option<f64>>>,
    noise: Option<DocumentNoise>,
    fingerprint: Option<Fingerprints>,
    requests: Option<Requests>,
}

/// Per-request values of a run in request order; `null` is no number.
type RunValues = Vec<Option<f64>>;

/// How the numbers were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DocumentDesign {
    Paired,
    History,
    Single,
    Items,
    Series,
}

/// One run's place in the order of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Slot {
    /// A baseline run.
    B,
    /// A current run.
    C,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct DocumentMetric {
    name: String,
    statistic: DocumentStatistic,
    better: Better,
    min_effect: Option<f64>,
    gate_effect: Option<f64>,
    family_size: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DocumentStatistic {
    Mean,
    P50,
    P90,
    P95,
    P99,
    Proportion,
}

impl From<DocumentStatistic> for Statistic {
    fn from(statistic: DocumentStatistic) -> Self {
        match statistic {
            DocumentStatistic::Mean => Self::Mean,
            DocumentStatistic::P50 => Self::P50,
            DocumentStatistic::P90 => Self::P90,
            DocumentStatistic::P95 => Self::P95,
            DocumentStatistic::P99 => Self::P99,
            DocumentStatistic::Proportion => Self::Proportion,
        }
    }
}

/// What is known of the noise: learned from pairs, or declared.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct DocumentNoise {
    log_sd_pair: Option<f64>,
    df: Option<f64>,
    cv_run: Option<f64>,
}

/// The conditions of both sides; any keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Fingerprints {
    baseline: BTreeMap<String, Value>,
    current: BTreeMap<String, Value>,
}

/// Requests of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Requests {
    baseline: Option<RequestCounts>,
    current: Option<RequestCounts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct RequestCounts {
    sent: u64,
    ok: u64,
}

/// Why something is no scenario document, or none that can be judged.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not the JSON it should be.
    #[error("line {line}, column {column}: {key}: {detail}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// Path of the key at fault, `.` at the top.
        key: String,
        /// What was wrong.
        detail: String,
    },
    /// A value that JSON allows and a scenario does not.
    #[error("{key}: {detail}")]
    Value {
        /// The key at fault.
        key: &'static str,
        /// What was wrong and what is allowed.
        detail: String,
    },
    /// The error levels that follow from it have no quantile.
    #[error(transparent)]
    Compare(#[from] crate::compare::CompareError),
}

/// Reads a document.
///
/// # Errors
/// It is no JSON, lacks a key its design needs, or holds a value that makes no sense.
pub fn parse(bytes: &[u8]) -> Result<Document, DocumentError> {
    // A list in the order of the keys would be taken for the object.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|byte| *byte != b'{') {
        return Err(DocumentError::Value {
            key: ".",
            detail: "a scenario is one JSON object".to_owned(),
        });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let document: Document =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let key = error.path().to_string();
            json_error(key, error.inner())
        })?;
    deserializer
        .end()
        .map_err(|error| json_error(".".to_owned(), &error))?;
    check(&document)?;
    Ok(document)
}

fn json_error(key: String, error: &serde_json::Error) -> DocumentError {
    DocumentError::Json {
        line: error.line(),
        column: error.column(),
        key,
        detail: error.to_string(),
    }
}

fn check(document: &Document) -> Result<(), DocumentError> {
    let wrong = |key, detail: &str| {
        Err(DocumentError::Value {
            key,
            detail: detail.to_owned(),
        })
    };
    if document
        .schema
        .as_deref()
        .is_some_and(|name| name != SCHEMA)
    {
        let detail = format!("this kitt reads {SCHEMA}");
        return wrong("schema", &detail);
    }
    if document.design == DocumentDesign::Series {
        return match &document.series {
            Some(_) => Ok(()),
            None => wrong("series", "a series needs its values"),
        };
    }
    let Some(metric) = &document.metric else {
        return wrong("metric", "the design needs a metric");
    };
    let effect = |value: Option<f64>| value.is_none_or(|value| (0.0..10.0).contains(&value));
    if !effect(metric.min_effect) || !effect(metric.gate_effect) {
        return wrong("metric", "effects are shares from 0 up to 10 (0.05 is 5 %)");
    }
    let zone = metric.min_effect.zip(metric.gate_effect);
    if zone.is_some_and(|(min, gate)| min >= gate) {
        return wrong("metric", "min_effect must be below gate_effect");
    }
    if metric.family_size == Some(0) {
        return wrong(
            "metric",
            "family_size counts the gating metrics: at least 1",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_document_says_what_and_where() {
        for (text, says) in [
            ("", "line 1"),
            ("[1]", "one JSON object"),
            ("{}", "missing field `design`"),
            (r#"{"design":"guess"}"#, "unknown variant `guess`"),
            (r#"{"design":"series"}"#, "series: a series needs"),
            (r#"{"design":"paired"}"#, "metric: the design needs"),
            (r#"{"design":"series","series":[1]} x"#, "trailing"),
            (
                r#"{"design":"series","series":[1],"schema":"other/9"}"#,
                "schema: this kitt reads",
            ),
            (
                r#"{"design":"single","metric":{"name":"a","statistic":"p50","better":"lower","min_effect":0.1,"gate_effect":0.05}}"#,
                "below gate_effect",
            ),
            (
                r#"{"design":"paired","metric":{"name":"a","statistic":"p50","better":"lower"},"baseline":[[1,"x"]]}"#,
                "baseline[0][1]",
            ),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_document_or_an_error(text in "[a-z0-9_\\[\\]{}:,\" .-]{0,120}") {
            drop(parse(text.as_bytes()));
        }

        #[test]
        fn any_numbers_are_answered(
            design in prop::sample::select(vec!["paired", "history", "single", "items"]),
            statistic in prop::sample::select(vec!["mean", "p50", "p99", "proportion"]),
            runs in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.95, -1.0..1e3_f64), 0..40), 0..14),
            cut in 0..14_usize,
        ) {
            let (baseline, current) = runs.split_at(cut.min(runs.len()));
            let text = serde_json::json!({
                "design": design, "baseline": baseline, "current": current,
                "metric": {"name": "m", "statistic": statistic, "better": "lower"},
            });
            let document = parse(text.to_string().as_bytes()).unwrap();
            let answer = answer(&document).unwrap();
            let said = serde_json::to_value(&answer).unwrap();
            prop_assert!(said["verdict"].is_string() && said["reason"].is_string());
        }
    }
}
