//! What the counts must be, and the tables that hold them.

use crate::{
    binomial,
    cells::{
        Cell, Counts, FASTER, FIRST_TOKEN, LITTLE_FASTER, LITTLE_SLOWER, NOTHING, TAIL, THROUGHPUT,
        run, slower,
    },
    designs::{Design, Effect, Lab, Prior},
    laws::{Law, Shape, Source},
    rivals::{self, Rival},
    table,
};

/// The coefficients of variation of every table.
pub const CVS: [f64; 3] = [0.005, 0.02, 0.05];
/// Prior that is right, as it is learned on the runner itself.
const RIGHT: Prior = Prior::Learned(1.0);

/// How many pull requests a cell gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// Where nothing changed.
    pub same: usize,
    /// Where something did.
    pub changed: usize,
}

/// A table and the requirements that its counts break.
#[derive(Debug, Default)]
pub struct Findings {
    /// Markdown.
    pub text: String,
    /// One sentence each.
    pub broken: Vec<String>,
    /// Requirements that were held against a count.
    pub checked: usize,
}

impl Findings {
    fn add(&mut self, other: Self) {
        self.text.push_str(&other.text);
        self.broken.extend(other.broken);
        self.checked += other.checked;
    }
}

/// What a cell must show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Requirement {
    /// At most this share of the pull requests is blocked.
    BlockedAtMost(f64),
    /// At least this share of the changes is caught.
    CaughtAtLeast(f64),
    /// At most this share of the changes passes as unchanged.
    LetThroughAtMost(f64),
}

/// The requirements on a cell of pairs with a learned prior.
pub fn required(cell: &Cell) -> Vec<Requirement> {
    use Requirement::{BlockedAtMost, CaughtAtLeast, LetThroughAtMost};
    if !matches!(cell.design, Design::Paired(Prior::Learned(_))) {
        return Vec::new();
    }
    let cv = (cell.law.cv * 1000.0).round() / 10.0;
    let usual = cell.law == Law::usual(cell.law.cv);
    if cell.effect == NOTHING {
        return vec![BlockedAtMost(0.001)];
    }
    if !usual {
        return Vec::new();
    }
    match (cell.effect.name, cv.to_string().as_str()) {
        (name, "0.5") if name == THROUGHPUT.name => vec![CaughtAtLeast(0.99)],
        (name, "2") if name == THROUGHPUT.name => vec![CaughtAtLeast(0.97)],
        (name, "5") if name == THROUGHPUT.name => vec![LetThroughAtMost(0.05)],
        (name, "0.5") if name == TAIL.name => vec![CaughtAtLeast(0.90)],
        _ => Vec::new(),
    }
}

impl Requirement {
    /// Whether a count agrees with it: the rate itself, or with few draws what it may be by 95 %
    /// limits.
    pub fn holds(self, counts: &Counts, exact: bool) -> bool {
        let draws = counts.draws;
        let at_most = |hits: usize, share: f64| {
            let low = binomial::lower(hits, draws, 0.95);
            (if exact { counts.share(hits) } else { low }) <= share
        };
        let at_least = |hits: usize, share: f64| {
            let high = binomial::upper(hits, draws, 0.95);
            (if exact { counts.share(hits) } else { high }) >= share
        };
        match self {
            Self::BlockedAtMost(share) => at_most(counts.blocked, share),
            Self::CaughtAtLeast(share) => at_least(counts.caught, share),
            Self::LetThroughAtMost(share) => at_most(counts.let_through, share),
        }
    }

    fn sentence(self) -> String {
        let (what, share) = match self {
            Self::BlockedAtMost(share) => ("blocked at most", share),
            Self::CaughtAtLeast(share) => ("caught at least", share),
            Self::LetThroughAtMost(share) => ("passed as unchanged at most", share),
        };
        format!("{what} {} %", table::rough(share))
    }
}

/// A group of cells under one title.
#[derive(Debug, Clone)]
pub struct Group {
    /// What the table calls it.
    pub title: &'static str,
    cells: Vec<(String, Cell)>,
}

impl Group {
    /// Its cells.
    pub fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().map(|(_, cell)| cell)
    }
}

fn design_group(title: &'static str, design: Design) -> Group {
    let effects = [
        NOTHING,
        THROUGHPUT,
        TAIL,
        FIRST_TOKEN,
        LITTLE_SLOWER,
        LITTLE_FASTER,
        FASTER,
    ];
    let cells = CVS.iter().flat_map(|cv| {
        effects.map(|effect| {
            (
                String::new(),
                Cell {
                    design,
                    law: Law::usual(*cv),
                    effect,
                },
            )
        })
    });
    Group {
        title,
        cells: cells.collect(),
    }
}

