//! What the templates show: text and yes-or-no, nothing to compute. Every field is always
//! serialised, so that a template in strict mode and the view can be held against each other.
//!
//! In: a [`ReportInput`](super::ReportInput) and how much [`Detail`](super::budget::Detail) fits.

mod absolute;
mod alert;
mod all;
mod axis;
mod badge;
mod basis;
mod cdf;
mod change;
mod earlier;
mod environment;
mod footer;
mod forest;
mod headline;
mod limits;
mod next;
mod pairs;
mod report;
mod rows;
mod server;
mod state;
mod terminal;
mod words;

use serde::Serialize;

pub(super) use badge::{badge, failed_badge};
pub(super) use report::{Pictures, failure, report, short};
pub(super) use state::{error_state, state};
pub use terminal::{Colour, terminal};
pub(super) use words::{outcome as outcome_word, outcome_icon};

/// The comment, the summary and the report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct View {
    /// KITT's marker.
    pub(super) kitt_marker: &'static str,
    /// The key's marker.
    pub(super) key_marker: String,
    /// Icon, verdict and colour.
    pub(super) title: Title,
    /// Whether it stands in a folded section of a comment that several jobs share.
    pub(super) nested: bool,
    /// What the push before had and this one has not.
    pub(super) resolved: Option<String>,
    /// How the sides were compared, one sentence for each design.
    pub(super) basis: Vec<Basis>,
    /// What was measured, where.
    pub(super) subject: Vec<Part>,
    /// Whether there is a baseline.
    pub(super) compared: bool,
    /// At most one.
    pub(super) alert: Option<Alert>,
    /// What did not fit and where it is, when something was left out.
    pub(super) shortened: bool,
    /// Conditions that differ and stop the comparison; empty when none does or they do not fit.
    pub(super) differs: Vec<DifferenceRow>,
    /// The table of what changed; `None` when it is empty or does not fit.
    pub(super) changed: Option<Changed>,
    /// The numbers themselves; only without a baseline.
    pub(super) absolute: Option<Absolute>,
    /// Absolute limits; `None` when there are none or they do not fit.
    pub(super) limits: Option<Vec<LimitRow>>,
    /// All metrics; `None` when they do not fit.
    pub(super) all: Option<All>,
    /// What the server told about itself; `None` when it told nothing or it does not fit.
    pub(super) server: Option<Server>,
    /// Environment and configuration; `None` when nothing is known or it does not fit.
    pub(super) environment: Option<Environment>,
    /// The pushes before; `None` when there are none or they do not fit.
    pub(super) earlier: Option<Earlier>,
    /// Where the base branch itself shifted of late.
    pub(super) shifts: Vec<String>,
    /// What to do now; `None` when there is nothing to do.
    pub(super) next: Option<Next>,
    /// Intervals as a picture, HTML only.
    pub(super) forest: Option<Forest>,
    /// The pairs of each gating metric as pictures, HTML only.
    pub(super) pair_by_pair: Option<PairByPair>,
    /// Latency distributions, HTML only.
    pub(super) distributions: Vec<Distribution>,
    /// The small print.
    pub(super) footer: Footer,
    /// The machine's memory, base64.
    pub(super) state: String,
}

/// A measurement that could not be made.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FailureView {
    pub(super) kitt_marker: &'static str,
    pub(super) key_marker: String,
    pub(super) title: Title,
    pub(super) nested: bool,
    /// Nothing: nothing is known to be well again.
    pub(super) resolved: Option<String>,
    /// Empty: nothing was compared.
    pub(super) basis: Vec<Basis>,
    pub(super) subject: Vec<Part>,
    /// What happened.
    pub(super) alert: Option<Alert>,
    /// What to do about it.
    pub(super) remedy: Option<String>,
    /// One command.
    pub(super) reproduce: Option<Code>,
    pub(super) footer: Footer,
    pub(super) state: String,
}

