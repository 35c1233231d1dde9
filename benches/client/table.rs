//! Tables as Markdown, so that they can be read and pasted.

/// Prints a title, a table and an empty line.
pub fn print(title: &str, head: &[&str], rows: &[Vec<String>]) {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    assert!(
        rows.iter().all(|row| row.len() == head.len()),
        "{title}: a row does not fit"
    );
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String]| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:>width$}"))
            .collect();
        println!("| {} |", cells.join(" | "));
    };
    println!("## {title}\n");
    line(&head);
    let rules: Vec<String> = widths
        .iter()
        .map(|width| format!("{}:", "-".repeat(width.saturating_sub(1))))
        .collect();
    line(&rules);
    for row in rows {
        line(row);
    }
    println!();
}

/// A number with so many digits behind the point, or a dash.
pub fn number(value: Option<f64>, digits: usize) -> String {
    // Rounded first: what rounds to zero has no sign, because -0 + 0 is 0.
    let scale = 10_f64.powi(i32::try_from(digits).unwrap());
    let rounded = value.map(|value| (value * scale).round() / scale + 0.0);
    rounded.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// The median of a few values.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
