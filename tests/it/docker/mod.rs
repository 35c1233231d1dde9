//! Engines in real containers, on a real daemon.
//!
//! Where no daemon can be used these tests say why they are skipped; with
//! `KITT_TEST_DOCKER=required` they fail instead. The one of llama.cpp wants the two lines that
//! `scripts/llama-image.sh` prints in its environment; `KITT_TEST_LLAMA=required` insists.
//!
//! Most engines here are a shell, packed like the simulator by [`serve::image_of`]: it can die,
//! hang, talk and eat memory on command.

mod daemon;
mod leftovers;
mod llama;
mod logs;
mod measured;
mod offline;
mod proxy;
mod readiness;
mod refused;
mod start;
mod startup;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    models::{ContainerCreateBody, Network},
    query_parameters::{
        CreateContainerOptionsBuilder, KillContainerOptions, ListContainersOptionsBuilder,
        ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
    },
};
use kitt_action::{
    context::DockerPlace,
    engine::{
        self, ApiTraits, ContainerSpec, ImageSource, LaunchRequest, LaunchSpec, Mode, Target,
    },
    ids::ImageRef,
    secret::Secret,
    serve::{self, LastWords, ServeError, ServeOptions, with_engine},
    units::Bytes,
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

#[expect(clippy::disallowed_methods, reason = "tests read their own switches")]
pub(crate) fn switch(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[expect(
    clippy::print_stdout,
    reason = "who reads the tests' output must learn why"
)]
fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// A client for the daemon that kitt finds, or `None` after saying why there is none.
pub(crate) async fn docker_or_skip() -> Option<Docker> {
    // A second test in this process finds it installed.
    drop(rustls::crypto::ring::default_provider().install_default());
    match serve::connect(&DockerPlace::default()).await {
        Ok(daemon) => {
            let path = daemon.address.trim_start_matches("unix://");
            let client = Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION);
            Some(client.unwrap())
        }
        Err(error) if switch("KITT_TEST_DOCKER").as_deref() == Some("required") => {
            panic!("KITT_TEST_DOCKER=required, but {error}")
        }
        Err(error) => {
            skipped(&error.to_string());
            None
        }
    }
}

/// The images of the simulator and of the shell.
pub(crate) async fn images() -> &'static (ImageRef, ImageRef) {
    static IMAGES: OnceCell<(ImageRef, ImageRef)> = OnceCell::const_new();
    IMAGES
        .get_or_init(|| async {
            let kitt = Path::new(env!("CARGO_BIN_EXE_kitt"));
            serve::image_of(&DockerPlace::default(), kitt)
                .await
                .unwrap();
            let shell = serve::image_of(&DockerPlace::default(), Path::new("/bin/sh"))
                .await
                .unwrap();
            // Making the shell's may have swept one of an old build: make sure of both.
            (
                serve::image_of(&DockerPlace::default(), kitt)
                    .await
                    .unwrap(),
                shell,
            )
        })
        .await
}

pub(crate) fn options(run: &str) -> ServeOptions {
    ServeOptions::new(format!("test-{}-{run}", std::process::id()))
}

pub(crate) fn launch(image: &ImageRef, args: &[&str]) -> LaunchSpec {
    LaunchSpec {
        target: Target::Container(Box::new(ContainerSpec {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: [("SECRET".to_owned(), "hf_very_secret".to_owned())].into(),
            ..ContainerSpec::new(ImageSource::Reference(image.clone()), 8000)
        })),
        api: ApiTraits {
            check_model: false,
            ..ApiTraits::openai("none".to_owned())
        },
        startup_timeout: Duration::from_mins(1),
    }
}

pub(crate) async fn shell(script: &str) -> LaunchSpec {
    launch(&images().await.1, &["-c", script])
}

/// Alive until it is killed: a stopped process does not even hear SIGTERM.
pub(crate) const HANG: &str = "echo up; kill -STOP $$";

fn request(model: &str) -> LaunchRequest {
    LaunchRequest {
        mode: Some(Mode::Docker),
        seed: 1,
        max_concurrency: 2,
        max_tokens_per_request: 512,
        startup_timeout: Some(Duration::from_secs(30)),
        ..LaunchRequest::new(model.parse().unwrap())
    }
}

pub(crate) async fn simulator() -> LaunchSpec {
    simulator_of(images().await.0.clone())
}

pub(crate) fn simulator_of(image: ImageRef) -> LaunchSpec {
    let mut request = request("sim-model");
    request.image = Some(image);
    engine::find("sim").unwrap().launch(&request).unwrap()
}

/// Names of the containers of a run.
pub(crate) async fn left(docker: &Docker, options: &ServeOptions) -> Vec<String> {
    let label = format!("dev.kitt-action.run={}", options.run_id);
    let filter: HashMap<&str, Vec<String>> = [("label", vec![label])].into();
    let query = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter)
        .build();
    let found = docker.list_containers(Some(query)).await.unwrap();
    found
        .into_iter()
        .flat_map(|one| one.names.unwrap_or_default())
        .collect()
}

/// Networks of a run.
async fn networks(docker: &Docker, options: &ServeOptions) -> Vec<Network> {
    let label = format!("dev.kitt-action.run={}", options.run_id);
    let filter: HashMap<&str, Vec<String>> = [("label", vec![label])].into();
    let query = ListNetworksOptionsBuilder::new().filters(&filter).build();
    docker.list_networks(Some(query)).await.unwrap()
}

/// No container and no network of the run is left.
async fn nothing_left(docker: &Docker, options: &ServeOptions) {
    assert_eq!(left(docker, options).await, [""; 0]);
    assert_eq!(networks(docker, options).await, []);
}

/// Waits until the run has a running container.
pub(crate) async fn running(docker: &Docker, options: &ServeOptions) {
    let label = format!("dev.kitt-action.run={}", options.run_id);
    let filter: HashMap<&str, Vec<String>> = [
        ("label", vec![label]),
        ("status", vec!["running".to_owned()]),
    ]
    .into();
    let query = ListContainersOptionsBuilder::new().filters(&filter).build();
    while docker
        .list_containers(Some(query.clone()))
        .await
        .unwrap()
        .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn uncancelled<T>(
    spec: &LaunchSpec,
    options: &ServeOptions,
    body: impl AsyncFnOnce(serve::Endpoint) -> T,
) -> Result<T, ServeError> {
    with_engine(spec, options, &CancellationToken::new(), body).await
}

pub(crate) async fn start_only(spec: &LaunchSpec, options: &ServeOptions) -> ServeError {
    let cancel = CancellationToken::new();
    with_engine(spec, options, &cancel, async |_| ())
        .await
        .unwrap_err()
}