/// The verdict as a heading.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Title {
    pub(super) icon: &'static str,
    /// The sentence: `Regressed: 2 of 12 gating metrics`.
    pub(super) sentence: String,
    /// Further counts, each a few words.
    pub(super) counts: Vec<String>,
    /// `gate failed`, `gate passed` or `gate off`.
    pub(super) gate: &'static str,
    /// Class of the colour in the report: `bad`, `good`, `unsure` or `neutral`.
    pub(super) tone: &'static str,
}

impl Title {
    /// The heading as one line of plain text, without the icon.
    pub(super) fn plain(&self) -> String {
        let counts: Vec<String> = self
            .counts
            .iter()
            .map(|words| format!(" · {words}"))
            .collect();
        format!("{}{} — {}", self.sentence, counts.concat(), self.gate)
    }
}

/// How the sides were compared.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Basis {
    /// What to take it for, in a word: `Provisional`.
    pub(super) mark: Option<&'static str>,
    pub(super) words: String,
}

/// One fact about what was measured: a text or a link.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Part {
    pub(super) label: &'static str,
    pub(super) text: String,
    /// A clean link.
    pub(super) url: Option<String>,
}

/// The one alert.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Alert {
    /// GitHub's word for it: `CAUTION`, `WARNING` or `NOTE`.
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// Gating metrics that are not unchanged.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Changed {
    pub(super) rows: Vec<Row>,
    /// `3 more rows`, when the table was cut.
    pub(super) more: Option<String>,
}

/// The gating metrics of a side that is compared with nothing: one scenario a line.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Absolute {
    /// What heads the columns.
    pub(super) metrics: Vec<String>,
    pub(super) scenarios: Vec<AbsoluteRow>,
    /// `3 more scenarios`, when the table was cut.
    pub(super) more: Option<String>,
}

/// One scenario and a value for each column.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AbsoluteRow {
    pub(super) scenario: String,
    pub(super) values: Vec<String>,
}

/// One metric of one scenario.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) scenario: String,
    pub(super) metric: String,
    /// `↓` or `↑`: where better is.
    pub(super) arrow: &'static str,
    pub(super) base: String,
    pub(super) head: String,
    pub(super) delta: String,
    pub(super) interval: Option<String>,
    /// The zone as text: `1 % / 5 %`.
    pub(super) limit: String,
    /// What it rests on: `5 pairs`, `23 jobs`, `1 v 1`.
    pub(super) rests: String,
    /// `200 requests`, per run.
    pub(super) requests: Option<String>,
    /// From run to run: `0.6 %`.
    pub(super) spread: String,
    pub(super) detectable: String,
    pub(super) icon: &'static str,
    pub(super) verdict: &'static str,
    pub(super) tone: &'static str,
    /// Whether the change is proven.
    pub(super) proven: bool,
    pub(super) gating: bool,
    /// `needs 100 requests`: what keeps it from gating.
    pub(super) needs: Option<String>,
    pub(super) reason: String,
}

/// An absolute limit.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LimitRow {
    pub(super) metric: String,
    pub(super) scenario: String,
    pub(super) bound: String,
    pub(super) value: String,
    pub(super) icon: &'static str,
    pub(super) verdict: &'static str,
    pub(super) tone: &'static str,
}

/// All metrics by scenario.
#[derive(Debug, Clone, Serialize)]
pub(super) struct All {
    /// `24 metrics in 3 scenarios`.
    pub(super) title: String,
    pub(super) groups: Vec<Group>,
}

/// One scenario's metrics.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Group {
    pub(super) scenario: String,
    /// `200 requests in each of 4 runs`, and what went wrong.
    pub(super) notes: Vec<String>,
    /// Metrics with a direction, gating first.
    pub(super) rows: Vec<Row>,
    /// Metrics without one, each a few words.
    pub(super) without_direction: Vec<String>,
}

