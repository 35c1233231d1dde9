//! A registry on loopback with one image made in memory: as much of the OCI distribution
//! specification as a pull needs, and faults on demand. One request per connection.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What goes wrong, and how often before all is well.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Fault {
    #[default]
    None,
    /// The layer stops after so many bytes; the connection stays open.
    Stall { after: usize, times: u32 },
    /// The layer stops after so many bytes; the connection is closed.
    Cut { after: usize, times: u32 },
    /// The layer arrives in pieces of 64 KiB with a pause between them.
    Slow(Duration),
    /// Requests of the manifest are answered with this status.
    Status { code: u16, times: u32 },
}

/// How the registry behaves.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    /// Sizes of the layers in bytes.
    pub(super) layers: Vec<usize>,
    /// `user:password`, where the registry wants them.
    pub(super) login: Option<String>,
    pub(super) fault: Fault,
}

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) path: String,
    /// First byte asked for, where it was not the first of all.
    pub(super) from: usize,
    pub(super) status: u16,
}

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) address: SocketAddr,
    pub(super) repository: String,
    pub(super) digest: String,
    content: Arc<Content>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Content {
    setup: Setup,
    repository: String,
    manifest: Vec<u8>,
    /// Configuration and layers, by digest.
    blobs: Vec<(String, Vec<u8>)>,
    seen: Mutex<Vec<Seen>>,
    /// Times the fault struck.
    struck: AtomicU32,
    /// Slow layers that the other side did not wait for.
    abandoned: AtomicU32,
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// A layer with one file of noise: the daemon has never seen it, and it does not compress.
fn layer(size: usize) -> Vec<u8> {
    let mut noise = vec![0_u8; size];
    rand::fill(&mut noise[..]);
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    let name = format!("noise-{:x}", rand::random::<u64>());
    tar.append_data(&mut header, name, noise.as_slice())
        .unwrap();
    tar.into_inner().unwrap()
}

impl Registry {
    pub(super) async fn start(setup: Setup) -> Self {
        let layers: Vec<Vec<u8>> = setup.layers.iter().map(|size| layer(*size)).collect();
        let diffs: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Env": ["CUDA_VERSION=12.4.1"], "Cmd": ["/none"]},
            "rootfs": {"type": "layers", "diff_ids": diffs},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let described = |kind: &str, bytes: &[u8]| {
            serde_json::json!({
                "mediaType": format!("application/vnd.docker.{kind}"),
                "size": bytes.len(), "digest": sha256(bytes),
            })
        };
        let list: Vec<_> = layers
            .iter()
            .map(|layer| described("image.rootfs.diff.tar.gzip", layer))
            .collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described("container.image.v1+json", &config), "layers": list,
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let mut blobs = vec![(sha256(&config), config)];
        blobs.extend(diffs.into_iter().zip(layers));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let repository = format!("kitt-test/r{:x}", rand::random::<u64>());
        let content = Arc::new(Content {
            setup,
            repository: repository.clone(),
            manifest,
            blobs,
            seen: Mutex::default(),
            struck: AtomicU32::new(0),
            abandoned: AtomicU32::new(0),
        });
        Self {
            address: listener.local_addr().unwrap(),
            repository,
            digest: sha256(&content.manifest),
            task: tokio::spawn(accept(listener, Arc::clone(&content))),
            content,
        }
    }

    /// `127.0.0.1:PORT/kitt-test/…`, without a tag.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.address, self.repository)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.content.seen.lock().unwrap().clone()
    }

    /// How many requests had a path with this in it.
    pub(super) fn count(&self, part: &str) -> usize {
        let seen = self.seen();
        seen.iter().filter(|one| one.path.contains(part)).count()
    }

    pub(super) fn struck(&self) -> u32 {
        self.content.struck.load(Ordering::SeqCst)
    }

    pub(super) fn abandoned(&self) -> u32 {
        self.content.abandoned.load(Ordering::SeqCst)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, content: Arc<Content>) {
    while let Ok((stream, _)) = listener.accept().await {
        let content = Arc::clone(&content);
        tokio::spawn(async move {
            // A client that goes away is its own business.
            drop(answer(stream, &content).await);
        });
    }
}

struct Request {
    path: String,
    head_only: bool,
    authorization: Option<String>,
    from: usize,
}

async fn answer(mut stream: TcpStream, content: &Content) -> std::io::Result<()> {
    let mut first = [0];
    // A TLS handshake: the daemon tries that first and falls back at once when it is refused.
    if stream.peek(&mut first).await? == 0 || first == [0x16] {
        return Ok(());
    }
    let Some(request) = read(&mut stream).await? else {
        return Ok(());
    };
    let (status, kind, body) = content.route(&request);
    content.seen.lock().unwrap().push(Seen {
        path: request.path.clone(),
        from: request.from,
        status,
    });
    let body = body.get(request.from.min(body.len())..).unwrap();
    let mut head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\nContent-Type: {kind}\r\n\
         Docker-Distribution-Api-Version: registry/2.0\r\n",
        body.len()
    );
    if status == 401 {
        head.push_str("WWW-Authenticate: Basic realm=\"kitt\"\r\n");
    }
    if kind == MANIFEST {
        let digest = sha256(&content.manifest);
        head.extend(["Docker-Content-Digest: ", &digest, "\r\n"]);
    }
    if status == 206 {
        let (from, end) = (request.from, request.from + body.len());
        let range = format!("bytes {from}-{}/{end}", end - 1);
        head.extend(["Content-Range: ", &range, "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    if request.head_only {
        return stream.flush().await;
    }
    // The small layer always arrives.
    let is_layer = request.path.contains("/blobs/") && body.len() > 100_000;
    content.send(&mut stream, body, is_layer).await
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        if stream.read(&mut one).await? == 0 || bytes.len() > 16_384 {
            return Ok(None);
        }
        bytes.extend(one);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(&bytes).unwrap();
    let header = |name: &str| {
        let found = request
            .headers
            .iter()
            .find(|one| one.name.eq_ignore_ascii_case(name));
        found.map(|one| String::from_utf8_lossy(one.value).into_owned())
    };
    let from = header("range").and_then(|range| {
        let range = range
            .strip_prefix("bytes=")?
            .split('-')
            .next()?
            .parse()
            .ok()?;
        Some(range)
    });
    Ok(Some(Request {
        path: request.path.unwrap().to_owned(),
        head_only: request.method == Some("HEAD"),
        authorization: header("authorization"),
        from: from.unwrap_or(0),
    }))
}

const JSON: &str = "application/json";

fn refusal(code: &str) -> Vec<u8> {
    let error = serde_json::json!({"errors": [{"code": code, "message": code.to_lowercase().replace('_', " ")}]});
    serde_json::to_vec(&error).unwrap()
}

impl Content {
    fn route(&self, request: &Request) -> (u16, &'static str, Vec<u8>) {
        if !self.is_known(request) {
            return (401, JSON, refusal("UNAUTHORIZED"));
        }
        let Some(path) = request.path.strip_prefix("/v2/") else {
            return (404, JSON, Vec::new());
        };
        if path.is_empty() {
            return (200, JSON, b"{}".to_vec());
        }
        let Some(path) = path.strip_prefix(&format!("{}/", self.repository)) else {
            return (404, JSON, refusal("NAME_UNKNOWN"));
        };
        match path.split_once('/') {
            Some(("manifests", reference)) => self.manifest(reference),
            Some(("blobs", digest)) => match self.blobs.iter().find(|(known, _)| known == digest) {
                Some((_, bytes)) => {
                    let status = if request.from > 0 { 206 } else { 200 };
                    (status, "application/octet-stream", bytes.clone())
                }
                None => (404, JSON, refusal("BLOB_UNKNOWN")),
            },
            Some(("tags", _)) => (200, JSON, br#"{"tags":["1","2"]}"#.to_vec()),
            _ => (404, JSON, Vec::new()),
        }
    }

    fn manifest(&self, reference: &str) -> (u16, &'static str, Vec<u8>) {
        if let Fault::Status { code, times } = self.setup.fault
            && self.strikes(times)
        {
            let words = if code == 429 {
                "TOOMANYREQUESTS"
            } else {
                "UNKNOWN"
            };
            return (code, JSON, refusal(words));
        }
        let known = ["1", "latest", &sha256(&self.manifest)].contains(&reference);
        if known {
            (200, MANIFEST, self.manifest.clone())
        } else {
            (404, JSON, refusal("MANIFEST_UNKNOWN"))
        }
    }

    fn is_known(&self, request: &Request) -> bool {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let Some(login) = &self.setup.login else {
            return true;
        };
        let wanted = format!("Basic {}", STANDARD.encode(login));
        request.authorization.as_ref() == Some(&wanted)
    }

    /// Whether the fault strikes once more.
    fn strikes(&self, times: u32) -> bool {
        let count = |struck: u32| (struck < times).then_some(struck + 1);
        self.struck
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count)
            .is_ok()
    }

    async fn send(&self, stream: &mut TcpStream, body: &[u8], layer: bool) -> std::io::Result<()> {
        match self.setup.fault {
            Fault::Stall { after, times } if layer && self.strikes(times) => {
                stream.write_all(&body[..after]).await?;
                stream.flush().await?;
                // Until the other side gives up.
                let mut rest = [0];
                stream.read(&mut rest).await.map(|_| ())
            }
            Fault::Cut { after, times } if layer && self.strikes(times) => {
                stream.write_all(&body[..after]).await?;
                stream.flush().await
            }
            Fault::Slow(pause) if layer && self.strikes(u32::MAX) => {
                for piece in body.chunks(64 << 10) {
                    if let Err(error) = stream.write_all(piece).await {
                        self.abandoned.fetch_add(1, Ordering::SeqCst);
                        return Err(error);
                    }
                    tokio::time::sleep(pause).await;
                }
                stream.flush().await
            }
            Fault::None
            | Fault::Stall { .. }
            | Fault::Cut { .. }
            | Fault::Slow(_)
            | Fault::Status { .. } => {
                stream.write_all(body).await?;
                stream.flush().await
            }
        }
    }
}
