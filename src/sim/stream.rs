//! The body of a streamed answer: one event per frame, one write per event.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc::Receiver;

use super::{
    answer::{Counts, DONE, Finish, Writer},
    ledger::OpenRequest,
    pump::Delivery,
    truth::Outcome,
};

/// The body of any answer.
pub(super) type Reply = http_body_util::Either<Full<Bytes>, TokenStream>;

/// What is to be streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Script {
    /// Tokens that the scheduler will deliver.
    pub tokens: u32,
    /// How the answer ends after them.
    pub ending: Ending,
}

/// How a stream ends after its last token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it should.
    Whole {
        finish: Finish,
        /// The counts, where the client asked for them.
        usage: Option<Counts>,
    },
    /// The connection is closed without finish reason, `[DONE]` or terminator.
    Cut,
}

/// The stream was cut: hyper closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the simulated engine cut this stream")]
pub(super) struct StreamCut;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Role,
    Token(u32),
    Usage,
    Done,
    End,
}

/// A streamed answer.
#[derive(Debug)]
pub(super) struct TokenStream {
    writer: Writer,
    script: Script,
    tokens: Receiver<Delivery>,
    request: OpenRequest,
    phase: Phase,
    /// Whether the last poll gave a frame that hyper has not been made to flush yet.
    unflushed: bool,
}

impl TokenStream {
    pub(super) fn new(
        writer: Writer,
        script: Script,
        tokens: Receiver<Delivery>,
        request: OpenRequest,
    ) -> Self {
        Self {
            writer,
            script,
            tokens,
            request,
            phase: Phase::Role,
            unflushed: false,
        }
    }

    fn next_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamCut>>> {
        match self.phase {
            Phase::Role => {
                self.phase = Phase::Token(0);
                match self.writer.role() {
                    Some(role) => Poll::Ready(Some(Ok(role))),
                    None => self.token(0, context),
                }
            }
            Phase::Token(index) => self.token(index, context),
            Phase::Usage => {
                self.phase = Phase::Done;
                match self.script.ending {
                    Ending::Whole {
                        usage: Some(counts),
                        ..
                    } => Poll::Ready(Some(Ok(self.writer.usage(counts)))),
                    Ending::Whole { usage: None, .. } => self.done(),
                    Ending::Cut => self.cut(),
                }
            }
            Phase::Done => self.done(),
            Phase::End => Poll::Ready(None),
        }
    }

