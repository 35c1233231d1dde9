//! From the start to the first good answer: slow, hung, misleading and failing engines.

use std::sync::{Arc, Mutex};

use super::{proxy::Proxy, *};

/// A simulator in a container that takes so long to start.
async fn slow(milliseconds: u32) -> LaunchSpec {
    let mut request = request("sim-model");
    request.image = Some(images().await.0.clone());
    request.args = vec![format!("--startup-ms={milliseconds}")];
    engine::find("sim").unwrap().launch(&request).unwrap()
}

#[tokio::test]
async fn an_engine_that_says_503_for_ever_is_late_with_its_last_answer_and_its_usage() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (mut spec, options) = (slow(3_600_000).await, options("503"));
    spec.startup_timeout = Duration::from_secs(2);
    let begin = Instant::now();
    let error = start_only(&spec, &options).await;
    let ServeError::NotReady { answer, limit, .. } = &error else {
        panic!("{error}")
    };
    assert!(answer.starts_with("HTTP 503"), "{answer}");
    assert!(
        answer.contains("MiB of memory") && answer.contains("processor time"),
        "{answer}"
    );
    assert_eq!(*limit, spec.startup_timeout);
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn a_log_that_goes_on_extends_the_deadline() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let script = "while :; do echo loading; n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; done";
    let (mut spec, options) = (shell(script).await, options("moving"));
    spec.startup_timeout = Duration::from_secs(1);
    let error = start_only(&spec, &options).await;
    let ServeError::NotReady { limit, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*limit, 3 * spec.startup_timeout, "the hard limit");
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn an_engine_that_says_it_failed_and_lives_on_is_not_waited_for() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let line = "warning: no usable GPU found, --gpu-layers option will be ignored";
    let (spec, options) = (
        shell(&format!("echo '{line}'; {HANG}")).await,
        options("fatal"),
    );
    let begin = Instant::now();
    let error = start_only(&spec, &options).await;
    let ServeError::Stuck { last } = &error else {
        panic!("{error}")
    };
    let told = last.diagnosis.as_ref().unwrap();
    assert_eq!(told.class, engine::FailureClass::Gpu);
    // It has five seconds to recover or to end.
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn dying_words_are_explained() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let script = "echo 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB'; \
                  i=0; while [ $i -lt 250 ]; do echo '  File x.py, in forward'; i=$((i+1)); done; \
                  echo 'RuntimeError: Engine core initialization failed. See root cause above.'; exit 1";
    let (spec, options) = (shell(script).await, options("words"));
    let error = start_only(&spec, &options).await;
    let ServeError::Died { code: 1, last, .. } = &error else {
        panic!("{error}")
    };
    let told = last.diagnosis.as_ref().unwrap();
    assert_eq!(told.class, engine::FailureClass::GpuMemory);
    assert!(error.to_string().contains(told.remedy), "{error}");
    nothing_left(&docker, &options).await;
}

/// What the given future logs, at `info` and above.
async fn logged<T>(of: impl Future<Output = T>) -> (T, String) {
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let value = of.await;
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    (value, text)
}

#[tokio::test]
async fn beside_the_bridge_the_containers_own_address_is_used() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (spec, options) = (simulator().await, options("address"));
    let cancel = CancellationToken::new();
    let run = with_engine(&spec, &options, &cancel, async |endpoint| endpoint.url);
    let (url, log) = logged(run).await;
    let url = url.unwrap();
    assert_ne!(url.host_str(), Some("127.0.0.1"));
    assert!(log.contains("the container's own address is used"), "{log}");
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn where_the_own_address_cannot_be_reached_the_published_port_is_used() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    // A daemon that runs without root has a network of its own.
    let proxy = Proxy::start().await;
    let info =
        serde_json::json!({"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]});
    proxy.answer("GET /info", 200, &info);
    let (spec, mut options) = (simulator().await, options("published"));
    options.docker = proxy.place();
    let cancel = CancellationToken::new();
    let run = with_engine(&spec, &options, &cancel, async |endpoint| endpoint.url);
    let (url, log) = logged(run).await;
    assert_eq!(url.unwrap().host_str(), Some("127.0.0.1"));
    assert!(log.contains("the published port is used"), "{log}");
    nothing_left(&docker, &options).await;
}

/// The time from the first good answer an engine could have given to the body's start, which is
/// what kitt adds to an engine's own start.
#[tokio::test]
async fn readiness_is_noticed_within_a_quarter_of_a_second() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    for milliseconds in [300, 1500, 6000] {
        let (spec, options) = (
            slow(milliseconds).await,
            options(&format!("gap-{milliseconds}")),
        );
        let cancel = CancellationToken::new();
        let healthy = async {
            running(&docker, &options).await;
            let name = left(&docker, &options).await.remove(0);
            let found = docker.inspect_container(name.trim_start_matches('/'), None);
            let networks = found
                .await
                .unwrap()
                .network_settings
                .unwrap()
                .networks
                .unwrap();
            let address = networks.into_values().next().unwrap().ip_address.unwrap();
            let url = format!("http://{address}:8000/health");
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            loop {
                if let Ok(answer) = client.get(&url).send().await
                    && answer.status() == 200
                {
                    return Instant::now();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let run = with_engine(&spec, &options, &cancel, async |_| Instant::now());
        let (entered, healthy) = tokio::join!(run, healthy);
        let gap = entered.unwrap().saturating_duration_since(healthy);
        println!("ready after {milliseconds} ms: the body starts {gap:?} later");
        // A busy machine of two processors has its own delays.
        assert!(gap < Duration::from_millis(500), "{gap:?}");
        nothing_left(&docker, &options).await;
    }
}
