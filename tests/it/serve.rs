//! Servers that kitt did not start as a container: an endpoint on loopback, scripted here, and
//! the simulated engine inside this process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kitt_action::{
    context::DockerPlace,
    engine::{ApiTraits, LaunchSpec, SimSpec, Target},
    serve::{Endpoint, ServeError, ServeOptions, with_engine},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use url::Url;

/// What the scripted server answers to a path: a status line's tail and a body.
type Script = fn(path: &str, earlier: usize) -> (&'static str, &'static str);

/// Serves the script until the test ends; gives the base URL.
async fn scripted(script: Script) -> Url {
    install();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let earlier = asked.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(answer(stream, script, earlier));
        }
    });
    url.parse().unwrap()
}

async fn answer(mut stream: TcpStream, script: Script, earlier: usize) {
    let mut request = vec![0; 4096];
    let read = stream.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = script(path, earlier);
    if status == "silence" {
        std::future::pending::<()>().await;
    }
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await.unwrap();
}

fn endpoint(url: &Url) -> LaunchSpec {
    LaunchSpec {
        target: Target::Endpoint(url.clone()),
        api: ApiTraits {
            health_path: "/v1/models",
            ..ApiTraits::openai("the-model".to_owned())
        },
        startup_timeout: Duration::from_secs(5),
    }
}

fn options() -> ServeOptions {
    ServeOptions {
        docker: DockerPlace::at("unix:///nonexistent"),
        stop_timeout: Duration::from_secs(1),
        ..ServeOptions::new("endpoint")
    }
}

async fn open(spec: &LaunchSpec) -> Result<Endpoint, ServeError> {
    with_engine(
        spec,
        &options(),
        &CancellationToken::new(),
        async |endpoint| endpoint,
    )
    .await
}

const LIST: &str = r#"{"object":"list","data":[{"id":"another"},{"id":"the-model"}]}"#;

