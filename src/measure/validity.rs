//! Whether a measurement can be trusted, and why not (design §5.6). Pure.

use std::num::NonZeroU32;

use super::{
    Validity,
    window::{Fallback, Window},
};
use crate::{
    load::{Outcome, RequestTrace},
    plan::PlannedRequest,
};

/// More failed requests than this make the numbers those of a failing server.
const MAX_ERROR_RATE: f64 = 0.01;
/// A larger share of idle request slots means that the client did not keep up.
const MAX_DEFICIT: f64 = 0.05;
/// A larger difference of lengths makes throughput incomparable (design §5.3).
const MAX_LENGTH_DRIFT: f64 = 0.01;
/// Above this share of merged chunks the quantiles of ITL are bounds.
const MAX_COALESCED: f64 = 0.01;

/// What the judgement rests on.
pub(super) struct Findings<'a> {
    pub(super) planned: &'a [PlannedRequest],
    pub(super) traces: &'a [RequestTrace],
    pub(super) concurrency: NonZeroU32,
    pub(super) window: Option<&'a Window>,
    pub(super) error_rate: Option<f64>,
    pub(super) coalesced_share: Option<f64>,
    pub(super) gpu_notes: Vec<String>,
}

/// The worst thing that can be said, and everything that is worth saying.
pub(super) fn judge(findings: &Findings<'_>) -> (Validity, Vec<String>) {
    let mut notes = Vec::new();
    let errors = server_errors(findings, &mut notes);
    let inconclusive = too_little(findings, &mut notes);
    let limited = client_limit(findings, &mut notes);
    lengths(findings, &mut notes);
    if let Some(share) = findings
        .coalesced_share
        .filter(|share| *share > MAX_COALESCED)
    {
        notes.push(format!(
            "{:.1} % of the output chunks arrived together with the one before: \
             quantiles of ITL are bounds, its mean is right",
            share * 100.0
        ));
    }
    notes.extend(findings.gpu_notes.iter().cloned());
    let validity = if errors {
        Validity::ServerErrored
    } else if inconclusive {
        Validity::Inconclusive
    } else if limited {
        Validity::ClientLimited
    } else {
        Validity::Valid
    };
    (validity, notes)
}

fn server_errors(findings: &Findings<'_>, notes: &mut Vec<String>) -> bool {
    let Some(rate) = findings.error_rate.filter(|rate| *rate > 0.0) else {
        return false;
    };
    let failed = |trace: &&RequestTrace| !matches!(trace.outcome, Outcome::Ok | Outcome::Cancelled);
    let first = findings.traces.iter().find(failed);
    let example = first.map(|trace| {
        let name = trace.outcome.name();
        let text = trace.error.as_deref().unwrap_or("no text");
        format!("; the first: {name}: {text}")
    });
    notes.push(format!(
        "{:.1} % of the requests failed{}",
        rate * 100.0,
        example.unwrap_or_default()
    ));
    rate > MAX_ERROR_RATE
}

fn too_little(findings: &Findings<'_>, notes: &mut Vec<String>) -> bool {
    let before = notes.len();
    let count = |wanted| {
        let of = |trace: &&RequestTrace| trace.outcome == wanted;
        findings.traces.iter().filter(of).count()
    };
    if count(Outcome::Ok) == 0 {
        notes.push("no request ended well".to_owned());
    }
    let cancelled = count(Outcome::Cancelled);
    let (sent, planned) = (findings.traces.len(), findings.planned.len());
    if cancelled > 0 || sent < planned {
        let ended = sent - cancelled;
        notes.push(format!(
            "stopped early: {ended} of {planned} requests ended by themselves"
        ));
    }
    let fallback = findings.window.map(|window| window.fallback);
    if fallback == Some(Some(Fallback::NeverReached)) {
        notes.push(format!(
            "{} requests were never in flight at once: throughput is over the whole span",
            findings.concurrency
        ));
    }
    let found = notes.len() > before;
    if fallback == Some(Some(Fallback::TooShort)) {
        notes.push(format!(
            "{} requests were in flight for a moment only: throughput is over the whole span, \
             ramps included",
            findings.concurrency
        ));
    }
    found
}

fn client_limit(findings: &Findings<'_>, notes: &mut Vec<String>) -> bool {
    let steady = |window: &&Window| window.fallback.is_none() && window.deficit > MAX_DEFICIT;
    let Some(window) = findings.window.filter(steady) else {
        return false;
    };
    notes.push(format!(
        "the client kept {:.1} % fewer requests in flight than asked for: \
         it was the limit, not the server",
        window.deficit * 100.0
    ));
    true
}

