//! How the driver keeps its schedule, its connections and its threads, against a scripted server.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kitt_action::{
    load::{DriveOptions, LoadError, Outcome, RequestTrace, StampSource, Stopped, drive},
    plan::{Job, PlannedRequest},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::scripted::{
    Collect, DONE, STOP, Server, Step, chunk, closed, due_jobs, end, gap, good, head, jobs,
    keep_on, open, request, run, word,
};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn refusal(status: &str, text: &str) -> Vec<Step> {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    vec![Step::Send(answer.into())]
}

fn outcomes(traces: &[RequestTrace]) -> Vec<Outcome> {
    traces.iter().map(|trace| trace.outcome).collect()
}

fn all_ok(traces: &[RequestTrace]) {
    assert!(
        traces.iter().all(|trace| trace.outcome == Outcome::Ok),
        "{traces:?}"
    );
}

/// A good answer that begins when all parties of the barrier are here.
fn after(barrier: &Arc<Barrier>) -> Vec<Step> {
    let mut script = vec![Step::Meet(Arc::clone(barrier))];
    script.extend(good());
    script
}

#[tokio::test]
async fn arrivals_have_the_kernels_stamps() {
    let server = Server::playing(vec![good(); 3]).await;
    let (report, traces) = server.drive_jobs(jobs(3), closed(1)).await.unwrap();
    all_ok(&traces);
    if cfg!(target_os = "linux") {
        assert_eq!(report.audit.stamps, StampSource::Kernel, "{report:?}");
        assert_eq!(report.audit.user_stamped_reads, 0);
        // Head, six events and the end are a read each, bar those that a slow reader merges.
        let reads = report.audit.loop_lag.count();
        assert!((6..=3 * 8).contains(&reads), "{reads}");
        assert!(
            traces
                .iter()
                .all(|trace| trace.stamps == StampSource::Kernel)
        );
    }
    assert_eq!(report.audit.threads, 1);
    assert!(report.audit.wall + traces[0].sent_at >= traces[2].finished_at);
    assert!(report.audit.cpu > Duration::ZERO || cfg!(windows));
    assert_eq!(report.stopped, Stopped::Exhausted);
    assert!(report.began <= traces[0].sent_at && report.ended == traces[2].finished_at);
    // The first request of a slot cannot be late, the others can.
    assert_eq!(report.audit.late_sends.count(), 2);
}

#[tokio::test]
async fn the_first_request_of_a_connection_tells_how_long_it_took_to_open() {
    let server = Server::playing(vec![good(), good()]).await;
    let traces = server.drive(2, 1).await;
    let [first, second] = &traces[..] else {
        panic!("{traces:?}")
    };
    assert!(first.phases.connect.is_some() && second.phases.connect.is_none());
    assert_eq!((first.phases.tls, first.phases.dns), (None, None));
    for trace in &traces {
        let (write, byte) = (
            trace.phases.write.unwrap(),
            trace.phases.first_byte.unwrap(),
        );
        assert!(trace.sent_at + write <= trace.finished_at);
        assert!(trace.sent_at + byte <= trace.chunks[0].at);
    }
}

#[tokio::test]
async fn an_open_loop_keeps_its_times_while_the_server_stands_still() {
    // No answer begins before the last request is there: a driver that waits for answers hangs.
    let barrier = Arc::new(Barrier::new(40));
    let server = Server::playing(vec![after(&barrier); 40]).await;
    let driven = server.drive_jobs(due_jobs(40, ms(2)), open()).await;
    let (report, traces) = driven.unwrap();
    all_ok(&traces);
    let last = traces.iter().map(|trace| trace.sent_at).max().unwrap();
    for (index, trace) in (0..).zip(&traces) {
        assert_eq!(trace.scheduled_at, report.began + ms(2) * index);
        assert!(trace.sent_at >= trace.scheduled_at, "never early");
        assert!(trace.chunks[0].at >= last, "{trace:?}");
    }
    assert_eq!(report.audit.late_sends.count(), 40);
    assert_eq!(report.audit.held_back, 0);
    let first_connections = 64;
    assert!(server.connections.load(Ordering::SeqCst) >= first_connections);
}

