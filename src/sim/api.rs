//! The routes: a request in, an answer or an error object out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::mpsc::{self, Receiver};

use super::{
    answer::{Counts, Finish, Writer},
    draws::{self, Key},
    ledger::{Ledger, OpenRequest},
    model,
    pump::{Delivery, Submission},
    request::{self, Api, ApiError, Ask, MAX_MODEL_LEN},
    scheduler::Job,
    stream::{Ending, Reply, Script, TokenStream},
    truth::{Outcome, RequestTruth},
};
use crate::engine::SimSpec;

/// Largest request body.
const MAX_BODY: usize = 16 * 1024 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Service {
    spec: SimSpec,
    ready_ns: u64,
    ledger: Arc<Ledger>,
    inbox: SyncSender<Submission>,
    arrivals: AtomicU64,
}

/// An accepted completion request.
struct Accepted {
    ask: Ask,
    writer: Writer,
    finish: Finish,
    counts: Counts,
    request: OpenRequest,
    tokens: Receiver<Delivery>,
    /// Tokens the scheduler delivers: fewer than the answer's when the stream is to be cut.
    delivered: u32,
    cut: bool,
}

impl Service {
    pub(super) fn new(ledger: Arc<Ledger>, inbox: SyncSender<Submission>) -> Self {
        let spec = ledger.server().spec.clone();
        Self {
            ready_ns: model::nanoseconds(spec.startup_ms),
            spec,
            ledger,
            inbox,
            arrivals: AtomicU64::new(0),
        }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        match self.route(request).await {
            Ok(response) => response,
            Err(error) => refusal(&error),
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Reply>, ApiError> {
        let route = Route::of(request.uri().path())?;
        if *request.method() != route.method() {
            return Ok(wrong_method(route));
        }
        // Only metrics are answered before the model is loaded, as in llama.cpp.
        if route != Route::Metrics && self.ledger.clock.now_ns() < self.ready_ns {
            return Err(unavailable("Loading model"));
        }
        match route {
            Route::Health => Ok(plain(JSON, r#"{"status":"ok"}"#.into())),
            Route::Metrics => Ok(plain(PROMETHEUS, self.ledger.metrics().into())),
            Route::Models => Ok(plain(JSON, self.models())),
            Route::Tokenize => {
                let body = read(request).await?;
                let count = request::parse_tokenize(&body, &self.spec.model)?;
                let ids: Vec<u32> = (0..count).collect();
                let answer = json!({"count": count, "max_model_len": MAX_MODEL_LEN, "tokens": ids});
                Ok(plain(JSON, answer.to_string().into()))
            }
            Route::Complete(api) => {
                let body = read(request).await?;
                let arrived_ns = self.ledger.clock.now_ns();
                let ask = request::parse(api, &body, &self.spec.model)?;
                let accepted = self.accept(ask, arrived_ns)?;
                if accepted.ask.stream {
                    Ok(accepted.stream())
                } else {
                    accepted.whole().await
                }
            }
        }
    }

    fn models(&self) -> Bytes {
        json!({"object": "list", "data": [{
            "id": self.spec.model,
            "object": "model",
            "created": 0,
            "owned_by": "kitt",
            "max_model_len": MAX_MODEL_LEN,
        }]})
        .to_string()
        .into()
    }

    /// Draws the request's fate and hands it to the scheduler.
    fn accept(&self, ask: Ask, arrived_ns: u64) -> Result<Accepted, ApiError> {
        let id = self.arrivals.fetch_add(1, Ordering::Relaxed);
        let fate = draws::fate(&self.spec, id);
        let (planned, finish) = answer_length(self.spec.seed, id, &ask);
        let cut = fate.truncated && ask.stream;
        let delivered = if cut { planned.div_ceil(2) } else { planned };
        let truth = truth(&ask, id, arrived_ns, planned);
        let mut request = OpenRequest::new(Arc::clone(&self.ledger), truth);
        if fate.error {
            request.finish(Outcome::Error);
            return Err(failure());
        }
        let room = usize::try_from(delivered).unwrap_or(1).max(1);
        let (sender, tokens) = mpsc::channel(room);
        let job = Job {
            id,
            arrived_ns,
            prompt_tokens: ask.prompt_tokens,
            output_tokens: delivered,
        };
        let submission = Submission {
            job,
            tokens: sender,
        };
        match self.inbox.try_send(submission) {
            Ok(()) => Ok(Accepted {
                // The wall clock is not read here: the time since the server's start stands in.
                writer: Writer::new(
                    ask.api,
                    id,
                    Duration::from_nanos(arrived_ns).as_secs(),
                    &self.spec.model,
                ),
                finish,
                counts: Counts {
                    prompt: ask.prompt_tokens,
                    completion: planned,
                },
                request,
                tokens,
                delivered,
                cut,
                ask,
            }),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                request.finish(Outcome::Error);
                Err(unavailable("The server is overloaded or stopping"))
            }
        }
    }
}

impl Accepted {
    fn stream(self) -> Response<Reply> {
        let ending = if self.cut {
            Ending::Cut
        } else {
            Ending::Whole {
                finish: self.finish,
                usage: self.ask.include_usage.then_some(self.counts),
            }
        };
        let script = Script {
            tokens: self.delivered,
            ending,
        };
        let body = TokenStream::new(self.writer, script, self.tokens, self.request);
        let mut response = Response::new(Either::Right(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, EVENTS);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    async fn whole(mut self) -> Result<Response<Reply>, ApiError> {
        for _ in 0..self.delivered {
            let delivery = self.tokens.recv().await;
            let delivery = delivery.ok_or_else(|| unavailable("The server is stopping"))?;
            self.request.due(delivery.due_ns, delivery.admission);
        }
        let body = self.writer.whole(self.counts, self.finish);
        self.request.sent();
        self.request.finish(Outcome::Ok);
        Ok(plain(JSON, body))
    }
}

/// How many tokens the answer has, and why it ends there.
fn answer_length(server_seed: u64, id: u64, ask: &Ask) -> (u32, Finish) {
    let key = ask.seed.map_or(Key::Arrival(id), Key::Seed);
    let natural = draws::natural_length(server_seed, key, ask.min_tokens);
    if ask.ignore_eos || natural >= ask.max_tokens {
        (ask.max_tokens, Finish::Length)
    } else {
        (natural, Finish::Stop)
    }
}

fn truth(ask: &Ask, id: u64, arrived_ns: u64, planned_tokens: u32) -> RequestTruth {
    RequestTruth {
        id,
        streamed: ask.stream,
        arrived_ns,
        admitted_ns: None,
        prefill_start_ns: None,
        prefill_end_ns: None,
        due_ns: Vec::new(),
        sent_ns: Vec::new(),
        finished_ns: arrived_ns,
        prompt_tokens: ask.prompt_tokens,
        output_tokens: 0,
        planned_tokens,
        outcome: Outcome::ClientGone,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Health,
    Metrics,
    Models,
    Tokenize,
    Complete(Api),
}

impl Route {
    fn of(path: &str) -> Result<Self, ApiError> {
        match path {
            "/health" => Ok(Self::Health),
            "/metrics" => Ok(Self::Metrics),
            "/v1/models" => Ok(Self::Models),
            "/tokenize" => Ok(Self::Tokenize),
            "/v1/chat/completions" => Ok(Self::Complete(Api::Chat)),
            "/v1/completions" => Ok(Self::Complete(Api::Text)),
            _ => Err(ApiError {
                status: StatusCode::NOT_FOUND,
                kind: "NotFoundError",
                param: None,
                message: "Not Found".to_owned(),
            }),
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Health | Self::Metrics | Self::Models => "GET",
            Self::Tokenize | Self::Complete(_) => "POST",
        }
    }
}

/// Reads a body of at most [`MAX_BODY`] bytes.
async fn read(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(ApiError::bad_request(
            None,
            format!("the body could not be read: {error}"),
        )),
    }
}

fn too_large() -> ApiError {
    ApiError {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        kind: "RequestTooLargeError",
        param: None,
        message: format!("a request body may have {MAX_BODY} bytes"),
    }
}

fn wrong_method(route: Route) -> Response<Reply> {
    let mut response = refusal(&ApiError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        kind: "MethodNotAllowedError",
        param: None,
        message: "Method Not Allowed".to_owned(),
    });
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(route.method()));
    response
}

fn unavailable(message: &str) -> ApiError {
    ApiError {
        status: StatusCode::SERVICE_UNAVAILABLE,
        kind: "ServiceUnavailableError",
        param: None,
        message: message.to_owned(),
    }
}

fn failure() -> ApiError {
    ApiError {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        kind: "InternalServerError",
        param: None,
        message: "a failure drawn with error_rate".to_owned(),
    }
}

fn plain(kind: HeaderValue, body: Bytes) -> Response<Reply> {
    let mut response = Response::new(Either::Left(Full::new(body)));
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn refusal(error: &ApiError) -> Response<Reply> {
    let mut response = plain(JSON, error.body());
    *response.status_mut() = error.status;
    response
}
