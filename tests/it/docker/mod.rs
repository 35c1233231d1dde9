//! Engines in real containers, on a real daemon.
//!
//! Where no daemon can be used these tests say why they are skipped; with
//! `KITT_TEST_DOCKER=required` they fail instead. The one of llama.cpp wants the two lines that
//! `scripts/llama-image.sh` prints in its environment; `KITT_TEST_LLAMA=required` insists.
//!
//! Most engines here are a shell, packed like the simulator by [`serve::image_of`]: it can die,
//! hang, talk and eat memory on command.

mod leftovers;
mod llama;
mod measured;
mod start;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptionsBuilder, KillContainerOptions, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptions,
    },
};
use kitt_action::{
    engine::{
        self, ApiTraits, ContainerSpec, ImageSource, LaunchRequest, LaunchSpec, Mode, SimSpec,
        Target,
    },
    ids::ImageRef,
    secret::Secret,
    serve::{self, ServeError, ServeOptions, with_engine},
    units::Bytes,
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

#[expect(clippy::disallowed_methods, reason = "tests read their own switches")]
fn switch(name: &str) -> Option<String> {
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
async fn docker_or_skip() -> Option<Docker> {
    // A second test in this process finds it installed.
    drop(rustls::crypto::ring::default_provider().install_default());
    match serve::connect(None).await {
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
async fn images() -> &'static (ImageRef, ImageRef) {
    static IMAGES: OnceCell<(ImageRef, ImageRef)> = OnceCell::const_new();
    IMAGES
        .get_or_init(|| async {
            let kitt = Path::new(env!("CARGO_BIN_EXE_kitt"));
            serve::image_of(None, kitt).await.unwrap();
            let shell = serve::image_of(None, Path::new("/bin/sh")).await.unwrap();
            // Making the shell's may have swept one of an old build: make sure of both.
            (serve::image_of(None, kitt).await.unwrap(), shell)
        })
        .await
}

fn options(run: &str) -> ServeOptions {
    ServeOptions {
        docker_host: None,
        auto_pull: false,
        run_id: format!("test-{}-{run}", std::process::id()),
        log_file: None,
        stop_timeout: Duration::from_secs(5),
        secrets: Vec::new(),
        bearer: None,
    }
}

fn launch(image: &ImageRef, args: &[&str]) -> LaunchSpec {
    LaunchSpec {
        target: Target::Container(Box::new(ContainerSpec {
            image: ImageSource::Reference(image.clone()),
            entrypoint: Vec::new(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: [("SECRET".to_owned(), "hf_very_secret".to_owned())].into(),
            port: 8000,
            mounts: Vec::new(),
            gpus: Vec::new(),
            memory: None,
            cpuset: None,
            shm: None,
        })),
        api: ApiTraits {
            health_path: "/health",
            request_extras: serde_json::Map::new(),
            exact_length: false,
            metrics_path: None,
            served_model: "none".to_owned(),
            check_model: false,
        },
        startup_timeout: Duration::from_mins(1),
    }
}

async fn shell(script: &str) -> LaunchSpec {
    launch(&images().await.1, &["-c", script])
}

/// Alive until it is killed: a stopped process does not even hear SIGTERM.
const HANG: &str = "echo up; kill -STOP $$";

fn request(model: &str) -> LaunchRequest {
    LaunchRequest {
        model: model.parse().unwrap(),
        mode: Some(Mode::Docker),
        image: None,
        endpoint: None,
        args: Vec::new(),
        env: std::collections::BTreeMap::new(),
        seed: 1,
        max_concurrency: 2,
        max_tokens_per_request: 512,
        startup_timeout: Some(Duration::from_secs(30)),
        gpus: Vec::new(),
        memory: None,
        cpuset: None,
        sim: SimSpec::default(),
    }
}

async fn simulator() -> LaunchSpec {
    let mut request = request("sim-model");
    request.image = Some(images().await.0.clone());
    engine::find("sim").unwrap().launch(&request).unwrap()
}

/// Names of the containers of a run.
async fn left(docker: &Docker, options: &ServeOptions) -> Vec<String> {
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

/// Waits until the run has a running container.
async fn running(docker: &Docker, options: &ServeOptions) {
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

async fn start_only(spec: &LaunchSpec, options: &ServeOptions) -> ServeError {
    let cancel = CancellationToken::new();
    with_engine(spec, options, &cancel, async |_| ())
        .await
        .unwrap_err()
}