fn lengths(findings: &Findings<'_>, notes: &mut Vec<String>) {
    let good = findings
        .traces
        .iter()
        .filter(|trace| trace.outcome == Outcome::Ok);
    let (mut asked, mut got, mut uncounted) = (0_u64, 0_u64, 0_u64);
    for trace in good {
        let Some(usage) = trace.usage else {
            uncounted += 1;
            continue;
        };
        let request = findings.planned.iter().find(|one| one.index == trace.index);
        if let Some(request) = request {
            asked += u64::from(request.output_tokens.get());
            got += usage.completion_tokens;
        }
    }
    if uncounted > 0 {
        notes.push(format!(
            "{uncounted} answers came without usage: tokens were not counted, \
             and nothing that needs them is reported"
        ));
    }
    if asked > 0 && (got as f64 / asked as f64 - 1.0).abs() > MAX_LENGTH_DRIFT {
        notes.push(format!(
            "the answers held {got} tokens where {asked} were asked for: \
             throughput can only be compared with runs of the same length"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{request::tests::trace, window::window},
        *,
    };

    fn judged(
        traces: &[RequestTrace],
        planned: u32,
        concurrency: u32,
        error_rate: f64,
        coalesced_share: f64,
    ) -> (Validity, String) {
        let planned: Vec<PlannedRequest> = (0..planned)
            .map(|index| PlannedRequest {
                index,
                prompt: String::new(),
                output_tokens: NonZeroU32::new(100).unwrap(),
            })
            .collect();
        let concurrency = NonZeroU32::new(concurrency).unwrap();
        let (validity, notes) = judge(&Findings {
            planned: &planned,
            traces,
            concurrency,
            window: window(traces, concurrency).as_ref(),
            error_rate: Some(error_rate),
            coalesced_share: Some(coalesced_share),
            gpu_notes: vec!["from the GPU".to_owned()],
        });
        let mut notes = notes.join("\n");
        assert!(notes.ends_with("from the GPU"));
        notes.truncate(notes.len() - "from the GPU".len());
        (validity, notes.trim_end().to_owned())
    }

    fn back_to_back() -> Vec<RequestTrace> {
        vec![
            trace(0, 0, &[50, 100], 100),
            trace(1, 100, &[150, 200], 100),
        ]
    }

    #[test]
    fn a_good_run_is_valid_without_a_word() {
        let found = judged(&back_to_back(), 2, 1, 0.0, 0.01);
        assert_eq!(found, (Validity::Valid, String::new()));
    }

    #[test]
    fn one_per_cent_of_errors_is_the_limit() {
        let (at, note) = judged(&back_to_back(), 2, 1, 0.01, 0.0);
        assert_eq!(
            (at, note.as_str()),
            (Validity::Valid, "1.0 % of the requests failed")
        );
        let mut traces = back_to_back();
        traces[0].outcome = Outcome::HttpError;
        traces[0].error = Some("HTTP 503".to_owned());
        let (above, note) = judged(&traces, 2, 1, 0.5, 0.0);
        assert_eq!(above, Validity::ServerErrored);
        assert!(
            note.contains("50.0 %") && note.contains("http_error: HTTP 503"),
            "{note}"
        );
    }

    #[test]
    fn idle_slots_mean_the_client_was_the_limit() {
        let gap = |idle: u64| {
            vec![
                trace(0, 0, &[100], 100),
                trace(1, 100 + idle, &[200 + idle], 100),
            ]
        };
        assert_eq!(judged(&gap(10), 2, 1, 0.0, 0.0).0, Validity::Valid); // 10 of 210
        let (limited, note) = judged(&gap(20), 2, 1, 0.0, 0.0); // 20 of 220
        assert_eq!(limited, Validity::ClientLimited);
        assert!(note.contains("9.1 %"), "{note}");
    }

    #[test]
    fn a_stopped_or_too_small_run_is_inconclusive() {
        assert_eq!(
            judged(&back_to_back(), 3, 1, 0.0, 0.0).0,
            Validity::Inconclusive
        );
        let mut traces = back_to_back();
        traces[1].outcome = Outcome::Cancelled;
        let (validity, note) = judged(&traces, 2, 1, 0.0, 0.0);
        assert_eq!(validity, Validity::Inconclusive);
        assert!(note.contains("1 of 2"), "{note}");
        let (validity, note) = judged(&back_to_back(), 2, 4, 0.0, 0.0);
        assert_eq!(validity, Validity::Inconclusive);
        assert!(note.contains("4 requests were never in flight"), "{note}");
    }

    #[test]
    fn other_lengths_missing_usage_and_merged_chunks_are_told() {
        let mut traces = back_to_back();
        traces[1].usage.as_mut().unwrap().completion_tokens = 97;
        let (validity, note) = judged(&traces, 2, 1, 0.0, 0.0);
        assert_eq!(validity, Validity::Valid);
        assert!(
            note.contains("197 tokens where 200 were asked for"),
            "{note}"
        );
        traces[1].usage = None;
        let (_, note) = judged(&traces, 2, 1, 0.0, 0.25);
        assert!(note.contains("1 answers came without usage"), "{note}");
        assert!(note.contains("25.0 % of the output chunks"), "{note}");
    }
}
