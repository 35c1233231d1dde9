//! Daemons that are absent, ill or malicious, and names that must not reach one. The daemons
//! here are scripts behind a socket; none of these tests needs Docker but the last.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kitt_action::{
    context::DockerPlace,
    engine::ImageSource,
    error::Error,
    exit::Exit,
    serve::{self, PullFailure, PullLimits, Rule, ServeError, ServeOptions, Unusable},
};
use sha2::{Digest, Sha256};

use crate::{docker::docker_or_skip, harness::kitt};

/// What the scripted daemon does with a request.
#[derive(Clone, Copy)]
enum Reply {
    Json(u16, &'static str),
    /// Half of a body, then the connection is closed.
    Cut(&'static str),
    /// Half of a body, then silence.
    Stall(&'static str),
    /// Silence.
    Nothing,
}

const VERSION: Reply = Reply::Json(200, r#"{"Version":"20.10.24","ApiVersion":"1.41"}"#);
const NOT_THERE: Reply = Reply::Json(404, r#"{"message":"No such image"}"#);
const ILL: Reply = Reply::Json(500, r#"{"message":"the disk is on fire"}"#);

/// A daemon that follows a script: the reply to a path asked for the n-th time, from 0.
struct Scripted {
    folder: tempfile::TempDir,
    seen: Arc<Mutex<HashMap<String, usize>>>,
}

impl Scripted {
    fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let seen: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let (counts, script) = (Arc::clone(&seen), Arc::new(script));
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (counts, script) = (Arc::clone(&counts), Arc::clone(&script));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let path = path(&mut BufReader::new(&stream));
                    let count = {
                        let mut counts = counts.lock().unwrap();
                        let count = counts.entry(path.clone()).or_default();
                        *count += 1;
                        *count - 1
                    };
                    answer(&mut stream, script(&path, count));
                });
            }
        });
        Self { folder, seen }
    }

    fn address(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.path().display())
    }

    fn place(&self) -> DockerPlace {
        DockerPlace::at(self.address())
    }

    fn asked(&self, path: &str) -> usize {
        self.seen.lock().unwrap().get(path).copied().unwrap_or(0)
    }
}

/// The path of a request, read to the end of its head.
fn path(lines: &mut impl BufRead) -> String {
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    path.split('?').next().unwrap().to_owned()
}

fn answer(stream: &mut UnixStream, reply: Reply) {
    let (status, body, sent) = match reply {
        Reply::Json(status, body) => (status, body, body.len()),
        Reply::Cut(body) | Reply::Stall(body) => (200, body, body.len() / 2),
        Reply::Nothing => return silence(stream),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // A client that went away is no failure of the script.
    drop(stream.write_all(head.as_bytes()));
    drop(stream.write_all(&body.as_bytes()[..sent]));
    if matches!(reply, Reply::Stall(_)) {
        silence(stream);
    }
}

/// Until the other side closes.
fn silence(stream: &mut UnixStream) {
    drop(std::io::copy(stream, &mut std::io::sink()));
}

/// `kitt run` with the simulator in a container, on the daemon at that address.
fn run(host: Option<&str>) -> (Command, tempfile::TempDir) {
    let out = tempfile::tempdir().unwrap();
    let mut command = kitt();
    command
        .args(["run", "-m", "m", "-e", "sim", "--mode", "docker", "-o"])
        .arg(out.path())
        .args(host.map(|host| format!("--docker-host={host}")));
    (command, out)
}

/// Its exit code, what it said, and how long it took.
fn outcome(mut command: Command) -> (Option<i32>, String, Duration) {
    let begin = Instant::now();
    let Output { status, stderr, .. } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stderr).into_owned();
    println!(
        "after {} s, {status}: {text}",
        begin.elapsed().as_secs_f64()
    );
    (status.code(), text, begin.elapsed())
}

