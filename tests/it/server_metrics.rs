//! The server's own metrics: against the simulated engine, whose truth is known, and against
//! servers that answer late, wrong, too much or not at all.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kitt_action::{
    engine::SimSpec,
    secret::Secret,
    sim,
    telemetry::{Quantity, Scrape, ServerSampler, ServerTrace, server_numbers},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use url::Url;

/// What the scripted server answers.
enum Reply {
    Body(&'static str, String),
    Silence,
}

fn ok(body: impl Into<String>) -> Reply {
    Reply::Body("200 OK", body.into())
}

fn nothing_here() -> Reply {
    Reply::Body("404 Not Found", "not found".to_owned())
}

/// Answers by path and by how often that path was asked for before.
type Script = dyn Fn(&str, usize) -> Reply + Send + Sync;

struct Server {
    url: Url,
    /// Heads of all requests.
    heads: Arc<Mutex<Vec<String>>>,
    /// How many requests came.
    count: watch::Receiver<usize>,
}

impl Server {
    async fn playing(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        install();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (counted, count) = watch::channel(0);
        let (script, seen): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&heads));
        let counted = Arc::new(counted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                tokio::spawn(answer(stream, script, seen, Arc::clone(&counted)));
            }
        });
        Self {
            url: url.parse().unwrap(),
            heads,
            count,
        }
    }

    fn scrape(&self, path: Option<&str>) -> Scrape {
        Scrape {
            interval: Duration::from_millis(5),
            ..Scrape::new(self.url.clone(), path.map(str::to_owned))
        }
    }

    /// Waits until `more` further requests have come.
    async fn asked(&mut self, more: usize) {
        let enough = *self.count.borrow() + more;
        self.count.wait_for(|count| *count >= enough).await.unwrap();
    }

    fn paths(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads.iter().map(|head| path_of(head).to_owned()).collect()
    }
}