/// The designs under the usual law.
pub fn designs() -> Vec<Group> {
    vec![
        design_group("Pairs, noise learned before", Design::Paired(RIGHT)),
        design_group(
            "Pairs, nothing known of the noise",
            Design::Paired(Prior::None),
        ),
        design_group("History of 20 jobs alone", Design::History),
        design_group("History, then pairs", Design::HistoryThenPairs(RIGHT)),
    ]
}

/// One run against one.
pub fn single() -> Group {
    let effects = [
        NOTHING,
        THROUGHPUT,
        slower("all +10 % slower", 0.095_310_179_804_324_87),
        slower("all +20 % slower", 0.182_321_556_793_954_6),
        slower("all +30 % slower", 0.262_364_264_467_491_1),
    ];
    let mut cells = Vec::new();
    for (declared, cv) in [
        (Some(0.005), 0.005),
        (Some(0.02), 0.02),
        (Some(0.05), 0.05),
        (None, 0.005),
        (None, 0.02),
        (None, 0.05),
        (Some(0.01), 0.02),
        (Some(0.01), 0.05),
        (Some(0.02), 0.05),
    ] {
        let name = declared.map_or_else(
            || "undeclared".to_owned(),
            |declared: f64| format!("declared {} %", 100.0 * declared),
        );
        let wrong = declared.is_some_and(|declared| declared < cv);
        let note = if wrong {
            format!("{name}, wrong")
        } else {
            name
        };
        for effect in effects {
            let design = Design::Single(declared);
            cells.push((
                note.clone(),
                Cell {
                    design,
                    law: Law::usual(cv),
                    effect,
                },
            ));
        }
    }
    for cv in CVS {
        let design = Design::SingleResampled(Some(cv));
        let note = format!("declared {} %, requests resampled", 100.0 * cv);
        cells.push((
            note,
            Cell {
                design,
                law: Law::usual(cv),
                effect: NOTHING,
            },
        ));
    }
    Group {
        title: "One run against one",
        cells,
    }
}

/// Other laws than the procedure was made for.
pub fn robustness() -> Group {
    let mut cells = Vec::new();
    for cv in CVS {
        let usual = Law::usual(cv);
        let drift = |session_drift| Law {
            session_drift,
            ..usual
        };
        let host = |interaction| Law {
            interaction,
            ..usual
        };
        let from = |source| Law { source, ..usual };
        let tails = Law {
            shape: Shape::HeavyTailed,
            ..usual
        };
        let third = Prior::Learned(1.0 / 3.0);
        let laws = [
            ("heavy tails (t3)", tails, RIGHT),
            ("random autocorrelation", from(Source::Queues), RIGHT),
            ("two clocks", from(Source::Clocks), RIGHT),
            ("drift of 2 % in the job", drift(0.02), RIGHT),
            ("drift of 10 % in the job", drift(0.10), RIGHT),
            (
                "learned noise 2 times too small",
                usual,
                Prior::Learned(0.5),
            ),
            ("learned noise 3 times too small", usual, third),
            ("host changes the ratio, sd 0.5 %", host(0.005), RIGHT),
            ("host changes the ratio, sd 1 %", host(0.01), RIGHT),
            ("host changes the ratio, sd 2 %", host(0.02), RIGHT),
        ];
        for (name, law, prior) in laws {
            let law = Law { name, ..law };
            for effect in [NOTHING, THROUGHPUT] {
                cells.push((
                    name.to_owned(),
                    Cell {
                        design: Design::Paired(prior),
                        law,
                        effect,
                    },
                ));
            }
        }
    }
    Group {
        title: "Pairs under other laws",
        cells,
    }
}

/// Laws under which a block of an unchanged engine is no error of the test: the host itself
/// makes the change slower by more than the zone absorbs.
fn beyond_the_zone(cell: &Cell) -> bool {
    cell.law.interaction > 0.005
}

