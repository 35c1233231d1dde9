//! Sections to one comment that fits: a headline, a line for each job, a folded text for each.

use super::Leg;
use crate::{
    ids::ReportKey,
    render::{
        GateWord, KITT_MARKER, Outcome, RenderError, State,
        budget::{COMMENT, fits},
        escape::link,
        key_marker,
        number::{NOTHING, plural},
        state::MOST_EARLIER,
        templates::Templates,
        view::{self, IndexRow, IndexView, JobRow, LegView, Matrix, Title},
    },
    verdict::Verdict,
};

/// A comment of several jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// Its text, with its markers, within the size of a comment.
    pub body: String,
    /// The sections in it, ordered by name.
    pub legs: Vec<Leg>,
}

/// A section and how much of it is shown.
struct Piece {
    leg: Leg,
    /// Whether it is of an older push than the newest section.
    stale: bool,
    /// Index into the leg's texts; their number stands for none, one more for a short state.
    size: usize,
    text: String,
}

/// Makes one comment of the sections. Where they do not all fit, the largest give way first,
/// those of an older push and those without bad news before the others. What is older than the
/// five pushes that are remembered goes.
///
/// # Errors
/// A fault in kitt's own templates.
pub fn compose(key: &ReportKey, mut legs: Vec<Leg>) -> Result<Composed, RenderError> {
    let templates = Templates::markdown()?;
    legs.sort_by_cached_key(|leg| natural(leg.name.as_str()));
    let newest = newest(&legs).cloned();
    let head = newest.as_ref().and_then(|state| state.head.clone());
    legs.retain(|leg| {
        newest
            .as_ref()
            .is_none_or(|newest| !is_forgotten(leg, newest))
    });
    let mut pieces = Vec::with_capacity(legs.len());
    for leg in legs {
        let stale = !leg.state.is_of_push(head.as_deref());
        let mut piece = Piece {
            leg,
            stale,
            size: 0,
            text: String::new(),
        };
        piece.render(templates)?;
        pieces.push(piece);
    }
    let mut left_out = 0;
    loop {
        let body = body(templates, key, &pieces, left_out)?;
        let surplus = body.len().saturating_sub(COMMENT.bytes);
        if fits(COMMENT, &body) || !give_way(templates, &mut pieces, surplus, &mut left_out)? {
            let legs = pieces.into_iter().map(|piece| piece.leg).collect();
            return Ok(Composed { body, legs });
        }
    }
}