/// The server's own numbers by scenario.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Server {
    /// `told by the engine itself in 3 scenarios`.
    pub(super) title: String,
    pub(super) groups: Vec<ServerGroup>,
    /// The engine's names for them.
    pub(super) sources: Vec<String>,
}

/// One scenario of the server's own numbers.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ServerGroup {
    pub(super) scenario: String,
    pub(super) rows: Vec<ServerRow>,
}

/// One quantity on the server's clock.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ServerRow {
    pub(super) quantity: &'static str,
    pub(super) base: String,
    pub(super) head: String,
}

/// The pushes before this one.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Earlier {
    /// How many.
    pub(super) title: String,
    pub(super) pushes: Vec<EarlierRow>,
}

/// One of them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct EarlierRow {
    pub(super) icon: &'static str,
    pub(super) verdict: &'static str,
    pub(super) push: String,
    pub(super) when: String,
    pub(super) worst: String,
    pub(super) gate_word: &'static str,
}

/// What heads a comment that several jobs share.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Matrix {
    pub(super) kitt_marker: &'static str,
    pub(super) key_marker: String,
    pub(super) title: Title,
    /// Whether a job has not measured this push.
    pub(super) stale: bool,
    pub(super) jobs: Vec<JobRow>,
    /// `3 more jobs`, when not all fit.
    pub(super) more: Option<String>,
}

/// One job of a matrix.
#[derive(Debug, Clone, Serialize)]
pub(super) struct JobRow {
    pub(super) icon: &'static str,
    pub(super) job: String,
    /// A clean link to its run.
    pub(super) url: Option<String>,
    pub(super) verdict: &'static str,
    pub(super) worst: String,
    pub(super) gate_word: &'static str,
    /// The commit it is from, when that is not this push.
    pub(super) from: Option<String>,
}

/// A page that leads to the reports of all jobs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct IndexView {
    pub(super) title: Title,
    pub(super) index_rows: Vec<IndexRow>,
    pub(super) version: &'static str,
}

/// One job, and where its report is.
#[derive(Debug, Clone, Serialize)]
pub(super) struct IndexRow {
    pub(super) row: JobRow,
    /// A clean relative link.
    pub(super) place: String,
}

/// One job's section.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LegView {
    /// Its name, as digits.
    pub(super) id: String,
    pub(super) row: JobRow,
    /// Whether it is shown unfolded.
    pub(super) open: bool,
    /// Its rendered markdown; empty where it does not fit.
    pub(super) text: String,
    /// The machine's memory, base64.
    pub(super) state: String,
}

/// What differs around the measurement.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Environment {
    /// `2 differences`.
    pub(super) title: String,
    pub(super) differences: Vec<DifferenceRow>,
    pub(super) same: Vec<Fact>,
    pub(super) config: Option<Code>,
}

/// A key that differs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DifferenceRow {
    pub(super) key: String,
    pub(super) base: String,
    pub(super) head: String,
    /// Why it matters, or why it does not.
    pub(super) why_it_matters: String,
}

/// A key and its value.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Fact {
    pub(super) key: String,
    pub(super) value: String,
}

/// A block of code with a fence long enough for it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Code {
    pub(super) fence: String,
    pub(super) lines: Vec<CodeLine>,
}

/// A line and its class: `add`, `del`, `hunk` or empty.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CodeLine {
    pub(super) text: String,
    pub(super) class: &'static str,
}

/// What to do now.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Next {
    pub(super) steps: Vec<Step>,
    pub(super) reproduce: Option<Code>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    /// `Set` or `Raise`, and what: `baseline: ab`.
    pub(super) setting: Option<Setting>,
    pub(super) sentence: String,
}

/// A setting to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Setting {
    pub(super) verb: &'static str,
    pub(super) code: String,
}

/// The small print.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Footer {
    pub(super) version: &'static str,
    /// Designs and runs; empty when nothing was compared.
    pub(super) method: Vec<String>,
    /// Whether there are numbers to explain.
    pub(super) legend: bool,
    /// How limits, provable worsening and spread are read.
    pub(super) zone: Option<&'static str>,
    pub(super) updated: String,
    pub(super) attempt: Option<String>,
}