/// Measures a group. `exact`: the rates themselves must meet the requirements, not only what
/// their limits allow.
pub fn measure(lab: &Lab, group: &Group, draws: Draws, exact: bool) -> Findings {
    let mut findings = Findings::default();
    let mut rows = Vec::new();
    let with_notes = group.cells.iter().any(|(note, _)| !note.is_empty());
    for (note, cell) in &group.cells {
        let number = if cell.effect == NOTHING {
            draws.same
        } else {
            draws.changed
        };
        let counts = run(lab, cell, number);
        let mut row = if with_notes {
            vec![note.clone()]
        } else {
            Vec::new()
        };
        row.extend(line(cell, &counts));
        rows.push(row);
        if beyond_the_zone(cell) {
            continue;
        }
        for requirement in required(cell) {
            findings.checked += 1;
            if !requirement.holds(&counts, exact) {
                findings.broken.push(format!(
                    "{}, {note} CV {} %, {}: required {}; {} of {} blocked, {} caught, {} passed",
                    group.title,
                    100.0 * cell.law.cv,
                    cell.effect.name,
                    requirement.sentence(),
                    counts.blocked,
                    counts.draws,
                    counts.caught,
                    counts.let_through
                ));
            }
        }
    }
    let mut head = if with_notes { vec!["law"] } else { Vec::new() };
    head.extend([
        "CV %",
        "effect",
        "blocked %",
        "95 % limit",
        "caught %",
        "false pass %",
        "improved %",
        "unsure %",
        "mean pairs",
        "mean runs",
    ]);
    findings.text = table::markdown(group.title, &head, &rows);
    findings
}

fn line(cell: &Cell, counts: &Counts) -> Vec<String> {
    let changed = cell.effect != NOTHING;
    let only_if = |shown: bool, share: f64| {
        if shown {
            table::rough(share)
        } else {
            "–".to_owned()
        }
    };
    let slower = is_beyond_gate(&cell.effect);
    vec![
        format!("{}", (1000.0 * cell.law.cv).round() / 10.0),
        cell.effect.name.to_owned(),
        table::percent(counts.share(counts.blocked)),
        table::percent(counts.blocked_at_most()),
        only_if(changed, counts.share(counts.caught)),
        only_if(slower, counts.share(counts.let_through)),
        table::rough(counts.share(counts.improved)),
        table::rough(counts.share(counts.unsure())),
        format!("{:.1}", counts.pairs),
        format!("{:.1}", counts.runs),
    ]
}

/// Whether letting it pass is an error: it is at least as bad as the effect that gates.
fn is_beyond_gate(effect: &Effect) -> bool {
    effect.slower > 0.045 || effect.name == TAIL.name || effect.name == FIRST_TOKEN.name
}

/// Rules of others on the same pull requests, and kitt's beside them.
pub fn comparison(lab: &Lab, draws: usize) -> String {
    let mut rows = Vec::new();
    let head = [
        "rule",
        "runs a PR",
        "A/A flagged %, CV 0.5 / 2 / 5 %",
        "throughput −5 % caught %",
        "TTFT p99 +20 % caught %",
    ];
    let joined = |cell: &dyn Fn(&Law) -> f64| {
        CVS.map(|cv| table::rough(cell(&Law::usual(cv))))
            .join(" / ")
    };
    for rival in Rival::ALL {
        let flagged = |law: &Law| rivals::run(lab, rival, law, &NOTHING, draws).0;
        let caught = |law: &Law, effect| rivals::run(lab, rival, law, effect, draws).1;
        let share = |hits: usize| hits as f64 / draws as f64;
        rows.push(vec![
            rival.name().to_owned(),
            rival.runs().to_string(),
            joined(&|law| share(flagged(law))),
            joined(&|law| share(caught(law, &THROUGHPUT))),
            joined(&|law| share(caught(law, &TAIL))),
        ]);
    }
    for (name, design) in [
        ("**kitt, pairs**", Design::Paired(RIGHT)),
        (
            "**kitt, history, then pairs**",
            Design::HistoryThenPairs(RIGHT),
        ),
    ] {
        let counts = |law: &Law, effect| {
            run(
                lab,
                &Cell {
                    design,
                    law: *law,
                    effect,
                },
                draws,
            )
        };
        let same = CVS.map(|cv| counts(&Law::usual(cv), NOTHING));
        rows.push(vec![
            name.to_owned(),
            same.map(|counts| format!("{:.1}", counts.runs)).join(" / "),
            same.map(|counts| table::rough(counts.share(counts.blocked)))
                .join(" / "),
            joined(&|law| {
                let counts = counts(law, THROUGHPUT);
                counts.share(counts.caught)
            }),
            joined(&|law| {
                let counts = counts(law, TAIL);
                counts.share(counts.caught)
            }),
        ]);
    }
    table::markdown("The same pull requests through other rules", &head, &rows)
}

/// All tables of decisions.
pub fn all(lab: &Lab, draws: Draws, exact: bool) -> Findings {
    let mut findings = Findings::default();
    for group in designs().iter().chain([&single(), &robustness()]) {
        findings.add(measure(lab, group, draws, exact));
    }
    findings.text.push_str(&comparison(lab, draws.changed));
    findings
}
