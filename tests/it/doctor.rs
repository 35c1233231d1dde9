//! `kitt doctor` under planted conditions.

use std::{collections::BTreeSet, fs::File, path::Path, process::Output, time::Duration};

use kitt_action::telemetry::{GpuInfo, GpuReading, GpuSample, GpuTrace, write_trace};
use serde_json::Value;

use super::harness::kitt;

/// Runs it with results and locks in a folder of its own.
fn doctor(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    kitt()
        .current_dir(folder)
        .arg("doctor")
        .args(args)
        .env("KITT_LOCK_DIR", folder.join("locks"))
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Severity and text of a finding.
fn finding(document: &Value, id: &str) -> (String, String) {
    let findings = document["findings"].as_array().unwrap();
    let one = findings
        .iter()
        .find(|one| one["id"] == id)
        .unwrap_or_else(|| panic!("no {id} in {document:#}"));
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (
        text("severity"),
        format!("{} / {}", text("what"), text("remedy")),
    )
}

const NO_DOCKER: (&str, &str) = ("DOCKER_HOST", "unix:///nonexistent/docker.sock");

#[test]
fn no_docker_stops_a_container_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(folder.path(), &["--json"], &[NO_DOCKER]);
    assert_eq!(output.status.code(), Some(20));
    let document = json(&output);
    assert_eq!(document["usable"], false);
    let (severity, text) = finding(&document, "docker.reachable");
    assert_eq!(severity, "problem");
    assert!(text.contains("/nonexistent/docker.sock"), "{text}");
    for native in [
        &["--json", "-e", "openai"][..],
        &["--json", "--mode", "native"],
    ] {
        let output = doctor(folder.path(), native, &[NO_DOCKER]);
        assert_eq!(output.status.code(), Some(0), "{native:?}");
        assert_eq!(finding(&json(&output), "docker.reachable").0, "note");
    }
}

#[test]
fn every_finding_has_the_same_keys_and_a_remedy_when_it_is_bad() {
    let folder = tempfile::tempdir().unwrap();
    let document = json(&doctor(folder.path(), &["--json"], &[NO_DOCKER]));
    assert_eq!(document["schema_version"], 1);
    let mut ids = BTreeSet::new();
    for one in document["findings"].as_array().unwrap() {
        let keys: BTreeSet<&str> = one
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            BTreeSet::from(["id", "remedy", "severity", "what", "why"])
        );
        let bad = one["severity"] != "ok";
        assert_eq!(
            one["why"].is_string() && one["remedy"].is_string(),
            bad,
            "{one}"
        );
        ids.insert(one["id"].as_str().unwrap().to_owned());
    }
    for area in ["docker.", "gpu.", "host.", "files.", "engines."] {
        assert!(ids.iter().any(|id| id.starts_with(area)), "{area}");
    }
}

#[test]
fn a_daemon_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let document = json(&doctor(folder.path(), &["--json"], &[]));
    if finding(&document, "docker.reachable").0 != "ok" {
        #[expect(clippy::disallowed_methods, reason = "tests read their own switches")]
        let required = std::env::var("KITT_TEST_DOCKER").is_ok_and(|value| value == "required");
        assert!(!required, "KITT_TEST_DOCKER=required, but {document:#}");
        return;
    }
    for id in [
        "docker.api",
        "docker.space",
        "docker.cgroup",
        "docker.storage",
        "docker.leftovers",
    ] {
        finding(&document, id);
    }
}

#[test]
fn folders_that_cannot_be_written_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    // The kernel's own file systems take no files, not even root's.
    let args = [
        "--json",
        "-e",
        "openai",
        "--output",
        "/proc/kitt",
        "--lock-dir",
        "/sys/kitt",
    ];
    let output = doctor(folder.path(), &args, &[NO_DOCKER]);
    assert_eq!(output.status.code(), Some(20));
    let document = json(&output);
    assert_eq!(finding(&document, "files.results").0, "problem");
    assert_eq!(finding(&document, "files.locks").0, "problem");
    // Looking has left nothing behind.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_lock_that_is_held_names_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let locks = folder.path().join("locks");
    std::fs::create_dir(&locks).unwrap();
    let path = locks.join("gpu-0011.lock");
    std::fs::write(
        &path,
        r#"{"pid":4711,"run":"run-7","since":"2026-01-01T00:00:00Z"}"#,
    )
    .unwrap();
    let file = File::open(&path).unwrap();
    file.lock().unwrap();
    let args = ["--json", "-e", "openai"];
    let document = json(&doctor(folder.path(), &args, &[NO_DOCKER]));
    let (severity, text) = finding(&document, "files.holders");
    assert_eq!(severity, "note");
    assert!(text.contains("run-7") && text.contains("4711"), "{text}");
    drop(file);
    let document = json(&doctor(folder.path(), &args, &[NO_DOCKER]));
    assert!(!document.to_string().contains("files.holders"));
}

#[test]
fn few_open_files_are_told_before_a_load_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let script = "ulimit -n 100; exec \"$0\" doctor --json -e openai --concurrency 64";
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_kitt")])
        .env_clear()
        .env("DOCKER_HOST", NO_DOCKER.1)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(20));
    let (severity, text) = finding(&json(&output), "host.files");
    assert_eq!(severity, "problem");
    assert!(
        text.contains("100 files") && text.contains("needs 128"),
        "{text}"
    );
}