    fn token(
        &mut self,
        index: u32,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, StreamCut>>> {
        let Some(delivery) = ready!(self.tokens.poll_recv(context)) else {
            // The scheduler is gone: the server stops.
            self.phase = Phase::End;
            return Poll::Ready(Some(Err(StreamCut)));
        };
        let next = index.saturating_add(1);
        let last = next >= self.script.tokens;
        self.phase = if last {
            Phase::Usage
        } else {
            Phase::Token(next)
        };
        let finish = match self.script.ending {
            Ending::Whole { finish, .. } if last => Some(finish),
            Ending::Whole { .. } | Ending::Cut => None,
        };
        let event = self.writer.token(index, finish);
        self.request.due(delivery.due_ns, delivery.admission);
        self.request.sent();
        Poll::Ready(Some(Ok(event)))
    }

    fn done(&mut self) -> Poll<Option<Result<Bytes, StreamCut>>> {
        self.phase = Phase::End;
        self.request.finish(Outcome::Ok);
        Poll::Ready(Some(Ok(DONE)))
    }

    fn cut(&mut self) -> Poll<Option<Result<Bytes, StreamCut>>> {
        self.phase = Phase::End;
        self.request.finish(Outcome::Truncated);
        Poll::Ready(Some(Err(StreamCut)))
    }
}

impl Body for TokenStream {
    type Data = Bytes;
    type Error = StreamCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamCut>>> {
        // hyper collects frames until the body is pending and then writes them together: being
        // pending once after each frame makes every event a write of its own.
        if std::mem::take(&mut self.unflushed) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let event = ready!(self.next_event(context));
        self.unflushed = true;
        Poll::Ready(event.map(|event| event.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Waker};

    use tokio::sync::mpsc;

    use super::{
        super::{
            clock::Clock,
            ledger::Ledger,
            request::Api,
            scheduler::Admission,
            truth::{RequestTruth, ServerTruth},
        },
        *,
    };
    use crate::engine::SimSpec;

    const COUNTS: Counts = Counts {
        prompt: 4,
        completion: 2,
    };

    fn ledger() -> Arc<Ledger> {
        let server = ServerTruth {
            version: "0".to_owned(),
            spec: SimSpec::default(),
            run_factor: 1.0,
        };
        Arc::new(Ledger::open(Clock::start_now(), server, None).unwrap())
    }

    fn request(ledger: &Arc<Ledger>) -> OpenRequest {
        let truth = RequestTruth {
            id: 0,
            streamed: true,
            arrived_ns: 0,
            admitted_ns: None,
            prefill_start_ns: None,
            prefill_end_ns: None,
            due_ns: Vec::new(),
            sent_ns: Vec::new(),
            finished_ns: 0,
            prompt_tokens: 4,
            output_tokens: 0,
            planned_tokens: 2,
            outcome: Outcome::ClientGone,
        };
        OpenRequest::new(Arc::clone(ledger), truth)
    }

    fn delivery(due_ns: u64) -> Delivery {
        Delivery {
            due_ns,
            admission: Admission {
                admitted_ns: 1,
                prefill_start_ns: 2,
                prefill_end_ns: 3,
            },
        }
    }

    /// A chat stream of two tokens that have both been delivered already.
    fn stream(ledger: &Arc<Ledger>, ending: Ending) -> TokenStream {
        let (sender, tokens) = mpsc::channel(2);
        sender.try_send(delivery(10)).unwrap();
        sender.try_send(delivery(20)).unwrap();
        let writer = Writer::new(Api::Chat, 0, 0, "sim");
        let script = Script { tokens: 2, ending };
        TokenStream::new(writer, script, tokens, request(ledger))
    }

    fn whole(usage: Option<Counts>) -> Ending {
        Ending::Whole {
            finish: Finish::Length,
            usage,
        }
    }

    /// Every poll until the end: a frame's text, `pending`, or `cut`.
    fn polls(mut stream: TokenStream) -> Vec<String> {
        let mut context = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        loop {
            match Pin::new(&mut stream).poll_frame(&mut context) {
                Poll::Pending => seen.push("pending".to_owned()),
                Poll::Ready(None) => return seen,
                Poll::Ready(Some(Err(StreamCut))) => seen.push("cut".to_owned()),
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap();
                    seen.push(String::from_utf8(data.to_vec()).unwrap());
                }
            }
        }
    }

    #[test]
    fn every_event_is_flushed_before_the_next() {
        let ledger = ledger();
        let seen = polls(stream(&ledger, whole(Some(COUNTS))));
        let writer = Writer::new(Api::Chat, 0, 0, "sim");
        let events = [
            writer.role().unwrap(),
            writer.token(0, None),
            writer.token(1, Some(Finish::Length)),
            writer.usage(COUNTS),
            DONE,
        ];
        let expected: Vec<String> = events
            .iter()
            .flat_map(|event| {
                let text = String::from_utf8(event.to_vec()).unwrap();
                [text, "pending".to_owned()]
            })
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_whole_stream_is_filed_as_ok_with_both_times_of_each_token() {
        let ledger = ledger();
        polls(stream(&ledger, whole(None)));
        let truth = ledger.truth();
        let request = &truth.requests[0];
        assert_eq!(request.outcome, Outcome::Ok);
        assert_eq!(request.due_ns, [10, 20]);
        assert_eq!(request.sent_ns.len(), 2);
        assert_eq!(request.output_tokens, 2);
        assert_eq!(request.admitted_ns, Some(1));
        assert_eq!(request.prefill_start_ns, Some(2));
        assert_eq!(request.prefill_end_ns, Some(3));
    }

    #[test]
    fn a_cut_stream_has_no_finish_reason_and_no_end() {
        let ledger = ledger();
        let seen = polls(stream(&ledger, Ending::Cut));
        assert!(seen.contains(&"cut".to_owned()), "{seen:?}");
        assert!(!seen.concat().contains("length"), "{seen:?}");
        assert!(!seen.concat().contains("[DONE]"), "{seen:?}");
        assert_eq!(ledger.truth().requests[0].outcome, Outcome::Truncated);
    }

    #[test]
    fn a_stream_dropped_early_is_the_clients_doing_unless_we_stop() {
        for (stopping, outcome) in [(false, Outcome::ClientGone), (true, Outcome::Stopped)] {
            let ledger = ledger();
            let stream = stream(&ledger, whole(None));
            if stopping {
                ledger.set_stopping();
            }
            drop(stream);
            assert_eq!(ledger.truth().requests[0].outcome, outcome);
        }
    }

    #[test]
    fn a_scheduler_that_ends_cuts_the_stream() {
        let ledger = ledger();
        let (sender, tokens) = mpsc::channel(2);
        drop(sender);
        let script = Script {
            tokens: 2,
            ending: whole(None),
        };
        let writer = Writer::new(Api::Text, 0, 0, "sim");
        let seen = polls(TokenStream::new(writer, script, tokens, request(&ledger)));
        assert_eq!(seen, ["cut", "pending"]);
    }
}
