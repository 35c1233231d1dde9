//! What kitt itself adds between an engine's readiness and the first request of the load, of the
//! whole binary. `scripts/bench-startup.sh` prints it for a release build.

use std::process::Stdio;

use super::*;
use crate::harness;

/// Address of the container that a process made.
async fn address_of(docker: &Docker, pid: u32) -> String {
    let label = format!("dev.kitt-action.owner-pid={pid}");
    let filter: HashMap<&str, Vec<String>> = [("label", vec![label])].into();
    let query = ListContainersOptionsBuilder::new().filters(&filter).build();
    loop {
        let found = docker.list_containers(Some(query.clone())).await.unwrap();
        let networks = found
            .into_iter()
            .next()
            .and_then(|one| one.network_settings)
            .and_then(|settings| settings.networks);
        let address = networks
            .into_iter()
            .flatten()
            .find_map(|(_, endpoint)| endpoint.ip_address.filter(|text| !text.is_empty()));
        if let Some(address) = address {
            return address;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks every two milliseconds until the answer is good.
async fn until(url: &str, good: impl Fn(u16, &str) -> bool) -> Instant {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    loop {
        if let Ok(answer) = client.get(url).send().await {
            let status = answer.status().as_u16();
            if good(status, &answer.text().await.unwrap_or_default()) {
                return Instant::now();
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether the metrics page counts any token of a prompt.
fn loaded(page: &str) -> bool {
    let counts =
        |line: &str| line.starts_with("kitt_sim:prompt_tokens_total{") && !line.ends_with(" 0");
    page.lines().any(counts)
}

#[tokio::test]
async fn the_first_request_comes_within_half_a_second_of_readiness() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let image = images().await.0.to_string();
    for milliseconds in [500, 3000] {
        let folder = tempfile::tempdir().unwrap();
        let mut kitt = harness::kitt();
        kitt.current_dir(folder.path())
            .args(["run", "-e", "sim", "-m", "sim-model", "--mode", "docker"])
            .args(["--image", &image, "--requests", "8", "--output-tokens", "8"])
            .arg(format!("--engine-args=--startup-ms={milliseconds}"))
            .args(["--concurrency", "1", "--runs", "1", "-o", "out"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = kitt.spawn().unwrap();
        let base = format!("http://{}:8000", address_of(&docker, child.id()).await);
        let healthy = until(&format!("{base}/health"), |status, _| status == 200).await;
        let first = until(&format!("{base}/metrics"), |_, page| loaded(page)).await;
        let gap = first - healthy;
        println!(
            "an engine that is ready after {milliseconds} ms: the first request of the load {gap:?} later"
        );
        let ended = tokio::task::spawn_blocking(|| child.wait_with_output());
        let ended = ended.await.unwrap().unwrap();
        let log = String::from_utf8_lossy(&ended.stderr);
        // A busy machine may make the measurement invalid; the start is what counts here.
        let code = ended.status.code();
        assert!(matches!(code, Some(0 | 21)), "{code:?}\n{log}");
        assert!(gap < Duration::from_millis(500), "{gap:?}\n{log}");
    }
}
