//! How long the driver takes for one event of a stream: the answer state machine of `load`
//! against the way it went before, which copied every line and every event and parsed through
//! generic values.
//!
//! The answer is chunked HTTP/1.1 with vLLM-like events of about 220 bytes, 16 of them in each
//! read, as a busy engine's arrive. The baseline gets the bare event stream: taking the chunks
//! apart costs it nothing here. Each figure is the best of some rounds, because whatever else the
//! machine does can only add to it.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints, and panics when it is wrong"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use kitt_action::load::replay;

const EVENTS: usize = 256;
const EVENTS_PER_READ: usize = 16;
const ANSWERS: u32 = 40;
const ROUNDS: u32 = 25;

fn main() {
    let events: Vec<String> = (0..EVENTS).map(event).collect();
    let bytes: usize = events.iter().map(String::len).sum();
    let reads = reads(&events);
    let bodies: Vec<String> = events
        .chunks(EVENTS_PER_READ)
        .map(<[String]>::concat)
        .collect();
    let expected = u64::from(ANSWERS) * EVENTS as u64;

    let new = best(|| {
        assert_eq!(replay(ANSWERS, black_box(&reads)), expected);
    });
    let old = best(|| {
        let seen: usize = (0..ANSWERS)
            .map(|_| before::replay(black_box(&bodies)))
            .sum();
        assert_eq!(seen as u64, expected);
    });
    println!(
        "events of {} bytes, {EVENTS_PER_READ} per read",
        bytes / EVENTS
    );
    for (name, time) in [("state machine", new), ("copying decoder", old)] {
        let each = time.as_secs_f64() * 1e9 / expected as f64;
        println!("{name:16} {each:6.0} ns/event  {:9.0} events/s", 1e9 / each);
    }
    println!(
        "ratio            {:6.2}",
        old.as_secs_f64() / new.as_secs_f64()
    );
}

fn event(number: usize) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-5f0c9e64a1d84c0f9f1b2d3c4e5f6a7b\",\
         \"object\":\"chat.completion.chunk\",\"created\":1731000000,\
         \"model\":\"org/model-8b\",\"choices\":[{{\"index\":0,\
         \"delta\":{{\"content\":\" w{number:03}\"}},\"logprobs\":null,\
         \"finish_reason\":null}}]}}\n\n"
    )
}

/// Head, events in HTTP chunks of their own, terminator.
fn reads(events: &[String]) -> Vec<Vec<u8>> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let mut reads = vec![head.as_bytes().to_vec()];
    for together in events.chunks(EVENTS_PER_READ) {
        let chunks = together
            .iter()
            .map(|event| format!("{:x}\r\n{event}\r\n", event.len()));
        reads.push(chunks.collect::<String>().into_bytes());
    }
    reads.push(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n".to_vec());
    reads
}

fn best(mut work: impl FnMut()) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    rounds.min().expect("there are rounds")
}

/// The way it went before.
mod before {
    use std::borrow::Cow;

    use serde::Deserialize;
    use serde_json::Value;

    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow, default)]
        choices: Option<Vec<Choice<'a>>>,
        #[serde(default)]
        usage: Option<Value>,
        #[serde(default)]
        error: Option<Value>,
        #[serde(borrow, default)]
        object: Option<Cow<'a, str>>,
    }

    #[derive(Deserialize)]
    struct Choice<'a> {
        #[serde(default)]
        delta: Option<Delta>,
        #[serde(borrow, default)]
        finish_reason: Option<Cow<'a, str>>,
    }

    #[derive(Deserialize)]
    struct Delta {
        #[serde(default)]
        content: Option<Value>,
        #[serde(default)]
        reasoning_content: Option<Value>,
    }

    /// Decodes one answer and returns its events with content.
    pub(super) fn replay(bodies: &[String]) -> usize {
        let mut decoder = Decoder::default();
        let mut found = 0;
        for body in bodies {
            let mut events = Vec::new();
            decoder.push(body.as_bytes(), &mut events);
            found += events.iter().filter(|data| has_content(data)).count();
        }
        found
    }

    fn has_content(data: &str) -> bool {
        let event: Event<'_> = serde_json::from_str(data.trim()).expect("events are JSON");
        let ended = |choice: &Choice<'_>| choice.finish_reason.is_some();
        let choices = event.choices.unwrap_or_default();
        event.usage.is_none()
            && event.error.is_none()
            && event.object.as_deref() != Some("error")
            && !choices.iter().any(ended)
            && choices.iter().any(|choice| {
                choice.delta.as_ref().is_some_and(|delta| {
                    delta.content.is_some() || delta.reasoning_content.is_some()
                })
            })
    }

    #[derive(Default)]
    struct Decoder {
        line: Vec<u8>,
        data: Option<String>,
    }

    impl Decoder {
        fn push(&mut self, bytes: &[u8], events: &mut Vec<String>) {
            let mut rest = bytes;
            while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                let (line, tail) = rest.split_at(end);
                self.line.extend_from_slice(line);
                self.end_line(events);
                rest = match tail {
                    [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
                    [] => &[],
                };
            }
            self.line.extend_from_slice(rest);
        }

        fn end_line(&mut self, events: &mut Vec<String>) {
            if self.line.is_empty() {
                events.extend(self.data.take());
                return;
            }
            let line = String::from_utf8_lossy(&self.line);
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match (name, &mut self.data) {
                ("data", Some(data)) => {
                    data.push('\n');
                    data.push_str(value);
                }
                ("data", none) => *none = Some(value.to_owned()),
                _ => {}
            }
            self.line.clear();
        }
    }
}