#[tokio::test]
async fn a_running_server_is_checked_and_asked_for_its_version() {
    let url = scripted(|path, _| match path {
        "/base/v1/models" => ("200 OK", LIST),
        "/base/version" => ("200 OK", r#"{"version":"0.11.2"}"#),
        _ => ("404 Not Found", ""),
    })
    .await;
    let base = url.join("/base").unwrap();
    let opened = open(&endpoint(&base)).await.unwrap();
    assert_eq!(opened.url, base);
    assert_eq!(opened.facts.version.as_deref(), Some("0.11.2"));
    assert_eq!(opened.facts.image, None);
}

#[tokio::test]
async fn the_wrong_model_is_refused_with_what_is_there() {
    let url = scripted(|_, _| ("200 OK", r#"{"data":[{"id":"a"},{"id":"b"}]}"#)).await;
    let error = open(&endpoint(&url)).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("does not serve model `the-model`; it lists: a, b"),
        "{error}"
    );
    let url = scripted(|_, _| ("200 OK", "<html>login</html>")).await;
    let error = open(&endpoint(&url)).await.unwrap_err().to_string();
    assert!(error.contains("something else: <html>login"), "{error}");
}

#[tokio::test]
async fn a_server_without_a_model_list_is_taken_at_its_word() {
    let url = scripted(|_, _| ("404 Not Found", "")).await;
    assert!(open(&endpoint(&url)).await.is_ok());
}

#[tokio::test]
async fn a_loading_server_is_waited_for() {
    let url = scripted(|_, earlier| match earlier {
        0 => ("503 Service Unavailable", "Loading model"),
        _ => ("200 OK", LIST),
    })
    .await;
    let opened = open(&endpoint(&url)).await.unwrap();
    assert!(
        opened.startup >= Duration::from_millis(20),
        "{:?}",
        opened.startup
    );
}

#[tokio::test]
async fn no_server_an_unhealthy_one_and_a_redirect_are_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody: Url = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    drop(listener);
    let sick = scripted(|_, _| ("500 Internal Server Error", "")).await;
    let elsewhere = scripted(|path, _| match path {
        "/v1/models" => ("302 Found\r\nLocation: /other", ""),
        _ => ("200 OK", LIST),
    })
    .await;
    for (url, why) in [
        (nobody, "refused"),
        (sick, "HTTP 500"),
        (elsewhere, "HTTP 302"),
    ] {
        let mut spec = endpoint(&url);
        spec.startup_timeout = Duration::from_millis(600);
        let error = open(&spec).await.unwrap_err();
        assert!(
            matches!(&error, ServeError::NoAnswer { detail, .. } if detail.contains(why)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_silent_server_does_not_hold_up_a_cancellation() {
    let url = scripted(|_, _| ("silence", "")).await;
    let (spec, cancel, begin) = (endpoint(&url), CancellationToken::new(), Instant::now());
    let stop = async { cancel.cancel() };
    let options = options();
    let (outcome, ()) = tokio::join!(with_engine(&spec, &options, &cancel, async |_| ()), stop);
    assert!(
        matches!(outcome, Err(ServeError::Cancelled { .. })),
        "{outcome:?}"
    );
    assert!(begin.elapsed() < Duration::from_secs(2));
}

fn simulator(startup: Duration) -> LaunchSpec {
    let sim = SimSpec {
        model: "the-model".to_owned(),
        startup_ms: startup.as_secs_f64() * 1e3,
        ..SimSpec::default()
    };
    LaunchSpec {
        target: Target::InProcess(sim),
        ..endpoint(&"http://unused".parse().unwrap())
    }
}

/// Whether anybody listens there.
async fn listens(url: &Url) -> bool {
    let address = (url.host_str().unwrap(), url.port().unwrap());
    TcpStream::connect(address).await.is_ok()
}

/// The TLS back-end, as `main` does; a second test in this process finds it installed.
fn install() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

#[tokio::test]
async fn the_simulator_runs_in_this_process_and_stops() {
    install();
    let mut spec = simulator(Duration::from_millis(300));
    spec.api.health_path = "/health";
    let opened = with_engine(
        &spec,
        &options(),
        &CancellationToken::new(),
        async |endpoint| {
            assert!(listens(&endpoint.url).await);
            endpoint
        },
    )
    .await
    .unwrap();
    assert!(
        opened.startup >= Duration::from_millis(250),
        "{:?}",
        opened.startup
    );
    assert_eq!(
        opened.facts.version.unwrap(),
        concat!("kitt ", env!("CARGO_PKG_VERSION"))
    );
    assert!(
        opened
            .facts
            .args
            .contains(&"--served-model=the-model".to_owned())
    );
    assert!(!listens(&opened.url).await);
}

#[tokio::test]
async fn a_simulator_that_loads_for_ever_is_given_up_and_stopped() {
    install();
    let mut spec = simulator(Duration::from_hours(1));
    spec.api.health_path = "/health";
    spec.startup_timeout = Duration::from_millis(400);
    let error = open(&spec).await.unwrap_err();
    let ServeError::NoAnswer { url, detail } = &error else {
        panic!("{error}")
    };
    assert!(detail.contains("HTTP 503"), "{detail}");
    assert!(!listens(&url.parse().unwrap()).await);
}

#[tokio::test]
async fn cancelling_stops_the_simulator_too() {
    install();
    let mut spec = simulator(Duration::ZERO);
    spec.api.health_path = "/health";
    let (cancel, options) = (CancellationToken::new(), options());
    let mut place = None;
    let body = async |endpoint: Endpoint| {
        place = Some(endpoint.url);
        cancel.cancel();
        std::future::pending::<()>().await;
    };
    let error = with_engine(&spec, &options, &cancel, body)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ServeError::Cancelled { phase: "measuring" }),
        "{error}"
    );
    assert!(!listens(&place.unwrap()).await);
}