/// The chart of intervals. Coordinates are SVG user units as text.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Forest {
    pub(super) width: String,
    pub(super) height: String,
    pub(super) plot_left: String,
    pub(super) plot_right: String,
    pub(super) plot_bottom: String,
    pub(super) axis_y: String,
    pub(super) caption_y: String,
    pub(super) zero: String,
    pub(super) ticks: Vec<Tick>,
    pub(super) rows: Vec<ForestRow>,
    /// Whether an interval leaves the plot.
    pub(super) clipped: bool,
    /// Whether shares were judged: their points have no place on the axis.
    pub(super) without_shares: bool,
}

/// A labelled position on an axis.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Tick {
    pub(super) at: String,
    pub(super) label: String,
}

/// One interval.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ForestRow {
    pub(super) metric: String,
    pub(super) scenario: String,
    pub(super) tone: &'static str,
    pub(super) verdict: &'static str,
    /// Everything the row shows, in one sentence.
    pub(super) spoken: String,
    pub(super) delta: String,
    pub(super) top: String,
    pub(super) band: String,
    pub(super) label_y: String,
    pub(super) sub_y: String,
    pub(super) middle: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) point: String,
    pub(super) value_x: String,
    pub(super) better_width: String,
    pub(super) better_x: String,
    pub(super) zone_x: String,
    pub(super) zone_width: String,
    pub(super) worse_x: String,
    pub(super) worse_width: String,
}

/// Two distributions of one quantity in one scenario, as step lines.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Distribution {
    pub(super) title: String,
    pub(super) scenario: String,
    pub(super) base: Option<Curve>,
    pub(super) head: Curve,
    pub(super) ticks: Vec<Tick>,
    /// Said by a screen reader.
    pub(super) spoken: String,
}

/// One distribution.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Curve {
    /// SVG path data.
    pub(super) path: String,
    pub(super) samples: String,
    pub(super) p50: String,
    pub(super) p99: String,
}

/// The pairs of each gating metric.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PairByPair {
    /// Those that are not unchanged.
    pub(super) changed_charts: Vec<PairChart>,
    /// The others, folded.
    pub(super) other_charts: Vec<PairChart>,
    /// `12 unchanged metrics`.
    pub(super) others: String,
}

/// The pairs of one metric: worse is up. Coordinates are SVG user units as text.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PairChart {
    pub(super) id: String,
    pub(super) metric: String,
    pub(super) scenario: String,
    pub(super) icon: &'static str,
    pub(super) verdict: &'static str,
    pub(super) tone: &'static str,
    /// Everything the picture shows, in sentences.
    pub(super) spoken: String,
    /// Top and height of what is proven worse, of the zone between the limits, and of the rest.
    pub(super) worse_height: String,
    pub(super) zone_y: String,
    pub(super) zone_height: String,
    pub(super) better_y: String,
    pub(super) better_height: String,
    pub(super) zero: String,
    pub(super) ticks: Vec<Tick>,
    pub(super) dots: Vec<PairDot>,
    pub(super) estimate: Option<PairEstimate>,
    /// Where the deciding look was, and what it is called.
    pub(super) look: Option<Tick>,
    pub(super) pair_rows: Vec<PairRow>,
}

/// One pair's change.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PairDot {
    /// `used`, `late` (after the decision) or `void`.
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) number: String,
}

/// Mean and interval beside the pairs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PairEstimate {
    pub(super) x: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) point: String,
}

/// One pair as a line of the table.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PairRow {
    pub(super) number: String,
    /// Which side was measured first.
    pub(super) first: &'static str,
    pub(super) base: String,
    pub(super) head: String,
    pub(super) delta: String,
    /// Whether it counts, or why not.
    pub(super) counts: String,
}
