//! What stays in memory of one request: six numbers. Pure.

use std::collections::BTreeMap;

use super::{request::RequestTimes, samples::EXACT};
use crate::load::RequestTrace;

/// The numbers of one good request. Kept of the first 65,536 requests of a scenario: the
/// comparison of two runs resamples them, and KITT's keys are made of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestRecord {
    /// Position in the scenario.
    pub index: u32,
    /// Time to first token; `None` when its time is uncertain.
    pub ttft_ms: Option<f64>,
    /// End-to-end latency.
    pub e2e_ms: f64,
    /// Time per output token.
    pub tpot_ms: Option<f64>,
    /// Mean gap between output chunks.
    pub itl_ms: Option<f64>,
    /// Output tokens, from `usage`.
    pub tokens: Option<u64>,
}

impl RequestRecord {
    pub(super) fn of(trace: &RequestTrace, times: &RequestTimes) -> Self {
        Self {
            index: trace.index,
            ttft_ms: times.certain_ttft_ms(),
            e2e_ms: times.e2e_ms,
            tpot_ms: times.tpot_ms,
            itl_ms: times.itl_mean_ms(),
            tokens: trace.usage.map(|usage| usage.completion_tokens),
        }
    }
}

/// One column per quantity, `length` long but at most 65,536, by request index.
pub(super) fn columns(
    records: &[RequestRecord],
    length: u32,
) -> BTreeMap<String, Vec<Option<f64>>> {
    let length = usize::try_from(length).map_or(EXACT, |length| length.min(EXACT));
    let column = |pick: fn(&RequestRecord) -> Option<f64>| {
        let mut values = vec![None; length];
        for record in records {
            let slot = usize::try_from(record.index).ok();
            if let Some(slot) = slot.and_then(|index| values.get_mut(index)) {
                *slot = pick(record);
            }
        }
        values
    };
    BTreeMap::from([
        ("ttft_ms".to_owned(), column(|record| record.ttft_ms)),
        ("e2e_ms".to_owned(), column(|record| Some(record.e2e_ms))),
        ("tpot_ms".to_owned(), column(|record| record.tpot_ms)),
        ("itl_ms".to_owned(), column(|record| record.itl_ms)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(index: u32) -> RequestRecord {
        RequestRecord {
            index,
            ttft_ms: None,
            e2e_ms: f64::from(index),
            tpot_ms: Some(1.0),
            itl_ms: None,
            tokens: Some(3),
        }
    }

    #[test]
    fn columns_follow_the_index_and_end() {
        let found = columns(&[record(3), record(1), record(9)], 5);
        assert_eq!(found["e2e_ms"], [None, Some(1.0), None, Some(3.0), None]);
        assert_eq!(found["ttft_ms"], [None; 5]);
        assert_eq!(columns(&[], 70_000)["e2e_ms"].len(), 65_536);
    }
}
