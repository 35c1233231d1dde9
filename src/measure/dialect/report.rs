//! A tool's numbers beside ours, and why they differ. Pure.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value};

use super::{Dialect, Run};
use crate::metric::Unit;

/// What a tool would have printed of the requests taken in.
#[derive(Debug, Clone, PartialEq)]
pub struct DialectReport {
    /// Whose numbers these are.
    pub dialect: Dialect,
    /// Requests taken in, stopped ones left out.
    pub requests: u64,
    /// Its numbers, in the order it prints them.
    pub metrics: Vec<DialectMetric>,
    /// What of the tool a trace cannot tell, and how that was met.
    pub limits: Vec<String>,
}

/// One number of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct DialectMetric {
    /// Its key in the tool's result file, nested keys joined by dots.
    pub name: String,
    /// Its value; `None` where the tool gives none either.
    pub value: Option<f64>,
    /// The value's unit.
    pub unit: Unit,
    /// The same thing by our definition.
    pub ours: Ours,
    /// Why the two differ, in a line.
    pub why: &'static str,
}

/// Our number for the same thing.
#[derive(Debug, Clone, PartialEq)]
pub enum Ours {
    /// We have none.
    None,
    /// The metric of that name, times `factor` to be in the tool's unit.
    Metric {
        /// Such as `ttft_ms.p99`; see [`crate::metric`].
        name: String,
        /// 0.001 where the tool counts in seconds.
        factor: f64,
    },
    /// A count that comes from the traces themselves.
    Count(u64),
}

impl Ours {
    fn value(&self, metrics: &BTreeMap<String, f64>) -> Option<f64> {
        match self {
            Self::None => None,
            Self::Metric { name, factor } => Some(metrics.get(name)? * factor),
            Self::Count(count) => Some(*count as f64),
        }
    }
}

impl DialectReport {
    /// The tool's own result file, as far as it goes: dots in a name nest.
    pub fn json(&self) -> Value {
        let mut root = Map::new();
        for metric in &self.metrics {
            let mut place = &mut root;
            let mut parts = metric.name.split('.').peekable();
            while let Some(part) = parts.next() {
                if parts.peek().is_none() {
                    place.insert(part.to_owned(), number(metric));
                    break;
                }
                let inner = place
                    .entry(part.to_owned())
                    .or_insert_with(|| Value::Object(Map::new()));
                let Value::Object(inner) = inner else {
                    break;
                };
                place = inner;
            }
        }
        Value::Object(root)
    }

    /// The number of that name.
    pub fn value(&self, name: &str) -> Option<f64> {
        let found = self.metrics.iter().find(|metric| metric.name == name);
        found?.value
    }

    /// An aligned table for people: its name, its value, ours, and why they differ; below it what
    /// could not be told. `ours` has our metrics of the same scenario.
    pub fn table(&self, ours: &BTreeMap<String, f64>) -> String {
        let mut rows = vec![["metric", self.dialect.name(), "kitt", "why"].map(str::to_owned)];
        let mut said = "";
        for metric in &self.metrics {
            // Statistics of one quantity follow each other and differ for one reason.
            let why = if metric.why == said { "" } else { metric.why };
            said = metric.why;
            rows.push([
                format!("{}{}", metric.name, unit(metric.unit)),
                text(metric.value, metric.unit),
                text(metric.ours.value(ours), metric.unit),
                why.to_owned(),
            ]);
        }
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _written = self.write(&mut out, &rows);
        out
    }

    fn write(&self, out: &mut String, rows: &[[String; 4]]) -> std::fmt::Result {
        let (tool, count) = (self.dialect.tool(), self.requests);
        writeln!(out, "{tool} would say of these {count} requests:\n")?;
        let width = |column: fn(&[String; 4]) -> &String| {
            let widths = rows.iter().map(|row| column(row).chars().count());
            widths.max().unwrap_or_default()
        };
        let (name, theirs, ours) = (
            width(|[name, ..]| name),
            width(|[_, theirs, ..]| theirs),
            width(|[_, _, ours, _]| ours),
        );
        for [metric, value, own, why] in rows {
            let line = format!("{metric:<name$}  {value:>theirs$}  {own:>ours$}  {why}");
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out)?;
        for limit in &self.limits {
            writeln!(out, "- {limit}")?;
        }
        Ok(())
    }
}