fn says(text: &str, all: &[&str]) {
    for part in all {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn no_daemon_is_said_at_once() {
    let (command, _out) = run(Some("unix:///nonexistent/docker.sock"));
    let (code, text, took) = outcome(command);
    assert_eq!(code, Some(20));
    says(
        &text,
        &[
            "unix:///nonexistent/docker.sock",
            "docker-host",
            "install and start Docker",
        ],
    );
    // 1 s on a machine that does nothing else; this one may be busy.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_dead_daemon_whose_socket_stays_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let (command, _out) = run(Some(socket.to_str().unwrap()));
    let (code, text, _) = outcome(command);
    assert_eq!(code, Some(20));
    says(&text, &["Connection refused", "start the daemon"]);
}

#[test]
fn a_socket_that_is_not_ours_is_told_apart() {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: only root can become somebody without permission");
        return;
    }
    let daemon = Scripted::start(|_, _| VERSION);
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(daemon.folder.path(), 0o755);
    open(&daemon.folder.path().join("docker.sock"), 0o600);
    // A copy: the build's own folder may be closed to others.
    let binary = daemon.folder.path().join("kitt");
    std::fs::copy(env!("CARGO_BIN_EXE_kitt"), &binary).unwrap();
    let (own, out) = run(Some(&daemon.address()));
    open(out.path(), 0o777);
    let mut command = Command::new(&binary);
    command
        .env_clear()
        .args(own.get_args())
        .uid(65534)
        .gid(65534);
    let (code, text, _) = outcome(command);
    assert_eq!(code, Some(20));
    says(&text, &["Permission denied", "group docker"]);
    assert_eq!(daemon.asked("/version"), 0);
}

#[test]
fn a_daemon_that_hangs_is_given_up() {
    for reply in [Reply::Nothing, Reply::Stall(r#"{"Version":"20.10.24"}"#)] {
        let daemon = Scripted::start(move |_, _| reply);
        let (command, _out) = run(Some(&daemon.address()));
        let (code, text, took) = outcome(command);
        assert_eq!(code, Some(20));
        says(&text, &["no answer within 5s", "systemctl restart docker"]);
        assert!(took < Duration::from_secs(10), "{took:?}");
        // Silence is not asked again.
        assert_eq!(daemon.asked("/version"), 1);
    }
}

#[tokio::test]
async fn a_call_that_stalls_later_is_given_up_too() {
    let daemon = Scripted::start(|path, _| match path {
        "/version" => VERSION,
        _ => Reply::Stall(r#"{"Id":"sha256:0"}"#),
    });
    let options = ServeOptions {
        docker: daemon.place(),
        ..ServeOptions::new("stall")
    };
    let begin = Instant::now();
    let error = serve::fetch(
        &ImageSource::Reference("busybox:1".parse().unwrap()),
        &options,
    )
    .await
    .unwrap_err();
    assert!(matches!(error, ServeError::DockerTimeout { .. }), "{error}");
    assert!(
        error.to_string().contains("look at the image within 10s"),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_daemon_that_fails_is_asked_three_times() {
    for (reply, said) in [
        (ILL, "the disk is on fire"),
        (Reply::Json(200, r#"{"Version":"20.1"#), "EOF while parsing"),
        (Reply::Cut(r#"{"Version":"20.10.24"}"#), "end of file"),
        (Reply::Json(503, ""), "503"),
    ] {
        let daemon = Scripted::start(move |_, _| reply);
        let (command, _out) = run(Some(&daemon.address()));
        let (code, text, _) = outcome(command);
        assert_eq!(code, Some(20));
        says(&text, &[said, "journalctl -u docker"]);
        assert_eq!(daemon.asked("/version"), 3);
    }
}

#[tokio::test]
async fn a_daemon_that_stumbles_is_no_failure() {
    let daemon = Scripted::start(|path, count| match (path, count) {
        ("/version", 0) => ILL,
        ("/version", 1) => Reply::Cut(r#"{"Version":"20.10.24"}"#),
        ("/version", _) => VERSION,
        ("/info", 0) => Reply::Json(200, "{"),
        ("/info", _) => Reply::Json(200, r#"{"CgroupVersion":"2","Runtimes":{"nvidia":{}}}"#),
        (_, 0) => ILL,
        (_, _) => NOT_THERE,
    });
    let found = serve::connect(&daemon.place()).await.unwrap();
    assert_eq!(
        (found.version.as_str(), &found.rule),
        ("20.10.24", &Rule::Asked)
    );
    assert!(found.api.has(41) && !found.api.has(44) && !found.podman);
    let facts = found.facts().await.unwrap();
    assert!(facts.has_nvidia_runtime() && facts.cgroup_version == Some(2));
    found.facts().await.unwrap();
    assert_eq!(daemon.asked("/info"), 2);
    let options = ServeOptions {
        docker: daemon.place(),
        ..ServeOptions::new("stumble")
    };
    let error = serve::fetch(
        &ImageSource::Reference("busybox".parse().unwrap()),
        &options,
    )
    .await
    .unwrap_err();
    assert!(
        matches!(&error, ServeError::ImageMissing { image } if image == "busybox:latest"),
        "{error}"
    );
    assert_eq!(daemon.asked("/images/busybox:latest/json"), 2);
}

/// Half of it is a message that breaks off.
const LAYER: &str = r#"{"status":"Downloading","id":"a","progressDetail":{"current":1,"total":9}}"#;
const DISK_FULL: &str = r#"{"errorDetail":{"message":"write /x: no space left on device"},"error":"write /x: no space left on device"}"#;
const NO_ARM: &str = r#"{"errorDetail":{"message":"no matching manifest for linux/arm64/v8"},"error":"no matching manifest"}"#;
const UNTRUSTED: &str =
    r#"{"message":"Get \"https://r.io/v2/\": x509: certificate signed by unknown authority"}"#;
const SLOW: &str = r#"{"message":"Get \"https://r.io/v2/\": net/http: TLS handshake timeout"}"#;
const PATIENCE: Duration = Duration::from_millis(300);

/// What is said of a pull, what that means, how often it is asked for, and the exit code.
const PULLS: [(Reply, PullFailure, usize, Exit); 6] = [
    (
        Reply::Json(200, DISK_FULL),
        PullFailure::DiskFull,
        1,
        Exit::Host,
    ),
    (
        Reply::Json(200, NO_ARM),
        PullFailure::Platform,
        1,
        Exit::Engine,
    ),
    (
        Reply::Json(500, UNTRUSTED),
        PullFailure::Tls,
        1,
        Exit::Engine,
    ),
    (
        Reply::Json(500, SLOW),
        PullFailure::Network,
        3,
        Exit::Engine,
    ),
    (Reply::Cut(LAYER), PullFailure::Daemon, 3, Exit::Host),
    (
        Reply::Stall(LAYER),
        PullFailure::Stalled(PATIENCE),
        3,
        Exit::Engine,
    ),
];

#[tokio::test]
async fn what_a_daemon_says_of_a_pull_decides() {
    for (reply, kind, attempts, exit) in PULLS {
        let daemon = Scripted::start(move |path, _| match path {
            "/version" => VERSION,
            "/images/create" => reply,
            _ => NOT_THERE,
        });
        let options = ServeOptions {
            docker: daemon.place(),
            auto_pull: true,
            pull: PullLimits {
                fetching: PATIENCE,
                pause: Duration::from_millis(10),
                ..PullLimits::default()
            },
            ..ServeOptions::new("pull")
        };
        let image = "r.io/x:1".parse().unwrap();
        let error = serve::fetch(&ImageSource::Reference(image), &options)
            .await
            .unwrap_err();
        println!("{error}");
        let ServeError::Pull { failure, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(failure, kind);
        assert_eq!(daemon.asked("/images/create"), attempts);
        assert_eq!(Error::from(error).exit(), exit);
    }
}

#[test]
fn a_malicious_name_is_refused_before_any_call() {
    let daemon = Scripted::start(|_, _| VERSION);
    for name in [
        "../containers/victim",
        "a/../../containers/x",
        "x?force=1",
        "x%2f..%2fcontainers",
        "a\n::error::owned",
        "a\"}, \"Privileged\": true",
        "-v",
        "x:1 --privileged",
        "x@sha256:../../containers/x",
    ] {
        let (mut command, out) = run(Some(&daemon.address()));
        command.arg(format!("--image={name}"));
        let (code, text, _) = outcome(command);
        assert_eq!(code, Some(2), "{name}");
        says(&text, &["is not an image reference"]);
        assert!(!text.contains("\n::error::"), "{text}");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }
    assert!(daemon.seen.lock().unwrap().is_empty());
}

/// Docker's folder with one context.
fn context(name: &str, host: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let id = format!("{:x}", Sha256::digest(name));
    let meta: PathBuf = folder.path().join("contexts/meta").join(id);
    std::fs::create_dir_all(&meta).unwrap();
    let text =
        serde_json::json!({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}});
    std::fs::write(meta.join("meta.json"), text.to_string()).unwrap();
    folder
}

#[tokio::test]
async fn the_current_context_leads_to_its_daemon() {
    let daemon = Scripted::start(|_, _| VERSION);
    let folder = context("lab", &daemon.address());
    std::fs::write(
        folder.path().join("config.json"),
        r#"{"currentContext":"lab"}"#,
    )
    .unwrap();
    let place = DockerPlace {
        config_dir: Some(folder.path().to_owned()),
        ..DockerPlace::default()
    };
    let found = serve::connect(&place).await.unwrap();
    assert_eq!(found.rule, Rule::Context("lab".to_owned()));
    assert_eq!(found.address, daemon.address());
    assert_eq!(found.rule.to_string(), "from Docker context `lab`");
}

#[test]
fn an_unknown_context_is_named_with_those_there_are() {
    let folder = context("lab", "unix:///nonexistent");
    let (mut command, _out) = run(None);
    command
        .env("DOCKER_CONFIG", folder.path())
        .env("DOCKER_CONTEXT", "labb");
    let (code, text, _) = outcome(command);
    assert_eq!(code, Some(20));
    says(&text, &["Docker context `labb` is not in", "default, lab"]);
}

#[test]
fn tls_is_refused_before_a_byte_is_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut command, _out) = run(None);
    command
        .env(
            "DOCKER_HOST",
            format!("tcp://{}", listener.local_addr().unwrap()),
        )
        .env("DOCKER_TLS_VERIFY", "1");
    let (code, text, _) = outcome(command);
    assert_eq!(code, Some(20));
    says(
        &text,
        &["TLS is not supported", "unix:///var/run/docker.sock"],
    );
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "somebody called");
}

#[tokio::test]
async fn the_reason_is_a_value_too() {
    let error = serve::connect(&DockerPlace::at("unix:///nonexistent/x.sock"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ServeError::NoDocker {
                why: Unusable::Absent,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn the_real_daemon_tells_its_facts() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let found = serve::connect(&DockerPlace::default()).await.unwrap();
    let facts = found.facts().await.unwrap();
    println!("{} ({}): {facts:?}", found.address, found.rule);
    let version = docker.version().await.unwrap();
    assert_eq!(Some(found.api.to_string()), version.api_version);
    assert!(facts.processors.unwrap() > 0 && facts.memory.unwrap().0 > 0);
    assert!(matches!(facts.cgroup_version, Some(1 | 2)));
    assert!(!facts.runtimes.is_empty() && facts.root_dir.is_some());
}
