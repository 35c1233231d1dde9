//! A registry that wants to know who asks.

use std::os::unix::fs::PermissionsExt;

use kitt_action::secret::Secret;

use super::*;
use crate::harness::kitt;

/// Its base64 holds `+` and `/`: the daemon takes those for no credentials at all.
const ODD: &str = "kitt:p>>>???~~~ÿ";

fn guarded(login: &str) -> Setup {
    Setup {
        login: Some(login.to_owned()),
        ..setup(Fault::None)
    }
}

#[tokio::test]
async fn without_credentials_the_login_is_asked_for() {
    let Some(_docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(guarded(ODD)).await;
    let name = format!("{}:1", registry.name());
    let (kind, attempts, text) = failure(pull(&name, &options(None)).await);
    println!("{text}");
    assert_eq!((kind, attempts), (PullFailure::Unauthorized, 1));
    assert!(
        text.contains("credentials: none") && text.contains("docker login"),
        "{text}"
    );
    assert_eq!(registry.count("/blobs/"), 0);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let Some(_docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(guarded(ODD)).await;
    let folder = config(&registry, "kitt:wrong-s3cret");
    let name = format!("{}:1", registry.name());
    let (kind, attempts, text) = failure(pull(&name, &options(Some(folder.path()))).await);
    println!("{text}");
    assert_eq!((kind, attempts), (PullFailure::Unauthorized, 1));
    assert!(
        text.contains("config.json") && !text.contains("s3cret"),
        "{text}"
    );
}

#[tokio::test]
async fn an_odd_password_works_and_is_masked() {
    static MASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(guarded(ODD)).await;
    let folder = config(&registry, ODD);
    let name = format!("{}:1", registry.name());
    let mut options = options(Some(folder.path()));
    options.mask = Some(|secret: &Secret| MASKED.lock().unwrap().push(secret.expose().to_owned()));
    let logged = Logged::default();
    let guard = logged.here();
    let pulled = pull(&name, &options).await.unwrap();
    drop(guard);
    assert_eq!(pulled.digest.as_deref(), Some(registry.digest.as_str()));
    let password = ODD.split_once(':').unwrap().1;
    assert_eq!(pulled.secrets[0].expose(), password);
    assert_eq!(MASKED.lock().unwrap()[0], password);
    let text = logged.text();
    assert!(
        text.contains("config.json") && !text.contains(password),
        "{text}"
    );
    remove(&docker, &name).await;
}

/// A program in a folder of its own that says what a helper says.
fn helper(folder: &Path, script: &str) {
    let path = folder.join("docker-credential-kitt-test");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The binary: helpers are looked up in its PATH.
async fn run(registry: &Registry, script: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    helper(folder.path(), script);
    let address = registry.address.to_string();
    let config =
        serde_json::json!({"credHelpers": {address: "kitt-test"}, "credsStore": "none-such"});
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let mut command = kitt();
    command
        .args([
            "run",
            "-m",
            "m",
            "-e",
            "sim",
            "--mode",
            "docker",
            "--auto-pull",
        ])
        .arg("--image")
        .arg(format!("{}:1", registry.name()))
        .arg("-o")
        .arg(folder.path().join("out"))
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .env("DOCKER_CONFIG", folder.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

#[tokio::test]
async fn a_credential_helper_is_asked_for_its_registry() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(guarded(ODD)).await;
    let script = format!(
        r#"read host; test "$1 $host" = "get {}" && printf '{{"Username":"kitt","Secret":"p>>>???~~~ÿ"}}'"#,
        registry.address
    );
    let (_, text) = run(&registry, &script).await;
    println!("{text}");
    let name = format!("{}:1", registry.name());
    assert!(text.contains("credential helper kitt-test"), "{text}");
    assert!(text.contains(&format!("pulled {name}")), "{text}");
    assert!(!text.contains("p>>>"), "{text}");
    remove(&docker, &name).await;
}

#[tokio::test]
async fn a_helper_that_fails_is_told_with_its_words() {
    let Some(_docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(guarded(ODD)).await;
    let (code, text) = run(&registry, "echo 'the keyring is locked' >&2; exit 1").await;
    println!("{text}");
    assert_eq!(code, Some(22), "{text}");
    assert!(
        text.contains("docker-credential-kitt-test: the keyring is locked"),
        "{text}"
    );
    assert!(
        text.contains("wants other credentials") && text.contains("credentials: none"),
        "{text}"
    );
}
