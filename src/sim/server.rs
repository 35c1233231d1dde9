//! Starting and stopping: two threads, one for the scheduler, one for all connections.
//!
//! The connections have a thread and a runtime of their own so that a load generator in the same
//! process does not delay them, nor they it.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, mpsc::SyncSender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    SimError,
    api::Service,
    clock::Clock,
    ledger::Ledger,
    model::Model,
    pump::{self, Submission},
    scheduler::Scheduler,
    truth::{ServerTruth, Truth},
};
use crate::engine::SimSpec;

/// Requests between the connections and the scheduler. It empties this queue whenever it wakes;
/// what does not fit is answered with 503.
const INBOX: usize = 16_384;
/// After a failed accept (too many open files) the next is tried this much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A running simulated engine. Dropped, it stops.
#[derive(Debug)]
pub struct SimServer {
    url: Url,
    ledger: Arc<Ledger>,
    threads: Threads,
}

/// Starts a simulated engine on `host:port`; port 0 takes a free one. With `record`, every
/// finished request is also appended to that file as a line of JSON ([`super::RecordLine`]).
///
/// # Errors
/// A parameter out of range, an address that cannot be listened on, a record that cannot be
/// written, no thread.
pub async fn start(
    spec: SimSpec,
    host: IpAddr,
    port: u16,
    record: Option<PathBuf>,
) -> Result<SimServer, SimError> {
    let model = Model::new(&spec)?;
    let server = ServerTruth {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run_factor: model.run_factor(),
        spec,
    };
    let clock = Clock::start_now();
    let ledger = Arc::new(Ledger::open(clock, server, record.as_deref())?);
    let (sender, inbox) = std::sync::mpsc::sync_channel(INBOX);
    // From here on an error, or a caller that gives up waiting, stops the threads by dropping.
    let mut threads = Threads {
        cancel: CancellationToken::new(),
        ledger: Arc::clone(&ledger),
        handles: Vec::new(),
    };
    let scheduler = pump::spawn(Scheduler::new(model), inbox, Arc::clone(&ledger));
    let scheduler = scheduler.map_err(SimError::Thread)?;
    let asked = SocketAddr::new(host, port);
    let (bound, address) = oneshot::channel();
    let connections = Connections {
        address: asked,
        ledger: Arc::clone(&ledger),
        inbox: sender,
        cancel: threads.cancel.clone(),
    };
    let connections = thread::Builder::new()
        .name("sim-http".to_owned())
        .spawn(move || connections.run(bound))
        .map_err(SimError::Thread)?;
    // Joined in this order: the scheduler ends once the connections are gone.
    threads.handles = vec![connections, scheduler];
    let address = address
        .await
        .map_err(|_gone| SimError::Thread(io::ErrorKind::BrokenPipe.into()))??;
    Ok(SimServer {
        url: url(address)?,
        ledger,
        threads,
    })
}

/// Runs a simulated engine until `cancel`; its URL is logged.
///
/// # Errors
/// As [`start`] and [`SimServer::stop`].
pub async fn serve_until(
    spec: SimSpec,
    host: IpAddr,
    port: u16,
    record: Option<PathBuf>,
    cancel: CancellationToken,
) -> Result<Truth, SimError> {
    let server = start(spec, host, port, record).await?;
    tracing::info!(url = %server.url(), "the simulated engine listens");
    cancel.cancelled().await;
    server.stop().await
}

impl SimServer {
    /// Base URL, without a path; loopback when it listens on every address.
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// The moment that all times of the truth count from.
    pub fn started(&self) -> Instant {
        self.ledger.clock.started()
    }

    /// What has happened so far; requests under way are not in it.
    pub fn truth(&self) -> Truth {
        self.ledger.truth()
    }

    /// Cuts what is running and gives everything that happened.
    ///
    /// # Errors
    /// A thread panicked, or the record could not be written.
    pub async fn stop(self) -> Result<Truth, SimError> {
        let mut threads = self.threads;
        let stopped = tokio::task::spawn_blocking(move || threads.stop()).await;
        stopped
            .map_err(io::Error::other)
            .flatten()
            .map_err(SimError::Thread)?;
        self.ledger.close()?;
        Ok(self.ledger.truth())
    }
}

#[derive(Debug)]
struct Threads {
    cancel: CancellationToken,
    ledger: Arc<Ledger>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    fn stop(&mut self) -> io::Result<()> {
        self.ledger.set_stopping();
        self.cancel.cancel();
        let joined: Vec<thread::Result<()>> =
            self.handles.drain(..).map(JoinHandle::join).collect();
        if joined.iter().any(Result::is_err) {
            return Err(io::Error::other("it panicked"));
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "a thread of the simulated engine failed");
        }
    }
}

/// What the thread of the connections needs.
struct Connections {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    inbox: SyncSender<Submission>,
    cancel: CancellationToken,
}

impl Connections {
    /// Ends when cancelled; all connections, and with them all streams, end with it.
    fn run(self, bound: oneshot::Sender<Result<SocketAddr, SimError>>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return tell(bound, Err(SimError::Thread(error))),
        };
        runtime.block_on(async {
            match self.listen().await {
                Ok((listener, address)) => {
                    tell(bound, Ok(address));
                    self.accept(listener).await;
                }
                Err(error) => tell(bound, Err(error)),
            }
        });
    }

    async fn listen(&self) -> Result<(TcpListener, SocketAddr), SimError> {
        let failed = |source| SimError::Listen {
            address: self.address.to_string(),
            source,
        };
        let listener = TcpListener::bind(self.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok((listener, address))
    }

    async fn accept(self, listener: TcpListener) {
        let service = Arc::new(Service::new(self.ledger, self.inbox));
        loop {
            let accepted = tokio::select! {
                () = self.cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _peer)) => {
                    tokio::spawn(converse(socket, Arc::clone(&service)));
                }
                Err(error) => {
                    tracing::warn!(%error, "the simulated engine could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A caller that stopped waiting drops its handle of the threads, which ends them.
fn tell(
    bound: oneshot::Sender<Result<SocketAddr, SimError>>,
    result: Result<SocketAddr, SimError>,
) {
    if bound.send(result).is_err() {
        tracing::debug!("nobody waits for the simulated engine any more");
    }
}

/// Serves one connection until either side closes it.
async fn converse(socket: TcpStream, service: Arc<Service>) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "events of this connection may be sent together");
    }
    let answer = service_fn(|request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), answer);
    if let Err(error) = connection.await {
        // Clients that leave and streams that are cut end here too.
        tracing::debug!(%error, "a connection to the simulated engine ended early");
    }
}

fn url(bound: SocketAddr) -> Result<Url, SimError> {
    let host: IpAddr = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    let address = SocketAddr::new(host, bound.port());
    Url::parse(&format!("http://{address}/")).map_err(|source| SimError::Address {
        address: address.to_string(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_one_a_client_can_use() {
        for (bound, expected) in [
            ("127.0.0.1:80", "http://127.0.0.1/"),
            ("0.0.0.0:8000", "http://127.0.0.1:8000/"),
            ("[::]:8000", "http://[::1]:8000/"),
            ("10.1.2.3:9", "http://10.1.2.3:9/"),
        ] {
            assert_eq!(url(bound.parse().unwrap()).unwrap().as_str(), expected);
        }
    }
}
