//! What really happened, as values: the record of a server and of each of its requests.
//!
//! All times are nanoseconds since the server's start, on the monotonic clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::SimSpec;

/// Everything a server knows about its own life.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The server.
    pub server: ServerTruth,
    /// Requests that ended, in the order they arrived: the newest 65,536. The record file, where
    /// one was asked for, has all.
    pub requests: Vec<RequestTruth>,
    /// Older requests that are not in `requests` any more.
    pub forgotten: u64,
}

/// One line of a record file: the server first, then each request as it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RecordLine {
    /// The header.
    Server(ServerTruth),
    /// A request that ended.
    Request(RequestTruth),
}

/// What is true of the whole server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerTruth {
    /// Version of this program.
    pub version: String,
    /// Its parameters.
    pub spec: SimSpec,
    /// The factor drawn with `run_cv`, 1 without variation.
    pub run_factor: f64,
}

/// What is true of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTruth {
    /// Counts from 0 in the order of arrival.
    pub id: u64,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// When the whole request had been read.
    pub arrived_ns: u64,
    /// Beginning of the step that admitted it; `None` when it never left the queue.
    pub admitted_ns: Option<u64>,
    /// Beginning of its own prefill.
    pub prefill_start_ns: Option<u64>,
    /// End of its own prefill, which yields the first token. That token is due when the step ends:
    /// at this very time for a request alone, later when others are prefilled or decoded with it.
    pub prefill_end_ns: Option<u64>,
    /// When each token was due by the model, the end of its step: exact, whatever this machine
    /// did.
    pub due_ns: Vec<u64>,
    /// When each token was handed to the socket, one to one with `due_ns`. Of an answer that was
    /// not streamed: one time, of the whole.
    pub sent_ns: Vec<u64>,
    /// When the last event was handed to the socket, or the request ended otherwise.
    pub finished_ns: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens generated for it; equals the length of `due_ns`.
    pub output_tokens: u32,
    /// Tokens of the whole answer, had nothing cut it.
    pub planned_tokens: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended, seen from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered whole.
    Ok,
    /// Answered with status 500 or 503.
    Error,
    /// Its stream was cut on purpose (`truncate_rate`).
    Truncated,
    /// The client closed the connection first.
    ClientGone,
    /// The server was stopped first.
    Stopped,
}

impl Truth {
    /// How late each streamed token was handed to its socket, sorted. Empty without one.
    pub fn lateness(&self) -> Vec<Duration> {
        let mut late: Vec<Duration> = self
            .requests
            .iter()
            .filter(|request| request.streamed)
            .flat_map(|request| request.sent_ns.iter().zip(&request.due_ns))
            .map(|(sent, due)| Duration::from_nanos(sent.saturating_sub(*due)))
            .collect();
        late.sort_unstable();
        late
    }
}

impl RequestTruth {
    /// Arrival to the first token, by the model: the wait for admission, then the step with its
    /// prefill. `None` without a token.
    pub fn ttft_due(&self) -> Option<Duration> {
        let first = self.due_ns.first()?;
        Some(Duration::from_nanos(first.saturating_sub(self.arrived_ns)))
    }

    /// Mean gap between tokens, by the model. `None` with fewer than two.
    pub fn tpot_due(&self) -> Option<Duration> {
        let (first, last) = (self.due_ns.first()?, self.due_ns.last()?);
        let gaps = u64::try_from(self.due_ns.len()).ok()?.checked_sub(1)?;
        let mean = last.saturating_sub(*first).checked_div(gaps)?;
        Some(Duration::from_nanos(mean))
    }

    /// When each token left: as handed to the socket where streamed, as due where not.
    pub(super) fn token_times(&self) -> &[u64] {
        if self.streamed {
            &self.sent_ns
        } else {
            &self.due_ns
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RequestTruth {
        RequestTruth {
            id: 0,
            streamed: true,
            arrived_ns: 1_000,
            admitted_ns: Some(1_000),
            prefill_start_ns: Some(1_000),
            prefill_end_ns: Some(9_000),
            due_ns: vec![10_000, 16_000, 24_000],
            sent_ns: vec![10_500, 16_100, 24_000],
            finished_ns: 24_500,
            prompt_tokens: 5,
            output_tokens: 3,
            planned_tokens: 3,
            outcome: Outcome::Ok,
        }
    }

    #[test]
    fn derived_times_by_hand() {
        let request = request();
        assert_eq!(request.ttft_due(), Some(Duration::from_micros(9)));
        assert_eq!(request.tpot_due(), Some(Duration::from_micros(7)));
        let one = RequestTruth {
            due_ns: vec![10_000],
            ..request
        };
        assert_eq!(one.tpot_due(), None);
    }

    #[test]
    fn lateness_is_of_streamed_tokens_and_sorted() {
        let whole = RequestTruth {
            streamed: false,
            sent_ns: vec![99_000],
            ..request()
        };
        let truth = Truth {
            server: ServerTruth {
                version: "0".to_owned(),
                spec: SimSpec::default(),
                run_factor: 1.0,
            },
            requests: vec![request(), whole],
            forgotten: 0,
        };
        let nanos: Vec<u128> = truth.lateness().iter().map(Duration::as_nanos).collect();
        assert_eq!(nanos, [0, 100, 500]);
    }

    #[test]
    fn record_lines_survive_a_round_trip() {
        let line = RecordLine::Request(request());
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.starts_with(r#"{"kind":"request","id":0"#), "{text}");
        assert_eq!(serde_json::from_str::<RecordLine>(&text).unwrap(), line);
    }
}
