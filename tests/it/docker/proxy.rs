//! The daemon's socket with faults in between: connections that are cut, answers that the daemon
//! did not give, a foreign container that is a moment quicker. bollard opens a connection for
//! each request.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use super::*;

/// A request as it went by.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Method and path.
    pub(super) line: String,
    pub(super) body: String,
}

/// What happens to the next request whose line holds the text.
struct Rule {
    part: &'static str,
    what: What,
}

enum What {
    Answer {
        status: u16,
        body: String,
    },
    /// A container of somebody else takes the name first.
    Intrude(Docker),
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    rules: Vec<Rule>,
    /// Cuts every connection there is; taken away while the daemon is "gone".
    alive: Option<CancellationToken>,
}

/// A proxy before the daemon of `docker_or_skip`.
pub(super) struct Proxy {
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(super) async fn start() -> Self {
        let daemon = serve::connect(&DockerPlace::default()).await.unwrap();
        let target = PathBuf::from(daemon.address.trim_start_matches("unix://"));
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let state = Arc::new(Mutex::new(State {
            alive: Some(CancellationToken::new()),
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (state, target) = (Arc::clone(&shared), target.clone());
                tokio::spawn(async move {
                    let alive = state.lock().unwrap().alive.clone();
                    // Gone: accepted and closed.
                    if let Some(alive) = alive {
                        tokio::select! {
                            _ended = pass(client, &target, &state) => {}
                            () = alive.cancelled() => {}
                        }
                    }
                });
            }
        });
        Self {
            folder,
            state,
            task,
        }
    }

    /// Where it listens, for [`ServeOptions`].
    pub(super) fn place(&self) -> DockerPlace {
        let path = self.folder.path().join("docker.sock");
        DockerPlace::at(path.to_str().unwrap())
    }

    /// Cuts every connection and refuses new ones.
    pub(super) fn cut(&self) {
        if let Some(alive) = self.state.lock().unwrap().alive.take() {
            alive.cancel();
        }
    }

    /// The daemon is back.
    pub(super) fn restore(&self) {
        self.state.lock().unwrap().alive = Some(CancellationToken::new());
    }

    /// The next such request gets this answer and never reaches the daemon.
    pub(super) fn answer(&self, part: &'static str, status: u16, body: &serde_json::Value) {
        let body = body.to_string();
        self.rule(part, What::Answer { status, body });
    }

    /// A foreign container is made under the name of the next creation.
    pub(super) fn intrude(&self, docker: &Docker) {
        self.rule("/containers/create", What::Intrude(docker.clone()));
    }

    fn rule(&self, part: &'static str, what: What) {
        self.state.lock().unwrap().rules.push(Rule { part, what });
    }

    /// Requests whose line holds the text.
    pub(super) fn seen(&self, part: &str) -> Vec<Seen> {
        let all = &self.state.lock().unwrap().seen;
        all.iter()
            .filter(|one| one.line.contains(part))
            .cloned()
            .collect()
    }
}

/// One request and its answer.
async fn pass(mut client: UnixStream, target: &Path, state: &Mutex<State>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head = loop {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    while request.len() < head + length {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(&request)
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let rule = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen {
            line: line.clone(),
            body: String::from_utf8_lossy(&request[head..]).into_owned(),
        });
        let found = state.rules.iter().position(|rule| line.contains(rule.part));
        found.map(|at| state.rules.remove(at).what)
    };
    match rule {
        Some(What::Answer { status, body }) => {
            let answer = format!(
                "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            return client.write_all(answer.as_bytes()).await;
        }
        Some(What::Intrude(docker)) => {
            let name = line.split_once("name=").unwrap().1;
            let name = name.split(['&', ' ']).next().unwrap();
            leftovers::create(&docker, name, &[("somebody", "else")]).await;
        }
        None => {}
    }
    let mut daemon = UnixStream::connect(target).await?;
    daemon.write_all(&request).await?;
    tokio::io::copy_bidirectional(&mut client, &mut daemon).await?;
    Ok(())
}