#[tokio::test]
async fn an_open_loop_opens_connections_as_it_needs_them() {
    let barrier = Arc::new(Barrier::new(200));
    let server = Server::playing(vec![after(&barrier); 200]).await;
    let driven = server.drive_jobs(due_jobs(200, Duration::ZERO), open());
    let (report, traces) = driven.await.unwrap();
    all_ok(&traces);
    assert!(
        traces
            .iter()
            .all(|trace| trace.scheduled_at == report.began)
    );
}

#[tokio::test]
async fn what_is_due_beyond_the_limit_waits_and_is_counted() {
    // Two at a time: each pair meets, a third would be read while they wait.
    let barrier = Arc::new(Barrier::new(2));
    let server = Server::playing(vec![after(&barrier); 10]).await;
    let options = DriveOptions {
        max_in_flight: NonZeroU32::new(2),
        ..open()
    };
    let driven = server.drive_jobs(due_jobs(10, Duration::ZERO), options);
    let (report, traces) = driven.await.unwrap();
    all_ok(&traces);
    for trace in &traces {
        let running = traces
            .iter()
            .filter(|other| other.sent_at <= trace.sent_at && other.finished_at > trace.sent_at);
        assert!(running.count() <= 2, "{traces:?}");
        assert_eq!(trace.scheduled_at, report.began);
    }
    assert_eq!(report.audit.held_back, 8);
    assert_eq!(report.audit.late_sends.count(), 2);
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

fn conversation(first: u32, think: Duration, due: Option<Duration>) -> Job {
    let turn = |index| PlannedRequest {
        think: if index == first {
            Duration::ZERO
        } else {
            think
        },
        ..request(index)
    };
    Job {
        due,
        turns: (first..first + 3).map(turn).collect(),
    }
}

#[tokio::test]
async fn the_turns_of_a_conversation_follow_each_other_on_their_slot() {
    let server = Server::playing(vec![good(); 6]).await;
    let think = ms(20);
    let talks = vec![conversation(0, think, None), conversation(3, think, None)];
    let (_report, traces) = server.drive_jobs(talks, closed(1)).await.unwrap();
    all_ok(&traces);
    for (index, pair) in traces.windows(2).enumerate() {
        let pause = if index == 2 { Duration::ZERO } else { think };
        assert!(pair[1].sent_at >= pair[0].finished_at + pause, "{traces:?}");
        assert_eq!(pair[1].scheduled_at, pair[1].sent_at);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn later_turns_of_an_open_loop_are_due_after_their_pause() {
    let server = Server::playing(vec![good(); 6]).await;
    let think = ms(10);
    let talks = vec![
        conversation(0, think, Some(Duration::ZERO)),
        conversation(3, think, Some(ms(1))),
    ];
    let (_report, traces) = server.drive_jobs(talks, open()).await.unwrap();
    all_ok(&traces);
    for talk in traces.chunks(3) {
        for pair in talk.windows(2) {
            assert_eq!(pair[1].scheduled_at, pair[0].finished_at + think);
        }
    }
}

/// Endless single requests; counts how many were taken.
fn endless(taken: &Arc<AtomicU32>) -> Box<dyn Iterator<Item = Job> + Send> {
    let taken = Arc::clone(taken);
    Box::new((0..).map(move |index| {
        taken.fetch_add(1, Ordering::SeqCst);
        request(index).into()
    }))
}

fn quick() -> Vec<Step> {
    let events = [&word("a"), STOP, DONE].concat();
    vec![head(), Step::Send(chunk(&events)), end()]
}

#[tokio::test]
async fn the_time_ends_what_would_not() {
    let server = Server::always(quick()).await;
    let taken = Arc::new(AtomicU32::new(0));
    let options = DriveOptions {
        duration: Some(ms(100)),
        ..closed(2)
    };
    let collect = Collect {
        traces: Vec::new(),
        see: |_: &RequestTrace| keep_on(),
    };
    let target = Arc::clone(&server.target);
    let cancel = CancellationToken::new();
    let driven = drive(target, endless(&taken), options, cancel, collect).await;
    let (report, collected) = driven.unwrap();
    assert_eq!(report.stopped, Stopped::TimeUp);
    all_ok(&collected.traces);
    let until = report.began + ms(100);
    assert!(collected.traces.iter().all(|trace| trace.sent_at < until));
    // Jobs are taken as they are needed: twice the concurrency and 64 wait at most.
    let sent = u32::try_from(collected.traces.len()).unwrap();
    let taken = taken.load(Ordering::SeqCst);
    assert!(sent > 0 && taken <= sent + 2 * 2 + 64 + 1, "{taken} {sent}");
}

#[tokio::test]
async fn an_open_loop_ends_in_time_though_its_next_request_is_far_off() {
    let server = Server::playing(vec![good()]).await;
    let options = DriveOptions {
        duration: Some(ms(50)),
        ..open()
    };
    let far = due_jobs(2, Duration::from_hours(1));
    let (report, traces) = server.drive_jobs(far, options).await.unwrap();
    assert_eq!(report.stopped, Stopped::TimeUp);
    assert_eq!(outcomes(&traces), [Outcome::Ok]);
}

#[tokio::test]
async fn a_receiver_that_has_seen_enough_stops_the_sending() {
    let barrier = Arc::new(Barrier::new(2));
    let mut slow = vec![Step::Meet(Arc::clone(&barrier))];
    slow.extend(good());
    let server = Server::playing(vec![good(), slow.clone(), slow, good()]).await;
    let cancel = CancellationToken::new();
    let mut seen = 0;
    let enough = move |_: &RequestTrace| {
        seen += 1;
        ControlFlow::Break(format!("saw {seen}"))
    };
    let driven = run(&server.target, jobs(100), closed(2), &cancel, enough).await;
    let (report, traces) = driven.unwrap();
    assert_eq!(report.stopped, Stopped::Asked("saw 1".to_owned()));
    // What was in flight when it said so has ended by itself.
    all_ok(&traces);
    assert!((2..=4).contains(&traces.len()), "{traces:?}");
}

#[tokio::test]
async fn a_receiver_that_stands_still_does_not_hold_up_the_load() {
    // The first trace is not given back before the last request is at the server.
    let barrier = Arc::new(Barrier::new(2));
    let mut scripts = vec![good(); 5];
    scripts.push(after(&barrier));
    let server = Server::playing(scripts).await;
    let runtime = tokio::runtime::Handle::current();
    let mut is_first = true;
    let stubborn = move |_: &RequestTrace| {
        if std::mem::take(&mut is_first) {
            runtime.block_on(barrier.wait());
        }
        keep_on()
    };
    let cancel = CancellationToken::new();
    let driven = run(&server.target, jobs(6), closed(1), &cancel, stubborn).await;
    all_ok(&driven.unwrap().1);
}

#[tokio::test]
async fn jobs_that_come_late_are_waited_for() {
    // The second job is not there before the first one's answer is.
    let barrier = Arc::new(Barrier::new(2));
    let server = Server::playing(vec![good(), good()]).await;
    let runtime = tokio::runtime::Handle::current();
    let met = Arc::clone(&barrier);
    let late = jobs(2).into_iter().inspect(move |job| {
        if job.turns[0].index == 1 {
            runtime.block_on(met.wait());
        }
    });
    let runtime = tokio::runtime::Handle::current();
    let collect = Collect {
        traces: Vec::new(),
        see: move |trace: &RequestTrace| {
            if trace.index == 0 {
                runtime.block_on(barrier.wait());
            }
            keep_on()
        },
    };
    let target = Arc::clone(&server.target);
    let cancel = CancellationToken::new();
    let driving = drive(target, Box::new(late), closed(1), cancel, collect);
    all_ok(&driving.await.unwrap().1.traces);
}

#[tokio::test]
async fn threads_share_the_load() {
    let barrier = Arc::new(Barrier::new(4));
    let server = Server::playing(vec![after(&barrier); 8]).await;
    let options = DriveOptions {
        threads: NonZeroUsize::new(2).unwrap(),
        ..closed(4)
    };
    let (report, traces) = server.drive_jobs(jobs(8), options).await.unwrap();
    all_ok(&traces);
    assert_eq!((report.audit.threads, traces.len()), (2, 8));
    assert_eq!(server.connections.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn threads_share_the_times_of_an_open_loop() {
    let barrier = Arc::new(Barrier::new(30));
    let server = Server::playing(vec![after(&barrier); 30]).await;
    let options = DriveOptions {
        threads: NonZeroUsize::new(3).unwrap(),
        ..open()
    };
    let driven = server.drive_jobs(due_jobs(30, ms(1)), options).await;
    let (report, traces) = driven.unwrap();
    all_ok(&traces);
    for (index, trace) in (0..).zip(&traces) {
        assert_eq!(trace.scheduled_at, report.began + ms(1) * index);
        assert!(trace.sent_at >= trace.scheduled_at);
    }
}

#[tokio::test]
async fn dropping_the_drive_hangs_up() {
    let barrier = Arc::new(Barrier::new(2));
    let (gone, goes) = tokio::sync::oneshot::channel::<()>();
    let met = Arc::clone(&barrier);
    let hold = vec![head(), Step::Meet(barrier), Step::Hold];
    let server = Server::playing(vec![hold]).await;
    // The receiver goes when the recorder thread does, and that when the driver threads have.
    let see = move |_: &RequestTrace| {
        let _held = &gone;
        keep_on()
    };
    let target = Arc::clone(&server.target);
    let driving = tokio::spawn(async move {
        let cancel = CancellationToken::new();
        run(&target, jobs(1), closed(1), &cancel, see).await
    });
    met.wait().await;
    driving.abort();
    assert!(goes.await.is_err());
    assert!(driving.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_panic_of_the_callers_ends_the_drive_and_no_test_hangs() {
    let server = Server::always(good()).await;
    let cancel = CancellationToken::new();
    let broken = |_: &RequestTrace| -> ControlFlow<String> { panic!("the receiver's own") };
    let driven = run(&server.target, jobs(50), closed(2), &cancel, broken).await;
    assert!(matches!(driven, Err(LoadError::Died)), "{driven:?}");

    let broken = jobs(50).into_iter().inspect(|job| {
        assert!(job.turns[0].index < 20, "the iterator's own");
    });
    let collect = Collect {
        traces: Vec::new(),
        see: |_: &RequestTrace| keep_on(),
    };
    let target = Arc::clone(&server.target);
    let driving = drive(target, Box::new(broken), closed(2), cancel, collect);
    assert!(matches!(driving.await, Err(LoadError::Died)));
}

#[tokio::test]
async fn cancelling_a_drive_that_waits_for_its_time_does_not_wait() {
    let server = Server::playing(Vec::new()).await;
    let cancel = CancellationToken::new();
    let mut far = due_jobs(2, Duration::from_hours(1));
    far.remove(0);
    let driving = run(&server.target, far, open(), &cancel, |_| keep_on());
    let stop = async {
        tokio::task::yield_now().await;
        cancel.cancel();
    };
    let (driven, ()) = tokio::join!(driving, stop);
    let (report, traces) = driven.unwrap();
    assert_eq!((report.stopped, traces.len()), (Stopped::Cancelled, 0));
}

#[tokio::test]
async fn a_reset_ends_a_request_by_what_came_before_it() {
    let half = "HTTP/1.1 200 OK\r\ncontent-type: text/ev";
    let scripts = vec![
        vec![Step::Reset],
        vec![Step::Send(half.into()), gap(), Step::Reset],
        vec![head(), Step::Send(chunk(&word("a"))), gap(), Step::Reset],
        good(),
    ];
    let server = Server::playing(scripts).await;
    let traces = server.drive(4, 1).await;
    let expected = [
        Outcome::HttpError,
        Outcome::HttpError,
        Outcome::Truncated,
        Outcome::Ok,
    ];
    assert_eq!(outcomes(&traces), expected, "{traces:?}");
    for trace in &traces[..2] {
        let error = trace.error.as_deref().unwrap();
        assert!(error.starts_with("no answer: "), "{error}");
        assert_eq!(trace.status, None);
    }
    assert_eq!(traces[2].status, Some(200));
}

#[tokio::test]
async fn a_connection_reset_while_idle_is_replaced() {
    let mut resetting = good();
    resetting.push(Step::Reset);
    let server = Server::playing(vec![resetting, good()]).await;
    let talk = Job {
        due: None,
        turns: vec![
            request(0),
            PlannedRequest {
                think: ms(30),
                ..request(1)
            },
        ],
    };
    let (_report, traces) = server.drive_jobs(vec![talk], closed(1)).await.unwrap();
    all_ok(&traces);
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_that_was_open_for_long_may_have_been_closed_meanwhile() {
    // Never used before, but idle for longer than any server's impatience: sent again.
    let server = Server::playing(vec![vec![Step::Close], good()]).await;
    let mut late = due_jobs(2, ms(1100));
    late.remove(0);
    let (report, traces) = server.drive_jobs(late, open()).await.unwrap();
    all_ok(&traces);
    assert_eq!(traces[0].scheduled_at, report.began + ms(1100));
    assert_eq!(server.bodies.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_that_goes_away_leaves_traces_that_say_so() {
    let mut last = vec![Step::Leave];
    last.extend(good());
    last.push(Step::Close);
    let server = Server::playing(vec![last]).await;
    let traces = server.drive(3, 1).await;
    let expected = [Outcome::Ok, Outcome::HttpError, Outcome::HttpError];
    assert_eq!(outcomes(&traces), expected, "{traces:?}");
    let error = traces[2].error.as_deref().unwrap();
    assert!(error.starts_with("cannot connect: "), "{error}");
}

#[tokio::test]
async fn an_answer_before_the_request_was_read_is_still_an_answer() {
    // 16 MiB do not fit into the sockets' buffers: the server answers and hangs up half way.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut some = [0; 1000];
        socket.read_exact(&mut some).await.unwrap();
        let answer = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\n\r\nlong";
        socket.write_all(answer.as_bytes()).await.unwrap();
    });
    let target = Arc::new(crate::scripted::target(&url));
    let long = PlannedRequest::text(0, "x".repeat(16 << 20), NonZeroU32::MIN);
    let cancel = CancellationToken::new();
    let driven = run(&target, vec![long.into()], closed(1), &cancel, |_| {
        keep_on()
    })
    .await;
    let traces = driven.unwrap().1;
    assert_eq!(traces[0].status, Some(413), "{traces:?}");
    assert!(traces[0].error.as_deref().unwrap().contains("long"));
}

#[tokio::test]
async fn a_long_request_goes_out_in_parts() {
    let server = Server::playing(vec![good()]).await;
    let long = PlannedRequest::text(0, "x".repeat(16 << 20), NonZeroU32::MIN);
    let driven = server.drive_jobs(vec![long.into()], closed(1)).await;
    let traces = driven.unwrap().1;
    all_ok(&traces);
    let sent = server.bodies.lock().unwrap();
    let content = sent[0]["messages"][0]["content"].as_str().unwrap();
    assert_eq!(content.len(), 16 << 20);
    let phases = traces[0].phases;
    assert!(phases.write.unwrap() <= phases.first_byte.unwrap());
}

#[tokio::test]
async fn too_many_requests_says_when_to_come_again() {
    let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nbusy";
    let server = Server::playing(vec![vec![Step::Send(busy.into())], good()]).await;
    let traces = server.drive(2, 1).await;
    assert_eq!(outcomes(&traces), [Outcome::HttpError, Outcome::Ok]);
    assert_eq!(traces[0].status, Some(429));
    let error = traces[0].error.as_deref().unwrap();
    assert!(
        error.contains("Retry-After: 7") && error.contains("busy"),
        "{error}"
    );
}

#[tokio::test]
async fn an_encoded_answer_is_refused() {
    let zipped = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\u{7f}\x08";
    let server = Server::playing(vec![vec![Step::Send(zipped.into())]]).await;
    let traces = server.drive(1, 1).await;
    assert_eq!(traces[0].outcome, Outcome::StreamError, "{traces:?}");
    assert!(traces[0].error.as_deref().unwrap().contains("gzip"));
}

#[tokio::test]
async fn chunk_extensions_and_trailers_are_read_over() {
    let events = [&word("a"), STOP, DONE].concat();
    let piece = format!("{:x};name=\"v;w\"\r\n{events}\r\n", events.len());
    let script = vec![
        head(),
        Step::Send(piece.into()),
        Step::Send(b"0;last\r\nx-took: 3\r\nx-more: 4\r\n\r\n".into()),
    ];
    let server = Server::playing(vec![script, good()]).await;
    let traces = server.drive(2, 1).await;
    all_ok(&traces);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "it was kept");
}

#[tokio::test]
async fn a_server_that_refuses_even_usage_is_asked_for_nothing() {
    let scripts = vec![
        refusal("400 Bad Request", "ignore_eos?"),
        refusal("400 Bad Request", "stream_options?"),
        good(),
        good(),
    ];
    let server = Server::playing(scripts).await;
    let traces = server.drive(2, 1).await;
    all_ok(&traces);
    assert!(server.target.extras_refused() && server.target.usage_refused());
    let bodies = server.bodies.lock().unwrap();
    let has = |key: &str| -> Vec<bool> {
        let has = |body: &serde_json::Value| body.get(key).is_some();
        bodies.iter().map(has).collect()
    };
    assert_eq!(has("ignore_eos"), [true, false, false, false]);
    assert_eq!(has("stream_options"), [true, true, false, false]);
}

#[tokio::test]
async fn the_first_refusal_is_the_one_that_is_told() {
    let texts = ["prompt too long", "second", "third"];
    let scripts = texts.map(|text| refusal("400 Bad Request", text)).to_vec();
    let server = Server::playing(scripts).await;
    let traces = server.drive(1, 1).await;
    let error = traces[0].error.as_deref().unwrap();
    assert!(error.contains("prompt too long"), "{error}");
    assert!(!server.target.extras_refused());
}

#[tokio::test]
async fn a_server_that_took_the_extras_once_is_not_asked_for_less() {
    let server = Server::playing(vec![good(), refusal("400 Bad Request", "no"), good()]).await;
    let traces = server.drive(3, 1).await;
    let expected = [Outcome::Ok, Outcome::HttpError, Outcome::Ok];
    assert_eq!(outcomes(&traces), expected);
    assert_eq!(server.bodies.lock().unwrap().len(), 3);
}

/// An authority, and a server's TLS with a certificate of it for `name`.
fn authority(name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (ca.der().clone(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn https_is_spoken_with_a_certificate_that_is_trusted() {
    let (root, acceptor) = authority("localhost");
    let mut closing = good();
    closing.push(Step::Close);
    let mut server = Server::secured(vec![good(), closing, good()], acceptor).await;
    server.target_mut().roots = Some(vec![root]);
    let (report, traces) = server.drive_jobs(jobs(3), closed(1)).await.unwrap();
    all_ok(&traces);
    assert_eq!(report.audit.stamps, StampSource::User);
    assert!(report.audit.user_stamped_reads > 0);
    let tls: Vec<bool> = traces
        .iter()
        .map(|trace| trace.phases.tls.is_some())
        .collect();
    assert_eq!(tls, [true, false, true]);
    assert!(traces[0].phases.dns.is_some() && traces[2].phases.dns.is_none());
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_long_request_goes_out_over_https_too() {
    let (root, acceptor) = authority("localhost");
    let mut server = Server::secured(vec![good()], acceptor).await;
    server.target_mut().roots = Some(vec![root]);
    let long = PlannedRequest::text(0, "x".repeat(2 << 20), NonZeroU32::MIN);
    let driven = server.drive_jobs(vec![long.into()], closed(1)).await;
    all_ok(&driven.unwrap().1);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_an_error_that_says_so() {
    let (_root, acceptor) = authority("localhost");
    let (other, _acceptor) = authority("localhost");
    let mut server = Server::secured(vec![good()], acceptor).await;
    server.target_mut().roots = Some(vec![other]);
    let error = server.drive_jobs(jobs(1), closed(1)).await.unwrap_err();
    let LoadError::Connect { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(source.to_string().contains("certificate"), "{source}");

    let (root, acceptor) = authority("example.org");
    let mut server = Server::secured(vec![good()], acceptor).await;
    server.target_mut().roots = Some(vec![root]);
    let error = server.drive_jobs(jobs(1), closed(1)).await.unwrap_err();
    assert!(matches!(error, LoadError::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn a_host_without_an_address_is_an_error() {
    let target = Arc::new(crate::scripted::target("http://nobody.invalid"));
    let cancel = CancellationToken::new();
    let driven = run(&target, jobs(1), closed(1), &cancel, |_| keep_on()).await;
    assert!(
        matches!(driven, Err(LoadError::Resolve { .. })),
        "{driven:?}"
    );
}

#[tokio::test]
async fn more_connections_than_the_system_allows_are_refused_before_load() {
    let server = Server::playing(Vec::new()).await;
    let driven = server.drive_jobs(jobs(1), closed(u32::MAX)).await;
    let error = driven.unwrap_err();
    assert!(matches!(error, LoadError::Files { .. }), "{error:?}");
    assert!(error.to_string().contains("ulimit"), "{error}");
}
