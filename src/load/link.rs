//! One HTTP/1.1 connection: open, ask, read the answer's stream.
//!
//! The connection is polled by the task that reads the answer, not by one of its own: the body
//! is asked first, then the connection. hyper hands over one frame at a time and reads no further
//! until it is taken, so the latest read of the socket is the one that completed the frame.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Host;

use super::{
    stamp::{Stamped, Stamps},
    stream::{End, Stream},
    target::Wire,
};

/// A server that sent `[DONE]` and not the end of its message gets this long before its
/// connection is given up; the answer is complete either way.
const END_GRACE: Duration = Duration::from_millis(500);
/// How much of an error's body is read.
const MAX_ERROR_BODY: usize = 64 * 1024;

type Connection = http1::Connection<TokioIo<Stamped<TcpStream>>, Full<Bytes>>;

/// How an exchange went.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) end: End,
    /// The answer's status, if there was one.
    pub(super) status: Option<StatusCode>,
    /// Whether the connection can take another request.
    pub(super) reusable: bool,
    /// Whether a connection that had served before was gone before a byte came back: the server
    /// closed it while it was idle, and the request can be sent again.
    pub(super) stale: bool,
}

impl Exchange {
    pub(super) fn stopped(end: End, status: Option<StatusCode>) -> Self {
        Self {
            end,
            status,
            reusable: false,
            stale: false,
        }
    }
}

/// An open connection.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    connection: Option<Connection>,
    stamps: Arc<Stamps>,
    served: bool,
}

impl Link {
    /// Connects; times will be offsets from `epoch`.
    ///
    /// # Errors
    /// The system cannot connect within `limit`.
    pub(super) async fn open(wire: &Wire, epoch: Instant, limit: Duration) -> io::Result<Self> {
        let connecting = async {
            match &wire.host {
                Host::Domain(name) => TcpStream::connect((name.as_str(), wire.port)).await,
                Host::Ipv4(address) => TcpStream::connect((*address, wire.port)).await,
                Host::Ipv6(address) => TcpStream::connect((*address, wire.port)).await,
            }
        };
        let socket = match tokio::time::timeout(limit, connecting).await {
            Ok(socket) => socket?,
            Err(elapsed) => return Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
        };
        socket.set_nodelay(true)?;
        let stamps = Stamps::new(epoch);
        let io = TokioIo::new(Stamped::new(socket, Arc::clone(&stamps)));
        let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
        Ok(Self {
            sender,
            connection: Some(connection),
            stamps,
            served: false,
        })
    }

    /// The times of this connection's traffic.
    pub(super) fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// Whether the server has kept the connection open so far.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|context| {
            if let Some(connection) = &mut self.connection
                && Pin::new(connection).poll(context).is_ready()
            {
                self.connection = None;
            }
            Poll::Ready(())
        })
        .await;
        self.connection.is_some() && !self.sender.is_closed()
    }

    /// Sends a request and feeds its answer to `stream`. Dropping the future leaves the
    /// connection unusable; what `stream` got stays.
    pub(super) async fn exchange(
        &mut self,
        wire: &Wire,
        body: Bytes,
        stream: &mut Stream,
    ) -> Exchange {
        self.stamps.arm();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = wire.uri.clone();
        request.headers_mut().clone_from(&wire.headers);
        let reads = self.stamps.reads();
        let sending = pin!(self.sender.send_request(request));
        let response = match with(&mut self.connection, sending).await {
            Ok(response) => response,
            Err(error) => {
                let stale = self.served && self.stamps.reads() == reads;
                let end = End::Refused(format!("no answer: {}", chain(&error)));
                return Exchange {
                    stale,
                    ..Exchange::stopped(end, None)
                };
            }
        };
        self.served = true;
        if response.status() == StatusCode::OK {
            self.read_stream(response, stream).await
        } else {
            self.read_refusal(response).await
        }
    }

    async fn read_stream(&mut self, response: Response<Incoming>, stream: &mut Stream) -> Exchange {
        let status = Some(response.status());
        if is_json(&response) {
            let body = self.read_text(response).await.0;
            stream.reject(&format!("the answer is no event stream: {body}"));
            return Exchange::stopped(End::Stopped, status);
        }
        let mut body = response.into_body();
        loop {
            let frame = pin!(body.frame());
            let next = with(&mut self.connection, frame);
            let frame = if stream.done() {
                match tokio::time::timeout(END_GRACE, next).await {
                    Ok(frame) => frame,
                    Err(_elapsed) => return Exchange::stopped(End::Stopped, status),
                }
            } else {
                next.await
            };
            match frame {
                None => {
                    return Exchange {
                        reusable: true,
                        ..Exchange::stopped(End::Complete, status)
                    };
                }
                Some(Err(error)) => {
                    let why = format!("the connection broke off: {}", chain(&error));
                    return Exchange::stopped(End::Broken(why), status);
                }
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        stream.feed(bytes, self.stamps.last_read(), self.stamps.reads());
                    }
                }
            }
            if stream.failed() {
                return Exchange::stopped(End::Stopped, status);
            }
        }
    }

    async fn read_refusal(&mut self, response: Response<Incoming>) -> Exchange {
        let status = response.status();
        let (body, whole) = self.read_text(response).await;
        let why = format!("HTTP {status}: {body}");
        Exchange {
            reusable: whole,
            ..Exchange::stopped(End::Refused(why), Some(status))
        }
    }

    /// The beginning of a body as text, and whether it was read to its end.
    async fn read_text(&mut self, response: Response<Incoming>) -> (String, bool) {
        let mut body = response.into_body();
        let mut text = Vec::new();
        loop {
            let frame = match with(&mut self.connection, pin!(body.frame())).await {
                None => return (String::from_utf8_lossy(&text).into_owned(), true),
                Some(Ok(frame)) => frame,
                Some(Err(_broken)) => break,
            };
            text.extend_from_slice(frame.data_ref().map_or(&[], |bytes| bytes));
            if text.len() > MAX_ERROR_BODY {
                break;
            }
        }
        (String::from_utf8_lossy(&text).into_owned(), false)
    }
}

fn is_json(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json"))
}

/// An error with its causes: hyper's own text leaves out what the system said.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Drives the connection until `future` is done. The future goes first, see the module's notes.
async fn with<F: Future>(
    connection: &mut Option<Connection>,
    mut future: Pin<&mut F>,
) -> F::Output {
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        if let Some(running) = connection
            && Pin::new(running).poll(context).is_ready()
        {
            *connection = None;
        }
        future.as_mut().poll(context)
    })
    .await
}