#[test]
fn network_settings_are_told_without_their_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let env = [
        NO_DOCKER,
        ("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128"),
        ("SSL_CERT_FILE", "/nonexistent/ca.pem"),
    ];
    let output = doctor(folder.path(), &["--json", "-e", "openai"], &env);
    let document = json(&output);
    assert!(!document.to_string().contains("hunter2"));
    assert_eq!(finding(&document, "network.proxy").0, "note");
    let (severity, text) = finding(&document, "network.certificates");
    assert!(
        severity == "warning" && text.contains("/nonexistent/ca.pem"),
        "{text}"
    );
}

/// A server that answers one request with this.
fn answering(status: &str, headers: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    );
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let read = socket.read(&mut request).unwrap();
        assert!(request[..read].starts_with(b"GET /repos/o/r HTTP/1.1\r\n"));
        socket.write_all(answer.as_bytes()).unwrap();
    });
    url
}

#[test]
fn a_token_is_checked_with_one_read_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let check = |url: &str| {
        let env = [
            NO_DOCKER,
            ("KITT_INPUT_GITHUB_TOKEN", "ghs_verysecret"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_API_URL", url),
        ];
        let output = doctor(folder.path(), &["--json", "-e", "openai"], &env);
        let all = [output.stdout.clone(), output.stderr.clone()].concat();
        assert!(!String::from_utf8_lossy(&all).contains("ghs_verysecret"));
        finding(&json(&output), "github.token")
    };
    let good = answering(
        "200 OK",
        "x-oauth-scopes: repo, read:org\r\n",
        r#"{"full_name":"o/r","permissions":{"push":true}}"#,
    );
    let (severity, text) = check(&good);
    assert!(
        severity == "ok" && text.contains("repo, read:org"),
        "{text}"
    );
    let reader = answering("200 OK", "", r#"{"permissions":{"push":false}}"#);
    assert_eq!(check(&reader).0, "note");
    let refused = answering("401 Unauthorized", "", r#"{"message":"Bad credentials"}"#);
    let (severity, text) = check(&refused);
    assert!(
        severity == "warning" && text.contains("Bad credentials"),
        "{text}"
    );
}

/// A recording of one GPU.
fn recorded(folder: &Path, info: GpuInfo, readings: &[GpuReading]) -> String {
    let sample = |(second, reading): (u64, &GpuReading)| GpuSample {
        at: Duration::from_millis(second),
        readings: vec![*reading],
    };
    let trace = GpuTrace {
        source: "nvml".to_owned(),
        devices: vec![info],
        samples: (0..).zip(readings).map(sample).collect(),
        ..GpuTrace::default()
    };
    let path = folder.join("gpu.zst");
    write_trace(&File::create(&path).unwrap(), &trace).unwrap();
    format!("replay:{}", path.display())
}

#[test]
fn a_sick_gpu_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut info = GpuInfo {
        uuid: "GPU-1".to_owned(),
        name: "NVIDIA H100 80GB HBM3".to_owned(),
        driver: Some("550.90.07".to_owned()),
        cuda_driver: Some("12.4".to_owned()),
        power_limit_mw: Some(400_000),
        ..GpuInfo::default()
    };
    info.details.persistence = Some(false);
    info.details.power_default_mw = Some(700_000);
    let mut hot = GpuReading {
        temperature_c: Some(88),
        ..GpuReading::default()
    };
    hot.throttled.hw_thermal_ns = Some(1);
    let mut hotter = hot;
    hotter.throttled.hw_thermal_ns = Some(250_000_000);
    let replay = recorded(folder.path(), info, &[hot, hotter, hotter]);
    let env = [NO_DOCKER, ("KITT_TELEMETRY", replay.as_str())];
    let args = ["--json", "-e", "openai", "--gpus", "GPU-2"];
    let output = doctor(folder.path(), &args, &env);
    let document = json(&output);
    assert_eq!(output.status.code(), Some(20));
    for (id, severity) in [
        ("gpu.seen", "ok"),
        ("gpu.listed", "problem"),
        ("gpu.persistence", "warning"),
        ("gpu.power", "note"),
        ("gpu.throttled", "warning"),
        ("gpu.temperature", "note"),
    ] {
        assert_eq!(finding(&document, id).0, severity, "{id}");
    }
}

#[test]
fn an_unknown_engine_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(folder.path(), &["-e", "opnai"], &[NO_DOCKER]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("openai"));
}

/// The human form; lines that hang on this machine are left out.
#[test]
fn people_get_problems_first_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let replay = recorded(
        folder.path(),
        GpuInfo {
            name: "Test GPU".into(),
            ..GpuInfo::default()
        },
        &[GpuReading::default(); 3],
    );
    let env = [NO_DOCKER, ("KITT_TELEMETRY", replay.as_str())];
    let output = doctor(folder.path(), &["--output", "/proc/kitt"], &env);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut kept = Vec::new();
    let mut keep = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            keep = ["docker.reachable", "files.results", "gpu.seen"]
                .iter()
                .any(|id| line.contains(id));
        }
        if keep {
            // The width of the first columns hangs on what else was found.
            kept.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    insta::assert_snapshot!(kept.join("\n"));
    assert!(text.trim_end().lines().last().unwrap().contains("problem"));
}
