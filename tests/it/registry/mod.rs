//! Pulls by the real daemon from a registry on loopback. Where no daemon can be used the tests
//! say so and are skipped, as in `docker`.

mod credentials;
mod failures;
mod fake;
mod pull;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bollard::{Docker, query_parameters::RemoveImageOptionsBuilder};
use kitt_action::{
    context::DockerPlace,
    engine::ImageSource,
    ids::ImageRef,
    serve::{self, Image, PullFailure, PullLimits, ServeError, ServeOptions},
};
use tracing_subscriber::fmt::MakeWriter;

use crate::docker::docker_or_skip;
use fake::{Fault, Registry, Setup};

/// Two layers: the second one large enough to be seen arriving.
const LAYERS: [usize; 2] = [10_000, 1 << 20];

fn setup(fault: Fault) -> Setup {
    Setup {
        layers: LAYERS.to_vec(),
        login: None,
        fault,
    }
}

/// A pull with short limits and Docker's configuration from a folder of the test's own.
fn options(config: Option<&Path>) -> ServeOptions {
    ServeOptions {
        docker: DockerPlace {
            config_dir: config.map(Path::to_owned),
            ..DockerPlace::default()
        },
        auto_pull: true,
        pull: PullLimits {
            fetching: Duration::from_millis(1500),
            pause: Duration::from_millis(100),
            report: Duration::from_millis(100),
            ..PullLimits::default()
        },
        ..ServeOptions::new("registry-test")
    }
}

/// Docker's configuration with one login.
fn config(registry: &Registry, login: &str) -> tempfile::TempDir {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let address = registry.address.to_string();
    let config = serde_json::json!({"auths": {address: {"auth": STANDARD.encode(login)}}});
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

fn image(name: &str) -> ImageRef {
    name.parse().unwrap()
}

async fn pull(name: &str, options: &ServeOptions) -> Result<Image, ServeError> {
    serve::fetch(&ImageSource::Reference(image(name)), options).await
}

/// Whether the daemon has the image.
async fn is_there(docker: &Docker, name: &str) -> bool {
    docker.inspect_image(name).await.is_ok()
}

async fn remove(docker: &Docker, name: &str) {
    let force = RemoveImageOptionsBuilder::new().force(true).build();
    docker.remove_image(name, Some(force), None).await.unwrap();
}

fn failure(outcome: Result<Image, ServeError>) -> (PullFailure, u32, String) {
    let error = outcome.expect_err("this pull cannot succeed");
    let text = error.to_string();
    let ServeError::Pull {
        failure, attempts, ..
    } = error
    else {
        panic!("{text}")
    };
    (failure, attempts, text)
}

/// What is logged while it lives, on this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn here(&self) -> tracing::subscriber::DefaultGuard {
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(self.clone());
        tracing::subscriber::set_default(lines.finish())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logged {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
