//! What the templates show: text and yes-or-no, nothing to compute. Every field is always
//! serialised, so that a template in strict mode and the view can be held against each other.
//!
//! In: a [`ReportInput`](super::ReportInput) and how much [`Detail`](super::budget::Detail) fits.

mod absolute;
mod alert;
mod all;
mod cdf;
mod change;
mod environment;
mod footer;
mod forest;
mod headline;
mod limits;
mod next;
mod report;
mod rows;
mod server;
mod state;
mod words;

use serde::Serialize;

pub(super) use report::{Pictures, failure, report};

/// The comment, the summary and the report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct View {
    /// KITT's marker.
    pub(super) kitt_marker: &'static str,
    /// The key's marker.
    pub(super) key_marker: String,
    /// Icon, verdict and colour.
    pub(super) title: Title,
    /// What was measured, where.
    pub(super) subject: Vec<Part>,
    /// Whether there is a baseline.
    pub(super) compared: bool,
    /// At most one.
    pub(super) alert: Option<Alert>,
    /// What did not fit and where it is, when something was left out.
    pub(super) shortened: bool,
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
    /// What to do now; `None` when there is nothing to do.
    pub(super) next: Option<Next>,
    /// Intervals as a picture, HTML only.
    pub(super) forest: Option<Forest>,
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
    /// Whether the design allows no more than a provisional answer.
    pub(super) provisional: bool,
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
    /// `4 + 4`.
    pub(super) runs: String,
    pub(super) design: &'static str,
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

/// What differs around the measurement.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Environment {
    /// `2 differences`.
    pub(super) title: String,
    /// Whether it is shown unfolded.
    pub(super) open: bool,
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
    /// Why it is there, where that is known.
    pub(super) note: Option<String>,
    /// Whether it stops a comparison.
    pub(super) stops: bool,
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
    pub(super) steps: Vec<String>,
    pub(super) reproduce: Option<Code>,
}

/// The small print.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Footer {
    pub(super) version: &'static str,
    /// Designs and runs; empty when nothing was compared.
    pub(super) method: Vec<String>,
    /// Whether there are numbers to explain.
    pub(super) legend: bool,
    /// How the zone is read.
    pub(super) zone: Option<&'static str>,
    /// Which confidence the intervals have.
    pub(super) intervals: Option<String>,
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
