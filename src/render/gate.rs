//! What the gate held against what, as a table of plain text for a terminal.

use super::{
    escape::clean,
    number::{NOTHING, Scale},
};
use crate::verdict::{GateRow, RowKind};

/// Longest cell but the last, in characters.
const CELL: usize = 40;
/// Longest reason, in characters.
const REASON: usize = 300;

/// The table, with a head; `None` where there is nothing to show.
pub fn gate_table(rows: &[GateRow]) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let head = [
        "scenario", "metric", "value", "limit", "headroom", "result", "why",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    // On a terminal, spaces that must not break are only in the way of `grep`.
    let plain = |cell: String| cell.replace(['\u{a0}', '\u{202f}'], " ");
    lines.extend(rows.iter().map(|row| cells(row).map(plain)));
    let mut widths = [0_usize; 7];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let text = lines.iter().map(|line| {
        let padded = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    Some(text.collect::<Vec<_>>().join("\n"))
}

fn cells(row: &GateRow) -> [String; 7] {
    let value = match (row.kind, row.value, row.change) {
        (RowKind::Limit, Some(value), _) => Scale::of(row.unit, value).text(value),
        (RowKind::Change, _, Some(change)) => signed(change, row.points),
        (RowKind::Limit, None, _) | (RowKind::Change, _, None) => NOTHING.to_owned(),
    };
    [
        row.scenario
            .as_ref()
            .map_or_else(|| NOTHING.to_owned(), |name| clean(name, CELL)),
        clean(&row.metric, CELL),
        value,
        limit(row),
        row.headroom
            .map_or_else(|| NOTHING.to_owned(), |room| signed(room, row.points)),
        row.result.name().to_owned(),
        clean(&row.why, REASON),
    ]
}

fn limit(row: &GateRow) -> String {
    match (row.kind, row.zone) {
        (RowKind::Limit, _) => {
            let bound = |word: &str, bound: Option<f64>| {
                bound.map(|bound| format!("{word} {}", Scale::of(row.unit, bound).exact(bound)))
            };
            let parts = [bound("≥", row.min), bound("≤", row.max)];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        (RowKind::Change, Some((min, gate))) => {
            let unit = if row.points { "points" } else { "%" };
            format!("{}…{} {unit} worse", short(min), short(gate))
        }
        (RowKind::Change, None) => NOTHING.to_owned(),
    }
}

/// A share as a number of per cent or points, to a tenth where that says something.
fn short(share: f64) -> String {
    format!("{}", (share * 1000.0).round() / 10.0)
}

fn signed(share: f64, points: bool) -> String {
    let number = share * 100.0;
    let unit = if points { "points" } else { "%" };
    // What rounds to nothing has no sign.
    let sign = match (number * 10.0).round() {
        0.0 => "",
        tenths if tenths > 0.0 => "+",
        _ => "−",
    };
    let size = number.abs();
    if size >= 1e6 {
        format!("{sign}>1000000 {unit}")
    } else {
        format!("{sign}{size:.1} {unit}")
    }
}
