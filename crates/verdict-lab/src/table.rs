//! Tables as Markdown.

use std::fmt::Write as _;

/// A title, a table and an empty line.
pub fn markdown(title: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("### {title}\n\n");
    let line = |text: &mut String, cells: &[String]| {
        writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes everything");
    };
    let owned: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    line(&mut text, &owned);
    let rules: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    writeln!(text, "|{}|", rules.join("|")).expect("a string takes everything");
    for row in rows {
        assert_eq!(row.len(), head.len(), "{title}: a row does not fit");
        line(&mut text, row);
    }
    text.push('\n');
    text
}

/// A share as a percentage with two digits.
pub fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

/// A share as a percentage with one digit.
pub fn rough(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}