/// Makes room for so many bytes, one at least; false when there is nothing left to take away.
fn give_way(
    templates: &Templates,
    pieces: &mut Vec<Piece>,
    surplus: usize,
    left_out: &mut usize,
) -> Result<bool, RenderError> {
    let mut gained = 0;
    while gained < surplus.max(1) {
        let shrinkable = pieces.iter_mut().filter(|piece| piece.can_shrink());
        if let Some(piece) = shrinkable.max_by_key(|piece| piece.surplus()) {
            let before = piece.text.len();
            piece.size += 1;
            piece.render(templates)?;
            gained += before.saturating_sub(piece.text.len());
        } else if let Some(last) = drop_last(pieces) {
            *left_out += 1;
            gained += last.text.len();
        } else {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What heads a document of these jobs that is not a comment.
///
/// # Errors
/// A fault in kitt's own templates.
pub(in crate::render) fn index(legs: &[Leg], places: &[String]) -> Result<Index, RenderError> {
    let mut pieces = Vec::with_capacity(legs.len());
    for leg in legs {
        pieces.push(Piece {
            leg: leg.clone(),
            stale: false,
            size: 0,
            text: String::new(),
        });
    }
    let title = title(&pieces, 0);
    let rows = pieces.iter().zip(places).map(|(piece, place)| IndexRow {
        row: row(piece),
        place: place.clone(),
    });
    let view = IndexView {
        title: title.clone(),
        index_rows: rows.collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(Index {
        html: Templates::html()?.render("index", &view)?,
        title: title.plain(),
    })
}

/// A page with a line for each job, and its heading.
pub(in crate::render) struct Index {
    pub(in crate::render) html: String,
    pub(in crate::render) title: String,
}

/// A comment's text without what only machines read.
pub(in crate::render) fn bare(body: &str) -> String {
    let shown = body.lines().filter(|line| !line.starts_with("<!-- kitt-"));
    shown.collect::<Vec<_>>().join("\n")
}

/// The newest report among the sections.
fn newest(legs: &[Leg]) -> Option<&State> {
    let states = legs.iter().map(Leg::state);
    states.reduce(|newest, state| {
        if newest.is_older_than(state) {
            state
        } else {
            newest
        }
    })
}

/// Whether a section is of a push that the newest report no longer remembers: its job is no
/// longer in the matrix, or never reports.
fn is_forgotten(leg: &Leg, newest: &State) -> bool {
    newest.earlier.len() == MOST_EARLIER
        && !leg.state.is_of_push(newest.head.as_deref())
        && !newest
            .earlier
            .iter()
            .any(|push| leg.state.is_of_push(push.head.as_deref()))
}

/// Takes away the section that says least: of an older push, then the least urgent, then the
/// last by name. `None` when there is one left.
fn drop_last(pieces: &mut Vec<Piece>) -> Option<Piece> {
    if pieces.len() < 2 {
        return None;
    }
    let rank = |index: &usize| {
        pieces
            .get(*index)
            .map(|piece| (piece.stale, piece.urgency()))
    };
    let last = (0..pieces.len()).max_by_key(rank)?;
    Some(pieces.remove(last))
}

impl Piece {
    fn can_shrink(&self) -> bool {
        self.size <= self.leg.texts.len()
    }

    /// How ready it is to give way.
    fn surplus(&self) -> usize {
        let factor = match (self.stale, is_bad(&self.leg.state)) {
            (true, _) => 4,
            (false, false) => 2,
            (false, true) => 1,
        };
        self.text.len().saturating_mul(factor)
    }

    fn urgency(&self) -> usize {
        if self.leg.state.gate == GateWord::Failed {
            0
        } else {
            self.leg.state.outcome.urgency()
        }
    }

    fn render(&mut self, templates: &Templates) -> Result<(), RenderError> {
        let text = self.leg.texts.get(self.size).cloned().unwrap_or_default();
        let short = State {
            earlier: Vec::new(),
            regressions: Vec::new(),
            ..self.leg.state.clone()
        };
        let state = if self.size > self.leg.texts.len() {
            short.encode()
        } else {
            self.leg.state.encode()
        };
        let view = LegView {
            id: self.leg.id(),
            row: row(self),
            open: !self.stale && is_bad(&self.leg.state),
            text,
            state,
        };
        self.text = templates.render("leg", &view)?;
        Ok(())
    }
}

fn is_bad(state: &State) -> bool {
    state.gate == GateWord::Failed
        || matches!(
            state.outcome,
            Outcome::Error | Outcome::Of(Verdict::Regressed)
        )
}

fn body(
    templates: &Templates,
    key: &ReportKey,
    pieces: &[Piece],
    left_out: usize,
) -> Result<String, RenderError> {
    let view = Matrix {
        kitt_marker: KITT_MARKER,
        key_marker: key_marker(key),
        title: title(pieces, left_out),
        stale: pieces.iter().any(|piece| piece.stale),
        jobs: pieces.iter().map(row).collect(),
        more: (left_out > 0).then(|| plural(left_out, "more job", "more jobs")),
    };
    let mut body = templates.render("matrix", &view)?;
    for piece in pieces {
        body.push('\n');
        body.push_str(&piece.text);
    }
    Ok(body)
}

fn row(piece: &Piece) -> JobRow {
    let state = &piece.leg.state;
    let from = || state.head.as_deref().map(view::short);
    JobRow {
        icon: if piece.stale {
            "🕗"
        } else {
            view::outcome_icon(state.outcome, state.gate)
        },
        job: piece.leg.name.as_str().to_owned(),
        url: state.url.as_deref().and_then(link),
        verdict: view::outcome_word(state.outcome),
        worst: state.worst.clone().unwrap_or_default(),
        gate_word: match state.outcome {
            Outcome::Error => NOTHING,
            Outcome::Of(_) => state.gate.name(),
        },
        from: piece.stale.then(from).flatten(),
    }
}

/// The worst verdict and how many jobs have which.
fn title(pieces: &[Piece], left_out: usize) -> Title {
    let current: Vec<&State> = pieces
        .iter()
        .filter(|piece| !piece.stale)
        .map(|piece| &piece.leg.state)
        .collect();
    let number = |outcome: Outcome| current.iter().filter(|one| one.outcome == outcome).count();
    let found = |outcome: &Outcome| number(*outcome) > 0;
    let worst = Outcome::ALL
        .into_iter()
        .find(found)
        .unwrap_or(Outcome::Error);
    let failed = current.iter().filter(|one| one.gate == GateWord::Failed);
    let failed = failed.count();
    let (many, jobs) = (number(worst), plural(current.len(), "job", "jobs"));
    let of = if many == current.len() {
        jobs
    } else {
        format!("{many} of {jobs}")
    };
    let others = Outcome::ALL
        .into_iter()
        .filter(|one| *one != worst && found(one));
    let mut counts: Vec<String> = others
        .map(|one| format!("{} {}", number(one), view::outcome_word(one)))
        .collect();
    let stale = pieces.len().saturating_sub(current.len());
    if stale > 0 {
        counts.push(format!("{stale} of an older push"));
    }
    if left_out > 0 {
        counts.push(format!("{left_out} not shown"));
    }
    let gate = if failed > 0 {
        GateWord::Failed
    } else if current.iter().any(|one| one.gate == GateWord::Passed) {
        GateWord::Passed
    } else {
        GateWord::Off
    };
    Title {
        icon: view::outcome_icon(worst, gate),
        sentence: format!("{}: {of}", sentence(worst)),
        counts,
        gate: match gate {
            GateWord::Failed => "gate failed",
            GateWord::Passed => "gate passed",
            GateWord::Off => "gate off",
        },
        tone: "neutral",
    }
}

const fn sentence(worst: Outcome) -> &'static str {
    match worst {
        Outcome::Error => "Could not measure",
        Outcome::Of(Verdict::Regressed) => "Regressed",
        Outcome::Of(Verdict::Missing) => "Missing",
        Outcome::Of(Verdict::Incomparable) => "Not comparable",
        Outcome::Of(Verdict::Inconclusive) => "Inconclusive",
        Outcome::Of(Verdict::Improved) => "Improved",
        Outcome::Of(Verdict::New) => "No baseline yet",
        Outcome::Of(Verdict::Unchanged) => "Unchanged",
    }
}

/// Names in the order a person expects: digits by their number, so that `gpu 2` is before
/// `gpu 10`.
fn natural(name: &str) -> (Vec<(String, u64)>, String) {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let start = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (text, after) = rest.split_at(start);
        let end = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        let (digits, beyond) = after.split_at(end);
        parts.push((text.to_lowercase(), digits.parse().unwrap_or(u64::MAX)));
        rest = beyond;
    }
    (parts, name.to_owned())
}
