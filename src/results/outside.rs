//! A number out of somebody else's JSON file, for limits on what kitt does not measure itself.

use std::path::Path;

use serde_json::Value;

use super::{
    ResultsError,
    json::{self, Limits},
};
use crate::ids::is_hidden;

/// Reads one number. `key` is a JSON pointer (RFC 6901, `/calibration/ece`) or a dotted path
/// (`calibration.ece`, `runs.0.ece`).
///
/// # Errors
/// Why there is no number, as a sentence fragment that names the file.
pub fn read_number(path: &Path, key: &str, limits: &Limits) -> Result<f64, String> {
    let shown = path.display();
    let value = document(path, limits).map_err(|error| match &error {
        ResultsError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            format!("{shown} is not there")
        }
        ResultsError::Io { source, .. } => format!("{shown} cannot be read: {source}"),
        ResultsError::TooLarge { .. }
        | ResultsError::Json { .. }
        | ResultsError::Value { .. }
        | ResultsError::Schema { .. } => error.to_string(),
    })?;
    number(&value, key).map_err(|why| format!("{shown} {why}"))
}

fn document(path: &Path, limits: &Limits) -> Result<Value, ResultsError> {
    let bytes = json::read_file(path, limits.file_bytes)?;
    json::check(path, &bytes, limits)?;
    json::parse(path, &bytes, 1)
}

fn number(document: &Value, key: &str) -> Result<f64, String> {
    let shown: String = key
        .chars()
        .take(200)
        .map(|c| if is_hidden(c) { '\u{fffd}' } else { c })
        .collect();
    let found = if key.starts_with('/') {
        document.pointer(key)
    } else {
        key.split('.').try_fold(document, step)
    };
    let kind = match found {
        None => return Err(format!("has no {shown}")),
        Some(Value::Number(number)) => match number.as_f64().filter(|number| number.is_finite()) {
            Some(number) => return Ok(number),
            None => "too large a number",
        },
        Some(Value::Null) => "null, which means not measured",
        Some(Value::Bool(_)) => "a switch, no number",
        Some(Value::String(_)) => "a text, no number",
        Some(Value::Array(_)) => "a list, no number",
        Some(Value::Object(_)) => "an object, no number",
    };
    Err(format!("has {kind} at {shown}"))
}

/// One part of a dotted path. Only plain decimal numbers count into a list.
fn step<'a>(value: &'a Value, part: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(part),
        Value::Array(list) => {
            let plain = part.bytes().all(|byte| byte.is_ascii_digit());
            list.get(part.parse::<usize>().ok().filter(|_| plain)?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_and_dotted_paths_find_the_number() {
        let document = json!({
            "calibration": {"ece": 0.04, "a/b": 1, "a.b": 2}, "runs": [{"ece": 0.5}, 7],
            "off": null, "on": true, "text": "0.1"
        });
        for (key, expected) in [
            ("/calibration/ece", Ok(0.04)),
            ("calibration.ece", Ok(0.04)),
            ("/calibration/a~1b", Ok(1.0)),
            ("/calibration/a.b", Ok(2.0)),
            ("runs.0.ece", Ok(0.5)),
            ("/runs/1", Ok(7.0)),
            ("calibration.mce", Err("has no calibration.mce")),
            ("runs.+1", Err("has no runs.+1")),
            ("runs.2", Err("has no runs.2")),
            ("off", Err("has null, which means not measured at off")),
            ("on", Err("has a switch, no number at on")),
            ("/text", Err("has a text, no number at /text")),
            ("runs", Err("has a list, no number at runs")),
            (
                "calibration",
                Err("has an object, no number at calibration"),
            ),
            ("", Err("has no ")),
        ] {
            assert_eq!(
                number(&document, key),
                expected.map_err(str::to_owned),
                "{key}"
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q.json");
        let read = || read_number(&path, "a", &Limits::default());
        assert!(read().unwrap_err().ends_with("q.json is not there"));
        std::fs::write(&path, "{\"a\": NaN}").unwrap();
        assert!(read().unwrap_err().contains("NaN is not a number JSON has"));
        std::fs::write(&path, "[".repeat(100)).unwrap();
        assert!(read().unwrap_err().contains("levels of nesting"));
        std::fs::write(&path, "{\"a\": 1.5}").unwrap();
        assert_eq!(read(), Ok(1.5));
        let few = Limits {
            file_bytes: 3,
            ..Limits::default()
        };
        assert!(
            read_number(&path, "a", &few)
                .unwrap_err()
                .contains("at most 3")
        );
        assert!(
            read_number(dir.path(), "a", &Limits::default())
                .unwrap_err()
                .contains("not a regular file")
        );
    }

    proptest! {
        #[test]
        fn any_path_finds_a_number_or_a_sentence(key in "[a-b./~01]{0,12}|\\PC{0,20}") {
            let document = json!({"a": [1, {"b": 2}], "b": {"a": null}});
            if let Err(why) = number(&document, &key) {
                prop_assert!(why.starts_with("has "), "{}", why);
                prop_assert!(!why.chars().any(is_hidden), "{:?}", why);
            }
        }
    }
}
