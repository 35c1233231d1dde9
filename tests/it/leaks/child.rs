//! A process that runs an engine through the library until it is ended: what `kitt` does, with an
//! engine of the test's choice.

use std::path::{Path, PathBuf};

use kitt_action::{
    engine::{ApiTraits, GpuSet, LaunchSpec, ProcessSpec, Target},
    serve::with_engine,
};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::*;

/// What the child is to do; the file `child.json` in its working directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) run: String,
    pub(super) guard: bool,
    pub(super) engine: Engine,
    pub(super) gpus: Vec<String>,
    pub(super) wait_for_gpu: Duration,
    /// Whether the measurement ends by itself once the engine answers.
    pub(super) short: bool,
    /// Whether a container gets no way out, and with that a network of its own.
    pub(super) offline: bool,
    /// Made by the parent: it takes a while.
    pub(super) image: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Engine {
    /// Processes of this host; `{port}` in the arguments.
    Native(Vec<String>),
    /// A shell script in a container.
    Shell(String),
    /// The simulator in a container.
    Container,
}

impl Task {
    pub(super) fn new(name: &str, engine: Engine) -> Self {
        Self {
            run: unique(name),
            guard: true,
            engine,
            gpus: Vec::new(),
            wait_for_gpu: Duration::ZERO,
            short: false,
            offline: false,
            image: None,
        }
    }

    pub(super) async fn start(&self) -> Subject {
        let dir = tempfile::tempdir().unwrap();
        let mut task = self.clone();
        task.image = task.make_image().await;
        let task = serde_json::to_vec(&task).unwrap();
        fs::write(dir.path().join("child.json"), task).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "leaks::child::child"]);
        Subject::start(command, dir, self.run.clone())
    }

    pub(super) fn options(&self, locks: &Path) -> ServeOptions {
        let guard = self
            .guard
            .then(|| PathBuf::from(env!("CARGO_BIN_EXE_kitt")));
        ServeOptions {
            guard,
            lock_dir: Some(locks.to_owned()),
            wait_for_gpu: self.wait_for_gpu,
            passed_on: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            stop_timeout: Duration::from_secs(1),
            ..ServeOptions::new(&self.run)
        }
    }

    async fn make_image(&self) -> Option<String> {
        match &self.engine {
            Engine::Native(_) => None,
            Engine::Shell(_) => Some(docker::images().await.1.to_string()),
            Engine::Container => Some(docker::images().await.0.to_string()),
        }
    }

    pub(super) async fn spec(&self) -> LaunchSpec {
        let made = match &self.image {
            Some(image) => Some(image.clone()),
            None => self.make_image().await,
        };
        let image = made.map(|image| image.parse().unwrap());
        match (&self.engine, image) {
            (Engine::Native(command), _) => native(command, &self.gpus),
            (Engine::Shell(script), image) => {
                let mut spec = docker::launch(&image.unwrap(), &["-c", script]);
                if let Target::Container(container) = &mut spec.target {
                    container.offline = self.offline;
                }
                spec
            }
            (Engine::Container, image) => docker::simulator_of(image.unwrap()),
        }
    }
}

/// A native engine of that command.
pub(super) fn native(command: &[String], gpus: &[String]) -> LaunchSpec {
    let (program, args) = command.split_first().unwrap();
    let gpus = match gpus {
        [] => GpuSet::None,
        uuids => GpuSet::Nvidia(uuids.to_vec()),
    };
    LaunchSpec {
        target: Target::Process(Box::new(ProcessSpec {
            program: program.clone(),
            args: args.to_vec(),
            env: [].into(),
            secrets: [].into(),
            gpus,
            cpuset: None,
        })),
        api: ApiTraits {
            check_model: false,
            ..ApiTraits::openai("none".to_owned())
        },
        startup_timeout: Duration::from_mins(1),
    }
}

/// The simulator as a native engine.
pub(super) fn simulator(parameters: &[&str]) -> Vec<String> {
    let command = [env!("CARGO_BIN_EXE_kitt"), "sim", "--port", "{port}"];
    let all = command.iter().chain(parameters);
    all.map(|word| (*word).to_owned()).collect()
}

/// A shell as a native engine.
pub(super) fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

#[tokio::test]
#[ignore = "runs only as the child of other tests"]
async fn child() {
    let Ok(task) = fs::read("child.json") else {
        return;
    };
    drop(rustls::crypto::ring::default_provider().install_default());
    let task: Task = serde_json::from_slice(&task).unwrap();
    let (cancel, at_once) = (CancellationToken::new(), CancellationToken::new());
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut heard = signal(kind).unwrap();
        let (cancel, at_once) = (cancel.clone(), at_once.clone());
        tokio::spawn(async move {
            while heard.recv().await.is_some() {
                if cancel.is_cancelled() {
                    at_once.cancel();
                }
                cancel.cancel();
            }
        });
    }
    let spec = task.spec().await;
    let options = task.options(&std::path::absolute("locks").unwrap());
    let engine = with_engine(&spec, &options, &cancel, async |_| {
        fs::write("ready", "").unwrap();
        if !task.short {
            cancel.cancelled().await;
        }
        fs::write("measured", "").unwrap();
    });
    // As kitt does on a second signal: what is held is dropped.
    tokio::select! {
        outcome = engine => {
            let outcome = outcome.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
            fs::write("outcome", outcome).unwrap();
        }
        () = at_once.cancelled() => {}
    }
}
