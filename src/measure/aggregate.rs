//! The traces of one scenario, all at once, to its [`Measurement`]. Pure.

use std::num::NonZeroU32;

use super::{
    MeasureError, Measurement,
    accumulator::{Accumulator, Ending, Seen},
    spec::MeasureSpec,
};
use crate::{
    load::{ClientAudit, RequestTrace, Stopped},
    plan::PlannedRequest,
    telemetry::{GpuTrace, HostLoad},
};

/// Measures a closed loop whose traces are all at hand: the [`Accumulator`], fed from a slice and
/// without a driver's account of itself. `planned` is what was to be sent, `traces` what
/// happened, `gpu` what was seen meanwhile.
///
/// # Errors
/// [`MeasureError::NoRequests`]: nothing was sent.
pub fn measure(
    planned: &[PlannedRequest],
    traces: &[RequestTrace],
    concurrency: NonZeroU32,
    gpu: Option<&GpuTrace>,
) -> Result<Measurement, MeasureError> {
    let count = u32::try_from(planned.len()).unwrap_or(u32::MAX);
    let mut accumulator = Accumulator::new(MeasureSpec::closed(concurrency, Some(count)));
    for trace in traces {
        accumulator.add(trace);
    }
    let (began, ended) = accumulator.span().unwrap_or_default();
    let ending = Ending {
        began,
        ended,
        stopped: &Stopped::Exhausted,
        client: &ClientAudit::default(),
        host: &HostLoad::default(),
    };
    accumulator.end(&ending, Seen { gpu, server: None })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::request::tests::trace, *};
    use crate::{load::Outcome, measure::Validity};

    fn plan(count: u32, tokens: u32) -> Vec<PlannedRequest> {
        let tokens = NonZeroU32::new(tokens).unwrap();
        let request = |index| PlannedRequest::text(index, String::new(), tokens);
        (0..count).map(request).collect()
    }

    fn measured(
        planned: &[PlannedRequest],
        traces: &[RequestTrace],
        concurrency: u32,
    ) -> Measurement {
        measure(planned, traces, NonZeroU32::new(concurrency).unwrap(), None).unwrap()
    }

    fn near(measurement: &Measurement, name: &str, expected: f64) {
        let found = measurement.metrics[name];
        assert!(
            (found - expected).abs() < 1e-9,
            "{name}: {found} is not {expected}"
        );
    }

    /// Two requests one after the other, 4 output and 10 prompt tokens each:
    /// 0 → 50, 60, 90, 100 and 100 → 170, 180, 190, 200.
    fn two() -> Vec<RequestTrace> {
        vec![
            trace(0, 0, &[50, 60, 90, 100], 4),
            trace(1, 100, &[170, 180, 190, 200], 4),
        ]
    }

    #[test]
    fn every_number_worked_by_hand() {
        let found = measured(&plan(2, 4), &two(), 1);
        near(&found, "ttft_ms.mean", 60.0); // 50, 70
        near(&found, "ttft_ms.p50", 60.0);
        near(&found, "ttft_ms.min", 50.0);
        near(&found, "ttft_ms.max", 70.0);
        near(&found, "e2e_ms.mean", 100.0);
        near(&found, "tpot_ms.mean", 40.0 / 3.0); // 50 / 3, 10
        near(&found, "itl_ms.mean", 80.0 / 6.0); // 10, 30, 10, 10, 10, 10
        near(&found, "itl_ms.p50", 10.0);
        near(&found, "itl_ms.max", 30.0);
        near(&found, "output_tps", 40.0); // 8 tokens in 0.2 s
        near(&found, "total_tps", 140.0); // and 20 of the prompts
        near(&found, "request_rps", 10.0);
        near(&found, "error_rate", 0.0);
        assert_eq!(found.samples["itl_ms"], 6);
        assert_eq!((found.sent, found.ok), (2, 2));
        assert_eq!(
            (found.output_tokens_mean, found.input_tokens_mean),
            (Some(4.0), Some(10.0))
        );
        assert_eq!(found.window_s, Some(0.2));
        assert_eq!(found.coalesced_share, Some(0.0));
        assert_eq!(
            (found.validity, found.notes),
            (Validity::Valid, Vec::<String>::new())
        );
    }

    #[test]
    fn a_quantile_without_enough_requests_is_absent() {
        let found = measured(&plan(2, 4), &two(), 1);
        for name in ["ttft_ms.p90", "ttft_ms.p99", "itl_ms.p90"] {
            assert!(!found.metrics.contains_key(name), "{name}");
        }
    }

    #[test]
    fn every_name_is_known_to_the_metric_table() {
        let found = measured(&plan(2, 4), &two(), 1);
        for name in found.metrics.keys() {
            let described = crate::metric::describe(name);
            assert!(described.better.is_some(), "{name}");
        }
    }

    #[test]
    fn failures_count_and_leave_no_latency() {
        let mut traces = two();
        traces[1].outcome = Outcome::StreamError;
        let found = measured(&plan(2, 4), &traces, 1);
        near(&found, "error_rate", 0.5);
        near(&found, "ttft_ms.mean", 50.0);
        assert_eq!(
            found.outcomes,
            BTreeMap::from([("ok".to_owned(), 1), ("stream_error".to_owned(), 1)])
        );
        assert_eq!(found.per_request["ttft_ms"][0].map(f64::round), Some(50.0));
        assert_eq!(found.per_request["ttft_ms"][1], None);
        assert_eq!(found.validity, Validity::ServerErrored);
    }

    #[test]
    fn without_usage_tokens_are_not_measured() {
        let mut traces = two();
        traces[0].usage = None;
        traces[1].usage = None;
        let found = measured(&plan(2, 4), &traces, 1);
        for name in ["output_tps", "total_tps", "tpot_ms.mean"] {
            assert!(!found.metrics.contains_key(name), "{name}");
        }
        near(&found, "request_rps", 10.0);
        assert_eq!(found.output_tokens_mean, None);
        assert!(
            found.notes.iter().any(|note| note.contains("usage")),
            "{:?}",
            found.notes
        );
    }

    #[test]
    fn all_failed_measures_errors_only() {
        let mut traces = two();
        for trace in &mut traces {
            trace.outcome = Outcome::HttpError;
            trace.usage = None;
        }
        let found = measured(&plan(2, 4), &traces, 1);
        assert_eq!(found.metrics.keys().collect::<Vec<_>>(), ["error_rate"]);
        assert_eq!(found.coalesced_share, None);
    }

    #[test]
    fn columns_are_as_long_as_the_plan() {
        let found = measured(&plan(5, 4), &two(), 1);
        assert!(found.per_request.values().all(|column| column.len() == 5));
        assert_eq!(found.per_request["e2e_ms"].iter().flatten().count(), 2);
    }

    #[test]
    fn nothing_sent_is_an_error() {
        let none = measure(&plan(1, 1), &[], NonZeroU32::MIN, None);
        assert!(matches!(none, Err(MeasureError::NoRequests)));
    }
}
