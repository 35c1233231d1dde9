//! The time in which an engine answers: it is found, measured and removed, whatever the body does.

use super::*;

#[tokio::test]
async fn a_simulator_answers_from_its_container_and_is_gone_afterwards() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (spec, options) = (simulator().await, options("sim"));
    let begin = Instant::now();
    let (endpoint, ended, status) = uncancelled(&spec, &options, async |endpoint| {
        assert_eq!(left(&docker, &options).await.len(), 1);
        let status = reqwest::get(endpoint.url.join("/v1/models").unwrap())
            .await
            .unwrap()
            .status();
        (endpoint, Instant::now(), status)
    })
    .await
    .unwrap();
    println!(
        "sim: ready after {:?}, whole start {:?}, removal {:?}",
        endpoint.startup,
        ended - begin,
        ended.elapsed()
    );
    assert_eq!(status, 200);
    assert!(endpoint.facts.image_digest.unwrap().starts_with("sha256:"));
    assert!(endpoint.facts.args.contains(&"sim".to_owned()));
    assert_eq!(left(&docker, &options).await, [""; 0]);
}

#[tokio::test]
async fn the_running_binary_becomes_an_image_once() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    // The running binary is this test binary: it lists its tests and ends.
    let (mut spec, options) = (shell("").await, options("own"));
    if let Target::Container(container) = &mut spec.target {
        container.image = ImageSource::RunningBinary;
        // Only itself: an error keeps the end of a log, not all of it.
        let one = "the_running_binary_becomes_an_image_once";
        container.args = vec!["--list".to_owned(), one.to_owned()];
    }
    for attempt in ["made", "found"] {
        let begin = Instant::now();
        let error = start_only(&spec, &options).await;
        println!("image {attempt}, run and removed in {:?}", begin.elapsed());
        let ServeError::Died { code: 0, last, .. } = &error else {
            panic!("{error}")
        };
        assert!(last.log.contains("_becomes_an_image_once: test"), "{last}");
    }
    // Every build of the tests would leave one behind for a day.
    let own = std::env::current_exe().unwrap();
    let image = serve::image_of(&DockerPlace::default(), &own)
        .await
        .unwrap();
    let remove = docker.remove_image(image.as_str(), None::<RemoveImageOptions>, None);
    remove.await.unwrap();
}

#[tokio::test]
async fn another_model_than_asked_for_is_refused() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (mut spec, options) = (simulator().await, options("model"));
    spec.api.served_model = "other".to_owned();
    let error = start_only(&spec, &options).await;
    assert!(
        matches!(&error, ServeError::WrongModel { listed, .. } if listed == "sim-model"),
        "{error}"
    );
    assert_eq!(left(&docker, &options).await, [""; 0]);
}

#[tokio::test]
async fn an_error_of_the_body_comes_back_and_the_container_goes() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (spec, options) = (simulator().await, options("body"));
    let body = async |_| Err::<(), _>("the load failed");
    let outcome = uncancelled(&spec, &options, body).await;
    assert_eq!(outcome.unwrap(), Err("the load failed"));
    assert_eq!(left(&docker, &options).await, [""; 0]);
}

#[tokio::test]
async fn cancelling_a_measurement_removes_the_container() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (spec, options) = (simulator().await, options("cancel"));
    let cancel = CancellationToken::new();
    let body = async |_| {
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
    assert_eq!(left(&docker, &options).await, [""; 0]);
}

#[tokio::test]
async fn an_engine_that_dies_while_measured_is_no_success() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (spec, options) = (simulator().await, options("lost"));
    let body = async |_| {
        let name = left(&docker, &options).await.remove(0);
        let name = name.trim_start_matches('/');
        docker
            .kill_container(name, None::<KillContainerOptions>)
            .await
            .unwrap();
        std::future::pending::<()>().await;
    };
    let outcome = uncancelled(&spec, &options, body).await;
    let error = outcome.unwrap_err();
    assert!(
        matches!(
            error,
            ServeError::Lost {
                code: 137,
                oom: false,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(left(&docker, &options).await, [""; 0]);
}
