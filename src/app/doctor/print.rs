//! The findings for people and for programs. Pure.

use serde::Serialize;

use super::finding::{Finding, Severity};

/// Version of the JSON form.
const SCHEMA: u32 = 1;

/// Problems first; each with its remedy on the next line.
pub(super) fn people(findings: &[Finding]) -> String {
    let width = findings.iter().map(|one| one.id.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for severity in [
        Severity::Problem,
        Severity::Warning,
        Severity::Note,
        Severity::Ok,
    ] {
        for one in findings.iter().filter(|one| one.severity == severity) {
            let name = severity.name();
            lines.push(format!("{name:7}  {:width$}  {}", one.id, one.what));
            if let (Some(why), Some(remedy)) = (one.why, &one.remedy) {
                lines.push(format!("{:7}  {:width$}  {remedy} ({why})", "", ""));
            }
        }
    }
    lines.push(String::new());
    lines.push(sum(findings));
    lines.join("\n")
}

fn sum(findings: &[Finding]) -> String {
    let of = |severity| {
        findings
            .iter()
            .filter(|one| one.severity == severity)
            .count()
    };
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    format!(
        "{}, {}, {}",
        count(of(Severity::Problem), "problem"),
        count(of(Severity::Warning), "warning"),
        count(of(Severity::Note), "note")
    )
}

/// The document of `--json`: keys are only ever added.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    schema_version: u32,
    /// Whether a run can work here.
    usable: bool,
    findings: &'a [Finding],
    /// Time that functions of NVML take, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nvml_bench: Option<serde_json::Value>,
}

impl<'a> Document<'a> {
    pub(super) fn new(findings: &'a [Finding]) -> Self {
        Self {
            schema_version: SCHEMA,
            usable: usable(findings),
            findings,
            nvml_bench: None,
        }
    }
}

/// Whether nothing stops a run.
pub(super) fn usable(findings: &[Finding]) -> bool {
    findings.iter().all(|one| one.severity < Severity::Problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_first_and_remedies_stand_below() {
        let findings = [
            Finding::ok("a.fine", "fine"),
            Finding::problem("b.broken", "broken", "it stops", "mend it"),
        ];
        assert_eq!(
            people(&findings),
            "problem  b.broken  broken\n\
             \u{20}                  mend it (it stops)\n\
             ok       a.fine    fine\n\
             \n\
             1 problem, 0 warnings, 0 notes"
        );
        assert!(!usable(&findings));
    }

    #[test]
    fn the_document_has_its_keys_whatever_was_found() {
        let findings = [Finding::ok("a.fine", "fine")];
        let document = serde_json::to_value(Document::new(&findings)).unwrap();
        let expected = serde_json::json!({
            "schema_version": 1,
            "usable": true,
            "findings": [
                {"id": "a.fine", "severity": "ok", "what": "fine", "why": null, "remedy": null},
            ],
        });
        assert_eq!(document, expected);
    }
}
