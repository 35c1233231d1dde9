//! Texts in step outputs and annotations, read back by the runner's grammars.

use std::fs;

use kitt_action::publish::{self, Outputs, command};

use super::{corpus, readers::commands};
use crate::publish::step_files::{read_commands, read_outputs};

#[test]
fn an_output_is_its_value_and_defines_no_other() {
    let folder = tempfile::tempdir().unwrap();
    for (number, one) in corpus().iter().enumerate() {
        let path = folder.path().join(number.to_string());
        let outputs = Outputs {
            verdict: "unchanged".to_owned(),
            results_path: one.text.clone(),
            report_path: one.text.clone(),
            metrics_json: one.text.clone(),
            baseline_ref: Some(one.text.clone()),
            ..Outputs::default()
        };
        publish::write_outputs(&path, &outputs).unwrap();
        publish::write_output(&path, "comment-url", &one.text).unwrap();
        let written = fs::read_to_string(&path).unwrap();
        // The runner reads lines by CR, LF or both, and joins them by its own.
        let read = read_outputs(&written).unwrap_or_else(|| panic!("{:?}", one.text));
        let harmless = folder.path().join(format!("{number}-harmless"));
        let plain = Outputs {
            results_path: "x".to_owned(),
            report_path: "x".to_owned(),
            metrics_json: "x".to_owned(),
            baseline_ref: Some("x".to_owned()),
            ..outputs
        };
        publish::write_outputs(&harmless, &plain).unwrap();
        publish::write_output(&harmless, "comment-url", "x").unwrap();
        let expected = read_outputs(&fs::read_to_string(&harmless).unwrap()).unwrap();
        let names = |map: &std::collections::BTreeMap<String, String>| -> Vec<String> {
            map.keys().cloned().collect()
        };
        assert_eq!(names(&read), names(&expected), "{:?}", one.text);
        assert_eq!(read["verdict"], "unchanged");
        assert_eq!(read["results-path"], one.text);
    }
}

#[test]
fn an_annotation_is_one_command_and_plain_text_is_none() {
    for one in corpus() {
        let mut out = Vec::new();
        command::warning(&mut out, &one.text, &one.text).unwrap();
        let printed = String::from_utf8(out).unwrap();
        let found = read_commands(&printed);
        // A legacy command inside is data: the runner tries the new form first.
        assert!(printed.ends_with('\n') && !printed.trim_end_matches('\n').contains(['\n', '\r']));
        assert_eq!(found.len(), 1, "{:?}: {printed}", one.text);
        let mut out = Vec::new();
        command::text(&mut out, &one.text).unwrap();
        let printed = String::from_utf8(out).unwrap();
        assert_eq!(commands(&printed), Vec::<String>::new(), "{:?}", one.text);
    }
}
