//! Reads the server's own metrics while the load runs.
//!
//! In: where it listens. Out: a [`ServerTrace`] with its gauges about once a second and its
//! counters at both edges of the load. A server without metrics is a value, not an error. The
//! load never waits for this: the requests are a task of their own, each has a short limit, and a
//! late one is left out instead of being made up for.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reqwest::{Client, header::ACCEPT};
use serde::{Deserialize, Serialize};
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::{
    aliases::{Quantity, Reading, Snapshot},
    prometheus,
};
use crate::{
    endpoint::{self, at, chain},
    secret::Secret,
};

/// Limit of one reading.
const TIMEOUT: Duration = Duration::from_millis(800);
/// More than this is no page of one engine.
const LONGEST: usize = 4 << 20;
/// The formats that [`prometheus`] reads, the plainer one first.
const FORMATS: &str =
    "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5, */*;q=0.1";
/// Engines count a step after they have sent its tokens: an edge is read until two readings this
/// far apart agree.
const SETTLE: Duration = Duration::from_millis(100);
/// A server that others use never settles.
const SETTLE_READINGS: u32 = 5;
/// Where TensorRT-LLM has its metrics.
const TRT_LLM: &str = "/prometheus/metrics";
/// Where everybody else has them. In TensorRT-LLM it is a queue that reading empties.
const USUAL: &str = "/metrics";

/// Which server's metrics are read, and how.
#[derive(Debug, Clone)]
pub struct Scrape {
    /// The server's base URL, with or without `/v1`.
    pub base: Url,
    /// Path of the metrics where the engine is known; `None` finds out.
    pub path: Option<String>,
    /// Sent as `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// Time between two readings of the gauges.
    pub interval: Duration,
}

impl Scrape {
    /// One reading a second, without a token. Reading costs the server time too: Python engines
    /// render the page in the process that streams the tokens.
    pub const fn new(base: Url, path: Option<String>) -> Self {
        Self {
            base,
            path,
            bearer: None,
            interval: Duration::from_secs(1),
        }
    }
}

/// The server's gauges at one moment. `None`: it does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ServerSample {
    /// When it was asked, as an offset on the clock of the request traces.
    pub at: Duration,
    /// Sequences in the batch.
    pub running: Option<f64>,
    /// Requests in the queue.
    pub waiting: Option<f64>,
    /// Share of the KV cache in use, 0 to 1; of the fullest where there are several.
    pub kv_usage: Option<f64>,
}

/// What the server told about itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerTrace {
    /// The path it was read at; `None` when there was nothing to read.
    pub path: Option<String>,
    /// Gauges while the load ran, in time order.
    pub samples: Vec<ServerSample>,
    /// Everything, right before the load began.
    pub first: Option<Snapshot>,
    /// Everything, right after the load had ended.
    pub last: Option<Snapshot>,
    /// Readings that failed or took too long while the load ran.
    pub missed: u32,
    /// The longest time one reading took.
    pub longest_reading: Duration,
    /// Why there is nothing, or not all of it; in words.
    pub absent: Option<String>,
}

/// Reads until it is stopped. Dropped, it stops.
#[derive(Debug)]
pub struct ServerSampler {
    running: Result<Running, String>,
}

#[derive(Debug)]
struct Running {
    reader: Reader,
    first: Snapshot,
    stop: DropGuard,
    task: JoinHandle<Sampled>,
}

/// What the task took.
#[derive(Debug, Default)]
struct Sampled {
    samples: Vec<(Instant, BTreeMap<Quantity, Reading>)>,
    missed: u32,
    longest: Duration,
    lost: Option<String>,
}

impl ServerSampler {
    /// Reads everything once, which is the first edge, and starts the task. Call it right before
    /// the load begins, when nothing else is asked of the server. Takes a few tenths of a second,
    /// at most 6 s of a server that hangs now and then.
    pub async fn start(scrape: Scrape) -> Self {
        let running = Running::start(scrape).await;
        if let Err(why) = &running {
            tracing::debug!(%why, "no metrics of the server");
        }
        Self { running }
    }

    /// Reads everything once more and gives all back. Call it right after the last request has
    /// ended. `epoch` is what the request traces count from; gauges from before it are left out.
    pub async fn stop(self, epoch: Instant) -> ServerTrace {
        match self.running {
            Ok(running) => running.stop(epoch).await,
            Err(why) => ServerTrace {
                absent: Some(why),
                ..ServerTrace::default()
            },
        }
    }
}

impl Running {
    async fn start(scrape: Scrape) -> Result<Self, String> {
        let interval = scrape.interval.max(Duration::from_millis(1));
        let reader = Reader::open(scrape).await?;
        let first = reader.edge().await.map_err(|failure| failure.why)?;
        let cancel = CancellationToken::new();
        let task = tokio::spawn(sample(reader.clone(), interval, cancel.clone()));
        Ok(Self {
            reader,
            first,
            stop: cancel.drop_guard(),
            task,
        })
    }