fn number(metric: &DialectMetric) -> Value {
    match metric.value {
        // Counts are whole in every tool's file.
        Some(value) if metric.unit == Unit::Count && value.fract() == 0.0 && value.abs() < 1e15 => {
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            let whole = value as i64;
            Value::from(whole)
        }
        Some(value) => Value::from(value),
        None => Value::Null,
    }
}

fn unit(unit: Unit) -> String {
    match serde_json::to_value(unit) {
        Ok(Value::String(unit)) if !unit.is_empty() => format!(" ({unit})"),
        Ok(_) | Err(_) => String::new(),
    }
}

fn text(value: Option<f64>, unit: Unit) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    if unit == Unit::Seconds {
        format!("{value:.4}")
    } else if unit == Unit::Count && value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// What no tool's numbers have and every one's do.
pub(super) fn common_limits(dialect: Dialect, run: &Run) -> Vec<String> {
    let tool = dialect.tool();
    let mut limits = vec![format!(
        "{tool} stamps a chunk when its own loop gets to it; that delay comes on top of these \
         numbers, which rest on kitt's arrival times."
    )];
    if run.forgiven > 0 {
        let count = run.forgiven;
        limits.push(format!(
            "{count} answers count as successes here and as failures to kitt: a stream that \
             broke off with an error, or one without output. kitt stops reading at the error, so \
             what may have come after it is missing."
        ));
    }
    if run.truncated > 0 {
        let count = run.truncated;
        limits.push(format!(
            "{count} answers ended without finish reason or [DONE] and count as failures. Where \
             the connection closed in good order {tool} may take them for successes; a trace does \
             not tell."
        ));
    }
    if run.cancelled > 0 {
        limits.push(format!(
            "{} requests that kitt stopped itself are left out.",
            run.cancelled
        ));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::{super::rows::count, *};

    fn report() -> DialectReport {
        let latency = "latency.ttft";
        DialectReport {
            dialect: Dialect::InferencePerf,
            requests: 3,
            metrics: vec![
                count("count", 3, Ours::Count(2), "errors count as successes"),
                DialectMetric {
                    name: format!("{latency}.mean"),
                    value: Some(0.05),
                    unit: Unit::Seconds,
                    ours: Ours::Metric {
                        name: "ttft_ms.mean".to_owned(),
                        factor: 1e-3,
                    },
                    why: "from the send",
                },
                DialectMetric {
                    name: format!("{latency}.p99"),
                    value: None,
                    unit: Unit::Seconds,
                    ours: Ours::Metric {
                        name: "ttft_ms.p99".to_owned(),
                        factor: 1e-3,
                    },
                    why: "from the send",
                },
            ],
            limits: vec!["no tokenizer".to_owned()],
        }
    }

    #[test]
    fn the_table_is_aligned_and_says_each_reason_once() {
        let ours = BTreeMap::from([("ttft_ms.mean".to_owned(), 60.0)]);
        let wanted = "inference-perf 0.7 would say of these 3 requests:\n\n\
             metric                 inference-perf    kitt  why\n\
             count                               3       2  errors count as successes\n\
             latency.ttft.mean (s)          0.0500  0.0600  from the send\n\
             latency.ttft.p99 (s)                -       -\n\n\
             - no tokenizer\n";
        assert_eq!(report().table(&ours), wanted);
    }

    #[test]
    fn dots_nest_and_counts_are_whole() {
        let wanted = serde_json::json!({
            "count": 3, "latency": {"ttft": {"mean": 0.05, "p99": null}}
        });
        assert_eq!(report().json(), wanted);
        assert_eq!(report().json().to_string().find("3.0"), None);
        assert_eq!(report().value("count"), Some(3.0));
    }
}
