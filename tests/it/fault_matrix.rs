//! The table of faults is whole, and every test it names exists.

use std::path::Path;

const ROWS: u32 = 35;

struct Row {
    number: u32,
    cells: Vec<String>,
}

fn rows(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<String> = line
            .strip_prefix('|')?
            .strip_suffix('|')?
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        let number = cells.first()?.parse().ok()?;
        Some(Row { number, cells })
    };
    text.lines().filter_map(row).collect()
}

/// `file::name` in back quotes.
fn tests(cell: &str) -> Vec<(&str, &str)> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter_map(|text| text.split_once("::")).collect()
}

/// Whether the file has a function of that name with a test's attribute above it.
fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_it = |line: &&str| {
        let rest = line.trim_start_matches("async ");
        rest.strip_prefix("fn ").is_some_and(|rest| {
            let rest = rest.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('('))
        })
    };
    lines
        .iter()
        .enumerate()
        .filter(|(_, line)| is_it(line))
        .any(|(at, _)| {
            let above = lines[..at].iter().rev();
            // Attributes and what stands inside them.
            above
                .take_while(|line| !line.is_empty() && !line.ends_with('}') && !line.ends_with(';'))
                .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        })
}

fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

#[test]
fn every_row_is_there_once_with_all_its_cells() {
    let rows = rows(&text("docs/fault-matrix.md").unwrap());
    let numbers: Vec<u32> = rows.iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=ROWS).collect::<Vec<_>>());
    for row in &rows {
        assert_eq!(row.cells.len(), 6, "row {}", row.number);
        assert!(
            row.cells.iter().all(|cell| !cell.is_empty()),
            "row {}",
            row.number
        );
        let exit = row.cells[3].as_str();
        let known = ["-", "2", "20", "21", "22", "130", "143"];
        assert!(known.contains(&exit), "row {}: exit {exit}", row.number);
        let honest = row.cells[2].contains("cannot be injected here: ");
        assert!(
            honest || !tests(&row.cells[5]).is_empty(),
            "row {} names neither a test nor a reason",
            row.number
        );
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let mut missing = Vec::new();
    for row in rows(&text("docs/fault-matrix.md").unwrap()) {
        for (file, name) in tests(&row.cells[5]) {
            match text(file) {
                None => missing.push(format!("row {}: no file {file}", row.number)),
                Some(source) if !is_test(&source, name) => {
                    missing.push(format!("row {}: no test {name} in {file}", row.number));
                }
                Some(_) => {}
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_function_that_is_no_test_is_seen() {
    let source =
        "#[test]\nfn one() {}\n\nfn two() {\n}\n#[tokio::test]\n#[ignore]\nasync fn three() {}\n";
    assert!(is_test(source, "one") && is_test(source, "three"));
    assert!(!is_test(source, "two") && !is_test(source, "on") && !is_test(source, "four"));
}