    async fn stop(self, epoch: Instant) -> ServerTrace {
        drop(self.stop);
        let sampled = self.task.await.unwrap_or_else(|error| Sampled {
            lost: Some(format!("the task that reads them failed: {error}")),
            ..Sampled::default()
        });
        let (last, failed) = match self.reader.edge().await {
            Ok(last) => (Some(last), None),
            Err(failure) => (None, Some(failure.why)),
        };
        let gauges = sampled.samples.iter().filter_map(|(taken, gauges)| {
            let at = taken.checked_duration_since(epoch)?;
            let value = |quantity| gauges.get(&quantity).map(|found| found.value);
            Some(ServerSample {
                at,
                running: value(Quantity::Running),
                waiting: value(Quantity::Waiting),
                kv_usage: value(Quantity::KvUsage),
            })
        });
        ServerTrace {
            path: Some(self.reader.path),
            samples: gauges.collect(),
            first: Some(self.first),
            last,
            missed: sampled.missed,
            longest_reading: sampled.longest,
            absent: failed.or(sampled.lost),
        }
    }
}

/// Reads the gauges at a fixed rate; a moment that was missed is left out.
async fn sample(reader: Reader, interval: Duration, cancel: CancellationToken) -> Sampled {
    let mut sampled = Sampled::default();
    let begin = tokio::time::Instant::now() + interval;
    let mut ticks = tokio::time::interval_at(begin, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let reading = async {
        loop {
            ticks.tick().await;
            let asked = Instant::now();
            let read = reader.read().await;
            sampled.longest = sampled.longest.max(asked.elapsed());
            match read {
                Ok(snapshot) => sampled.samples.push((asked, snapshot.gauges)),
                Err(Failure { gone: false, .. }) => sampled.missed += 1,
                Err(Failure { gone: true, why }) => {
                    sampled.lost = Some(why);
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = cancel.cancelled() => {}
    }
    sampled
}

/// Why a reading gave nothing.
#[derive(Debug)]
struct Failure {
    /// Whether asking again is pointless.
    gone: bool,
    why: String,
}

/// Reads one page.
#[derive(Debug, Clone)]
struct Reader {
    client: Client,
    root: Url,
    path: String,
}

impl Reader {
    /// Finds the path that has something we know.
    async fn open(scrape: Scrape) -> Result<Self, String> {
        let client = endpoint::client(&scrape.base, TIMEOUT, scrape.bearer.as_ref())
            .map_err(|error| error.to_string())?;
        let mut reader = Self {
            client,
            root: endpoint::root(&scrape.base),
            path: String::new(),
        };
        let paths = match scrape.path {
            Some(path) => vec![path],
            None => candidates(reader.owner().await.as_deref()),
        };
        let mut why = Vec::new();
        for path in paths {
            reader.path = path;
            match reader.read().await {
                Ok(_) => return Ok(reader),
                Err(failure) => why.push(failure.why),
            }
        }
        Err(why.join("; "))
    }

    /// What the server's list of models is owned by: engines write their own name there.
    async fn owner(&self) -> Option<String> {
        let page = self.get("/v1/models").await.ok()?;
        let models: Models = serde_json::from_str(&page).ok()?;
        models.data.into_iter().find_map(|model| model.owned_by)
    }

    async fn get(&self, path: &str) -> Result<String, Failure> {
        let failed = |gone, why: String| Failure {
            gone,
            why: format!("{path}: {why}"),
        };
        let silence = |error: reqwest::Error| failed(error.is_connect(), chain(&error));
        let request = self.client.get(at(&self.root, path));
        let sent = request.header(ACCEPT, FORMATS).send().await;
        let mut response = sent.map_err(silence)?;
        let status = response.status();
        if status != 200 {
            // A busy server may say 503; one that does not know the path will not learn it.
            let gone = !status.is_server_error();
            return Err(failed(gone, format!("HTTP {}", status.as_u16())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silence)? {
            if body.len() + chunk.len() > LONGEST {
                return Err(failed(true, format!("longer than {LONGEST} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn read(&self) -> Result<Snapshot, Failure> {
        let text = self.get(&self.path).await?;
        let page = prometheus::parse(&text);
        let snapshot = Snapshot::of(&page);
        if snapshot.is_empty() {
            let why = match page.wrong {
                Some((line, why)) if page.samples.is_empty() => {
                    format!("no Prometheus metrics: {why} in line {line}")
                }
                _ => "no metric of an engine that kitt knows".to_owned(),
            };
            return Err(Failure {
                gone: true,
                why: format!("{}: {why}", self.path),
            });
        }
        Ok(snapshot)
    }

    /// Reads until the counters stand still.
    async fn edge(&self) -> Result<Snapshot, Failure> {
        let mut snapshot = self.read().await?;
        for _ in 0..SETTLE_READINGS {
            tokio::time::sleep(SETTLE).await;
            let Ok(next) = self.read().await else {
                break;
            };
            let settled =
                next.counters == snapshot.counters && next.histograms == snapshot.histograms;
            snapshot = next;
            if settled {
                break;
            }
        }
        Ok(snapshot)
    }
}

/// Where the metrics may be, given what the server calls itself. The path that does no harm
/// anywhere comes first.
fn candidates(owner: Option<&str>) -> Vec<String> {
    let paths: &[&str] = match owner {
        Some("tensorrt_llm") => &[TRT_LLM],
        Some("vllm" | "sglang" | "llamacpp" | "lmdeploy") => &[USUAL],
        _ => &[TRT_LLM, USUAL],
    };
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    owned_by: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_of_tensorrt_llm_is_never_read() {
        assert_eq!(candidates(Some("tensorrt_llm")), ["/prometheus/metrics"]);
        assert_eq!(candidates(Some("vllm")), ["/metrics"]);
        assert_eq!(candidates(None), ["/prometheus/metrics", "/metrics"]);
    }
}
