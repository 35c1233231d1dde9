//! Engines without a way out: a network of their own, gone with them.

use bollard::models::NetworkCreateRequest;

use super::*;

async fn offline() -> LaunchSpec {
    let mut spec = simulator().await;
    if let Target::Container(container) = &mut spec.target {
        container.offline = true;
    }
    spec
}

#[tokio::test]
async fn an_offline_engine_answers_and_its_network_goes_with_it() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (spec, options) = (offline().await, options("offline"));
    let body = async |endpoint: serve::Endpoint| {
        let networks = networks(&docker, &options).await;
        assert_eq!(networks.len(), 1);
        let name = networks[0].name.clone().unwrap();
        assert_eq!(networks[0].internal, Some(true));
        let container = left(&docker, &options).await.remove(0);
        let found = docker
            .inspect_container(container.trim_start_matches('/'), None)
            .await
            .unwrap();
        let settings = found.network_settings.unwrap();
        let ports = settings.ports.unwrap_or_default();
        assert!(ports.values().all(Option::is_none), "{ports:?}");
        // In that network alone.
        let inside: Vec<String> = settings.networks.unwrap().into_keys().collect();
        assert_eq!(inside.len(), 1);
        assert!(inside[0] == name || networks[0].id.as_deref() == Some(&inside[0]));
        reqwest::get(endpoint.url.join("/v1/models").unwrap())
            .await
            .unwrap()
            .status()
    };
    let status = uncancelled(&spec, &options, body).await.unwrap();
    assert_eq!(status, 200);
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn cancelling_an_offline_start_leaves_no_network() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    for delay in [0, 30, 60, 100, 200, 400] {
        let (mut spec, options) = (shell(HANG).await, options(&format!("off-{delay}")));
        if let Target::Container(container) = &mut spec.target {
            container.offline = true;
        }
        let cancel = CancellationToken::new();
        let stop = async {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            cancel.cancel();
            Instant::now()
        };
        let (outcome, cancelled) =
            tokio::join!(with_engine(&spec, &options, &cancel, async |_| ()), stop);
        assert!(cancelled.elapsed() < Duration::from_secs(6), "{delay} ms");
        assert!(
            matches!(outcome, Err(ServeError::Cancelled { .. })),
            "{outcome:?}"
        );
        nothing_left(&docker, &options).await;
    }
}

#[tokio::test]
async fn networks_of_the_dead_are_swept_and_no_others() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let run = options("net-dead").run_id;
    let make = async |name: &str, labels: &[(&str, &str)]| {
        let pairs = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let request = NetworkCreateRequest {
            name: format!("{run}-{name}"),
            internal: Some(true),
            labels: Some(pairs.collect()),
            ..NetworkCreateRequest::default()
        };
        docker.create_network(request).await.unwrap().id
    };
    let ours = make(
        "ours",
        &[(serve::LABEL, "1"), ("dev.kitt-action.run", &run)],
    )
    .await;
    let foreign = make("foreign", &[("dev.kitt-action.run", &run)]).await;
    let other = make(
        "other",
        &[(serve::LABEL, "1"), ("dev.kitt-action.run", "x")],
    )
    .await;
    let sweep = serve::Sweep {
        run: Some(run.clone()),
        ..serve::Sweep::default()
    };
    let swept = serve::cleanup(&sweep).await.unwrap();
    let ours_by_name = format!("network {run}-ours");
    assert!(swept.removed.contains(&ours_by_name), "{swept:?}");
    assert!(docker.inspect_network(&ours, None).await.is_err());
    for kept in [&foreign, &other] {
        assert!(docker.inspect_network(kept, None).await.is_ok());
        docker.remove_network(kept).await.unwrap();
    }
}
