//! What the server told about itself: by scenario, baseline beside current. It explains the
//! client's numbers and is never judged.

use std::collections::{BTreeMap, BTreeSet};

use super::{Server, ServerGroup, ServerRow};
use crate::{
    metric::Unit,
    render::{
        ReportInput,
        budget::{Detail, Metrics},
        escape::clean,
        number::{NOTHING, Scale, plural},
    },
    results::{ResultSet, ScenarioRecord},
    telemetry::ServerNumbers,
};

/// Longest name of a scenario, in characters.
const NAME: usize = 80;
/// Longest name of a metric of the engine, in characters.
const SOURCE: usize = 120;
/// Scenarios that are shown.
const SCENARIOS: usize = 20;
/// Names of metrics that are shown.
const SOURCES: usize = 20;

/// How the runs of one side become one number.
#[derive(Clone, Copy)]
enum Join {
    Mean,
    Max,
}

/// One line of the table: what it is called, its unit, and where it comes from.
type Line = (&'static str, Unit, Join, fn(&Seen<'_>) -> Option<f64>);

const LINES: &[Line] = &[
    ("TTFT mean", Unit::Milliseconds, Join::Mean, |seen| {
        seen.server.ttft_mean_ms
    }),
    (
        "TTFT mean at the client beyond it: network, waiting before the engine",
        Unit::Milliseconds,
        Join::Mean,
        |seen| Some(seen.record.metrics.get("ttft_ms.mean")? - seen.server.ttft_mean_ms?),
    ),
    ("TTFT p50", Unit::Milliseconds, Join::Mean, |seen| {
        seen.server.ttft_p50_ms
    }),
    ("TTFT p99", Unit::Milliseconds, Join::Mean, |seen| {
        seen.server.ttft_p99_ms
    }),
    ("ITL or TPOT mean", Unit::Milliseconds, Join::Mean, |seen| {
        seen.server.itl_mean_ms
    }),
    ("E2E latency mean", Unit::Milliseconds, Join::Mean, |seen| {
        seen.server.e2e_mean_ms
    }),
    (
        "requests in the queue, mean",
        Unit::Count,
        Join::Mean,
        |seen| seen.server.queue_mean,
    ),
    (
        "requests in the queue, most",
        Unit::Count,
        Join::Max,
        |seen| seen.server.queue_max,
    ),
    (
        "sequences in the batch, mean",
        Unit::Count,
        Join::Mean,
        |seen| seen.server.running_mean,
    ),
    (
        "sequences in the batch, most",
        Unit::Count,
        Join::Max,
        |seen| seen.server.running_max,
    ),
    ("KV cache in use, most", Unit::Share, Join::Max, |seen| {
        seen.server.kv_usage_max
    }),
    ("prefix cache hits", Unit::Share, Join::Mean, |seen| {
        seen.server.prefix_cache_hit_share
    }),
    (
        "preemptions, most in a run",
        Unit::Count,
        Join::Max,
        |seen| seen.server.preemptions,
    ),
    ("prompt tokens per run", Unit::Count, Join::Mean, |seen| {
        seen.server.prompt_tokens
    }),
    (
        "generated tokens per run",
        Unit::Count,
        Join::Mean,
        |seen| seen.server.generation_tokens,
    ),
    ("requests per run", Unit::Count, Join::Mean, |seen| {
        seen.server.requests
    }),
];

/// One scenario of one run, seen from both ends.
struct Seen<'a> {
    record: &'a ScenarioRecord,
    server: ServerNumbers,
}

/// The section; `None` when no server told anything, and where it does not fit.
pub(super) fn server(input: &ReportInput<'_>, detail: &Detail) -> Option<Server> {
    if detail.metrics != Metrics::All {
        return None;
    }
    let base = input.baseline.ok().map(seen).unwrap_or_default();
    let head = seen(input.current);
    let scenarios: BTreeSet<&str> = base.keys().chain(head.keys()).copied().collect();
    let of = |side: &BTreeMap<&str, Vec<Seen<'_>>>, scenario: &str, line: &Line| {
        side.get(scenario).and_then(|runs| joined(runs, line))
    };
    let groups: Vec<ServerGroup> = scenarios
        .iter()
        .take(SCENARIOS)
        .map(|scenario| ServerGroup {
            scenario: clean(scenario, NAME),
            rows: LINES
                .iter()
                .filter_map(|line| row(line, of(&base, scenario, line), of(&head, scenario, line)))
                .collect(),
        })
        .filter(|group| !group.rows.is_empty())
        .collect();
    let names: BTreeSet<&str> = head
        .values()
        .flatten()
        .flat_map(|one| one.server.names.values().map(String::as_str))
        .collect();
    (!groups.is_empty()).then(|| Server {
        title: format!(
            "told by the engine itself in {}",
            plural(groups.len(), "scenario", "scenarios")
        ),
        sources: names
            .into_iter()
            .take(SOURCES)
            .map(|name| clean(name, SOURCE))
            .collect(),
        groups,
    })
}

/// What servers told, by scenario, over the runs. Another version's or a damaged entry is none.
fn seen(set: &ResultSet) -> BTreeMap<&str, Vec<Seen<'_>>> {
    let mut seen: BTreeMap<&str, Vec<Seen<'_>>> = BTreeMap::new();
    for (scenario, record) in set.runs.iter().flat_map(|run| &run.scenarios) {
        let server = record.facts.server.clone();
        if let Some(server) = server.and_then(|value| serde_json::from_value(value).ok()) {
            seen.entry(scenario)
                .or_default()
                .push(Seen { record, server });
        }
    }
    seen
}

fn joined(runs: &[Seen<'_>], (_, _, join, of): &Line) -> Option<f64> {
    let values: Vec<f64> = runs.iter().filter_map(of).collect();
    match join {
        Join::Mean if values.is_empty() => None,
        Join::Mean => Some(values.iter().sum::<f64>() / values.len() as f64),
        Join::Max => values.into_iter().reduce(f64::max),
    }
}

fn row((label, unit, _, _): &Line, base: Option<f64>, head: Option<f64>) -> Option<ServerRow> {
    let scale = Scale::of(*unit, base.or(head)?);
    let text = |value: Option<f64>| value.map_or(NOTHING.to_owned(), |value| scale.text(value));
    Some(ServerRow {
        quantity: label,
        base: text(base),
        head: text(head),
    })
}