async fn answer(
    mut stream: TcpStream,
    script: Arc<Script>,
    heads: Arc<Mutex<Vec<String>>>,
    counted: Arc<watch::Sender<usize>>,
) {
    let mut request = vec![0; 8192];
    let read = stream.read(&mut request).await.unwrap_or(0);
    let head = String::from_utf8_lossy(&request[..read]).into_owned();
    let reply = {
        let mut heads = heads.lock().unwrap();
        let path = path_of(&head);
        let earlier = heads.iter().filter(|one| path_of(one) == path).count();
        let reply = script(path, earlier);
        heads.push(head.clone());
        reply
    };
    counted.send_modify(|count| *count += 1);
    let Reply::Body(status, body) = reply else {
        return std::future::pending().await;
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The client leaves in the middle of a body that is too long.
    let _left = stream.write_all((head + &body).as_bytes()).await;
}

fn path_of(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

fn install() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Starts and stops at once.
async fn taken(scrape: Scrape) -> ServerTrace {
    let sampler = ServerSampler::start(scrape).await;
    sampler.stop(Instant::now()).await
}

fn why(trace: &ServerTrace) -> &str {
    assert_eq!(server_numbers(trace), None);
    trace.absent.as_deref().unwrap()
}

#[tokio::test]
async fn the_simulators_counters_grow_by_exactly_what_was_asked() {
    install();
    let spec = SimSpec::default();
    let server = sim::start(spec, "127.0.0.1".parse().unwrap(), 0, None);
    let server = server.await.unwrap();
    let client = reqwest::Client::new();
    let url = server.url().join("v1/completions").unwrap();
    let ask = async |prompt: &str, tokens: u32| {
        let body = json!({
            "model": "sim", "prompt": prompt, "max_tokens": tokens, "ignore_eos": true
        });
        let body = serde_json::to_string(&body).unwrap();
        let sent = client.post(url.clone()).body(body).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        sent.bytes().await.unwrap();
    };
    // What came before the load must not count.
    ask("warm up", 7).await;
    let before = server.truth().requests.len();

    let sampler = ServerSampler::start(Scrape::new(server.url(), None)).await;
    let epoch = Instant::now();
    tokio::join!(ask("one", 5), ask("one two", 6), ask("one two three", 7));
    let trace = sampler.stop(epoch).await;

    assert_eq!(trace.absent, None);
    assert_eq!(trace.path.as_deref(), Some("/metrics"));
    let numbers = server_numbers(&trace).unwrap();
    assert_eq!(numbers.prompt_tokens, Some(6.0));
    assert_eq!(numbers.generation_tokens, Some(18.0));
    assert_eq!(numbers.requests, Some(3.0));
    let truth = server.truth();
    let truth: Vec<_> = truth.requests.iter().skip(before).collect();
    assert_eq!(truth.len(), 3);
    let mean_ms = |ns: u64| ns as f64 / 3.0 / 1e6;
    let e2e = truth.iter().map(|one| one.finished_ns - one.arrived_ns);
    let e2e = mean_ms(e2e.sum());
    let found = numbers.e2e_mean_ms.unwrap();
    assert!((found - e2e).abs() < 1e-6, "{found} is not {e2e}");
    assert!(numbers.ttft_mean_ms.unwrap() > 0.0);
    assert!(numbers.ttft_p50_ms.unwrap() > 0.0);
    // Three requests have no 99th percentile.
    assert_eq!(numbers.ttft_p99_ms, None);
    assert_eq!(
        numbers.names["ttft"],
        "kitt_sim:time_to_first_token_seconds"
    );
    server.stop().await.unwrap();
}

fn page(tokens: usize, running: usize) -> Reply {
    ok(format!(
        "# TYPE vllm:generation_tokens_total counter\n\
         vllm:generation_tokens_total{{model_name=\"m\"}} {tokens}\n\
         vllm:num_requests_running{{model_name=\"m\"}} {running}\n\
         vllm:num_requests_waiting{{model_name=\"m\"}} 2\n"
    ))
}

#[tokio::test]
async fn gauges_are_sampled_while_the_load_runs() {
    let mut server = Server::playing(|_, earlier| page(7, earlier)).await;
    let before = Instant::now();
    let sampler = ServerSampler::start(server.scrape(Some("/metrics"))).await;
    let epoch = Instant::now();
    server.asked(4).await;
    let trace = sampler.stop(epoch).await;
    assert_eq!((trace.absent.as_deref(), trace.missed), (None, 0));
    // Of four readings three have ended when the fourth is asked for.
    assert!(trace.samples.len() >= 3, "{:?}", trace.samples);
    let limit = before.elapsed();
    assert!(trace.samples.iter().all(|sample| sample.at < limit));
    let order = |pair: &[kitt_action::telemetry::ServerSample]| {
        pair[0].at <= pair[1].at && pair[0].running < pair[1].running
    };
    assert!(trace.samples.windows(2).all(order), "{:?}", trace.samples);
    let numbers = server_numbers(&trace).unwrap();
    assert_eq!(numbers.queue_mean, Some(2.0));
    assert_eq!(numbers.queue_share, Some(1.0));
    assert_eq!(numbers.generation_tokens, Some(0.0));
    assert_eq!(numbers.kv_usage_max, None);
    assert!(trace.longest_reading > Duration::ZERO);
}

#[tokio::test]
async fn readings_before_the_epoch_are_left_out() {
    let mut server = Server::playing(|_, _| page(7, 1)).await;
    let sampler = ServerSampler::start(server.scrape(Some("/metrics"))).await;
    server.asked(2).await;
    let trace = sampler.stop(Instant::now()).await;
    assert_eq!(trace.samples, []);
}

#[tokio::test]
async fn an_edge_is_read_until_the_counters_stand_still() {
    // Two readings open the page and begin the edge; the counter stands still at 3.
    let server = Server::playing(|_, earlier| page(earlier.min(3), 0)).await;
    let trace = taken(Scrape {
        interval: Duration::from_hours(1),
        ..server.scrape(Some("/metrics"))
    })
    .await;
    let first = &trace.first.as_ref().unwrap().counters[&Quantity::GenerationTokens];
    assert_eq!(Some(first.value), Some(3.0));
}

#[tokio::test]
async fn a_server_without_metrics_is_asked_once_and_left_alone() {
    let server = Server::playing(|_, _| nothing_here()).await;
    let trace = taken(server.scrape(None)).await;
    assert_eq!(
        why(&trace),
        "/prometheus/metrics: HTTP 404; /metrics: HTTP 404"
    );
    assert_eq!(
        server.paths(),
        ["/v1/models", "/prometheus/metrics", "/metrics"]
    );
}

#[tokio::test]
async fn nobody_listening_is_a_reason() {
    install();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let trace = taken(Scrape::new(
        url.parse().unwrap(),
        Some("/metrics".to_owned()),
    ))
    .await;
    assert!(why(&trace).starts_with("/metrics: "), "{trace:?}");
}

#[tokio::test]
async fn a_server_that_hangs_holds_nothing_up_for_long() {
    let server = Server::playing(|_, _| Reply::Silence).await;
    let begin = Instant::now();
    let trace = taken(server.scrape(Some("/metrics"))).await;
    assert!(why(&trace).contains("/metrics"), "{trace:?}");
    // One limit of 0.8 s; the rest is for a busy machine.
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_server_that_falls_silent_costs_readings_only() {
    // Three readings are the start: one finds the path, two are the edge.
    let mut server = Server::playing(|_, earlier| match earlier {
        0..3 => page(1, 1),
        3 => Reply::Silence,
        4 => Reply::Body("503 Service Unavailable", String::new()),
        _ => page(9, 1),
    })
    .await;
    let sampler = ServerSampler::start(server.scrape(Some("/metrics"))).await;
    let epoch = Instant::now();
    server.asked(4).await;
    let trace = sampler.stop(epoch).await;
    assert_eq!(trace.absent, None);
    assert_eq!(trace.missed, 2);
    assert_eq!(server_numbers(&trace).unwrap().generation_tokens, Some(8.0));
}

#[tokio::test]
async fn a_server_that_loses_its_metrics_is_told() {
    let mut server = Server::playing(|_, earlier| match earlier {
        0..3 => page(1, 1),
        _ => nothing_here(),
    })
    .await;
    let sampler = ServerSampler::start(server.scrape(Some("/metrics"))).await;
    server.asked(1).await;
    let trace = sampler.stop(Instant::now()).await;
    assert_eq!(trace.last, None);
    let numbers = server_numbers(&trace).unwrap();
    assert_eq!(numbers.generation_tokens, None);
    assert!(numbers.notes[0].contains("HTTP 404"), "{numbers:?}");
}

#[tokio::test]
async fn garbage_and_other_programs_are_named() {
    let garbage = Server::playing(|_, _| ok("<!doctype html><html></html>")).await;
    let trace = taken(garbage.scrape(Some("/metrics"))).await;
    assert!(why(&trace).contains("no Prometheus metrics"), "{trace:?}");
    assert!(why(&trace).contains("line 1"), "{trace:?}");
    let other = Server::playing(|_, _| ok("go_goroutines 12\n")).await;
    let trace = taken(other.scrape(Some("/metrics"))).await;
    assert!(why(&trace).contains("no metric of an engine"), "{trace:?}");
}

#[tokio::test]
async fn an_endless_page_is_not_read_to_its_end() {
    let line = "vllm:generation_tokens_total 1\n";
    let huge = Server::playing(move |_, _| ok(line.repeat((5 << 20) / line.len()))).await;
    let trace = taken(huge.scrape(Some("/metrics"))).await;
    assert!(
        why(&trace).contains("longer than 4194304 bytes"),
        "{trace:?}"
    );
}

#[tokio::test]
async fn names_that_change_under_way_give_no_difference() {
    let mut server = Server::playing(|_, earlier| match earlier {
        0..4 => page(5, 1),
        _ => ok("sglang:generation_tokens_total 50\nsglang:num_queue_reqs 1\n"),
    })
    .await;
    let sampler = ServerSampler::start(server.scrape(Some("/metrics"))).await;
    let epoch = Instant::now();
    server.asked(3).await;
    let numbers = server_numbers(&sampler.stop(epoch).await).unwrap();
    assert_eq!(numbers.generation_tokens, None);
    let note = "call `vllm:generation_tokens_total` `sglang:generation_tokens_total`";
    assert!(numbers.notes[0].contains(note), "{numbers:?}");
}

#[tokio::test]
async fn the_destructive_path_of_tensorrt_llm_is_never_asked_for() {
    let models = json!({ "data": [{ "id": "m", "owned_by": "tensorrt_llm" }] }).to_string();
    let server = Server::playing(move |path, _| match path {
        "/v1/models" => ok(models.clone()),
        "/metrics" => ok("[]"),
        _ => nothing_here(),
    })
    .await;
    let trace = taken(server.scrape(None)).await;
    assert_eq!(why(&trace), "/prometheus/metrics: HTTP 404");
    assert_eq!(server.paths(), ["/v1/models", "/prometheus/metrics"]);
}

#[tokio::test]
async fn the_token_and_the_formats_are_sent_and_the_token_is_not_shown() {
    let server = Server::playing(|_, _| page(1, 1)).await;
    let scrape = Scrape {
        bearer: Secret::new("hidden"),
        ..server.scrape(Some("/metrics"))
    };
    assert!(!format!("{scrape:?}").contains("hidden"));
    let trace = taken(scrape).await;
    assert_eq!(trace.absent, None);
    let head = server.heads.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.contains("authorization: bearer hidden"), "{head}");
    assert!(head.contains("accept: text/plain;version=0.0.4"), "{head}");
}
