//! What differs between two effective configurations, as people read differences.

use std::collections::BTreeMap;

use serde_json::Value;
use similar::TextDiff;

/// Lines of context around each difference.
const CONTEXT: usize = 3;
/// More lines than this are counted, not shown.
const MAX_LINES: usize = 200;
/// Longer lines are cut: a prompt or an argument list may be a megabyte.
const MAX_LINE_CHARS: usize = 300;

/// Unified difference of two JSON values, pretty-printed with sorted keys; empty when they are
/// equal. At most 200 lines of at most 300 characters, and one that counts what was left out.
pub fn config_diff(baseline: &Value, current: &Value) -> String {
    let (baseline, current) = (pretty(baseline), pretty(current));
    let diff = TextDiff::from_lines(&baseline, &current)
        .unified_diff()
        .context_radius(CONTEXT)
        .header("baseline", "current")
        .to_string();
    let mut lines = diff.lines();
    let mut shown: Vec<String> = lines.by_ref().take(MAX_LINES).map(shorten).collect();
    let left = lines.count();
    if left > 0 {
        shown.push(format!("… and {left} more lines"));
    }
    if shown.is_empty() {
        return String::new();
    }
    shown.push(String::new());
    shown.join("\n")
}

fn shorten(line: &str) -> String {
    let mut chars = line.chars();
    let mut short: String = chars.by_ref().take(MAX_LINE_CHARS).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

fn pretty(value: &Value) -> String {
    // The alternate form of a JSON value is its pretty form and cannot fail.
    format!("{:#}\n", sorted(value))
}

/// The same value with its keys in order, whatever order the map type keeps.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<_, _> = map.iter().collect();
            Value::Object(
                ordered
                    .into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_configurations_have_no_difference() {
        let a = json!({"b": 1, "a": [1, 2]});
        let b = json!({"a": [1, 2], "b": 1});
        assert_eq!(config_diff(&a, &b), "");
    }

    #[test]
    fn a_changed_value_is_shown_in_context() {
        let a = json!({"threads": 2, "engine": "sim", "args": []});
        let b = json!({"threads": 1, "engine": "sim", "args": []});
        let expected = "\
--- baseline
+++ current
@@ -1,5 +1,5 @@
 {
   \"args\": [],
   \"engine\": \"sim\",
-  \"threads\": 2
+  \"threads\": 1
 }
";
        assert_eq!(config_diff(&a, &b), expected);
    }

    #[test]
    fn a_huge_difference_is_bounded() {
        let a = Value::Array((0..900).map(|i| json!(i)).collect());
        let b = json!(["x".repeat(5000)]);
        let diff = config_diff(&a, &b);
        assert_eq!(diff.lines().count(), MAX_LINES + 1);
        assert!(diff.ends_with("more lines\n"));
        let longest = config_diff(&json!(null), &b);
        assert!(longest.lines().all(|line| line.chars().count() <= 301));
    }
}
