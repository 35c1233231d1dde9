//! Proxies and certificates, as the program meets them in its environment.

use std::{fs, path::Path, process::Output, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{
    TOKEN,
    origin::{Canned, Site},
};
use crate::harness::kitt;

/// A name that no resolver knows: only a proxy can lead there.
const HOST: &str = "github.kitt.invalid";

/// An authority of one's own, and a server's TLS with its certificate for these names.
struct Authority {
    pem: String,
    acceptor: TlsAcceptor,
}

impl Authority {
    fn new(names: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("authority of {}", names.join(" "));
        params.distinguished_name.push(DnType::CommonName, name);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Self {
            pem: ca.pem(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }
}

/// An API over TLS; its port.
async fn secured(site: Site, acceptor: TlsAcceptor) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (site, acceptor) = (site.clone(), acceptor.clone());
            tokio::spawn(async move {
                if let Ok(socket) = acceptor.accept(socket).await {
                    site.serve(socket).await;
                }
            });
        }
    });
    port
}

/// A proxy that knows CONNECT alone and leads every name to this port. It tells the first lines it
/// has heard.
async fn proxy(port: u16) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let lines = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let lines = lines.clone();
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(client.read_u8().await.unwrap());
                }
                let asked = String::from_utf8(asked).unwrap();
                assert!(!asked.contains(TOKEN), "{asked}");
                lines
                    .lock()
                    .unwrap()
                    .push(asked.lines().next().unwrap().to_owned());
                if !asked.starts_with("CONNECT ") {
                    let no = b"HTTP/1.1 501 No\r\ncontent-length: 0\r\n\r\n";
                    return client.write_all(no).await.unwrap();
                }
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                drop(copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    (url, heard)
}

/// What `kitt doctor` finds out about the token.
async fn doctor(folder: &Path, api: &str, env: &[(&str, &str)]) -> (Value, Output) {
    let mut command = kitt();
    command
        .current_dir(folder)
        .args(["doctor", "--json", "-e", "openai"])
        .env("KITT_LOCK_DIR", folder.join("locks"))
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("KITT_INPUT_GITHUB_TOKEN", TOKEN)
        .env("GITHUB_REPOSITORY", "o/r")
        .env("GITHUB_API_URL", api)
        .envs(env.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap().iter();
    let token = findings.clone().find(|one| one["id"] == "github.token");
    (token.cloned().unwrap(), output)
}

fn repository() -> Site {
    let site = Site::default();
    let body = r#"{"permissions":{"push":true}}"#;
    site.at("/api/v3/repos/o/r", Canned::ok(body));
    site
}

#[tokio::test]
async fn a_private_authority_behind_a_connect_proxy_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(&[HOST]);
    let pem = folder.path().join("ca.pem");
    fs::write(&pem, &authority.pem).unwrap();
    let site = repository();
    let port = secured(site.clone(), authority.acceptor).await;
    let (proxy, heard) = proxy(port).await;
    let env = [
        ("HTTPS_PROXY", proxy.as_str()),
        ("SSL_CERT_FILE", pem.to_str().unwrap()),
    ];
    let api = format!("https://{HOST}/api/v3");
    let (finding, output) = doctor(folder.path(), &api, &env).await;
    assert_eq!(finding["severity"], "ok", "{finding} {output:?}");
    let connect = format!("CONNECT {HOST}:443 HTTP/1.1");
    assert_eq!(*heard.lock().unwrap(), [connect]);
    let seen = site.seen();
    assert_eq!(seen[0].path, "/api/v3/repos/o/r");
    assert!(seen[0].has_token());
}

#[tokio::test]
async fn no_proxy_is_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(&["127.0.0.1"]);
    let pem = folder.path().join("ca.pem");
    fs::write(&pem, &authority.pem).unwrap();
    let site = repository();
    let port = secured(site.clone(), authority.acceptor).await;
    let (proxy, heard) = proxy(port).await;
    let api = format!("https://127.0.0.1:{port}/api/v3");
    for (no_proxy, through) in [("127.0.0.1", 0), ("other.example", 1)] {
        let env = [
            ("HTTPS_PROXY", proxy.as_str()),
            ("NO_PROXY", no_proxy),
            ("SSL_CERT_FILE", pem.to_str().unwrap()),
        ];
        let (finding, output) = doctor(folder.path(), &api, &env).await;
        assert_eq!(finding["severity"], "ok", "{finding} {output:?}");
        assert_eq!(heard.lock().unwrap().len(), through);
    }
    assert_eq!(site.seen().len(), 2);
}

#[tokio::test]
async fn an_unknown_authority_is_told_at_once_and_sees_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let site = repository();
    let authority = Authority::new(&["127.0.0.1"]);
    let port = secured(site.clone(), authority.acceptor).await;
    let another = folder.path().join("another.pem");
    fs::write(&another, Authority::new(&["x"]).pem).unwrap();
    let api = format!("https://127.0.0.1:{port}/api/v3");
    let start = std::time::Instant::now();
    let env = [("SSL_CERT_FILE", another.to_str().unwrap())];
    let (finding, _) = doctor(folder.path(), &api, &env).await;
    let text = finding.to_string();
    assert!(text.contains("SSL_CERT_FILE"), "{text}");
    assert!(text.contains("invalid peer certificate"), "{text}");
    // One attempt: waits would have been fifteen seconds.
    assert!(start.elapsed().as_secs() < 12);
    assert!(site.seen().is_empty());
}

/// As in an image without the package ca-certificates.
#[tokio::test]
async fn without_any_certificate_file_the_public_authorities_stand_in() {
    let folder = tempfile::tempdir().unwrap();
    let site = repository();
    // Plain, beside the program: only setting the client up is at stake.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = site.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(served.clone().serve(socket));
        }
    });
    let empty = folder.path().join("none");
    fs::create_dir(&empty).unwrap();
    let none = [
        ("SSL_CERT_FILE", "/nonexistent/ca.pem"),
        ("SSL_CERT_DIR", empty.to_str().unwrap()),
    ];
    let api = format!("http://127.0.0.1:{port}/api/v3");
    let (finding, output) = doctor(folder.path(), &api, &none).await;
    assert_eq!(finding["severity"], "ok", "{finding}");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("no certificate authorities"), "{log}");
    // They are used: a private server's certificate is not among theirs.
    let authority = Authority::new(&["127.0.0.1"]);
    let port = secured(site, authority.acceptor).await;
    let api = format!("https://127.0.0.1:{port}/api/v3");
    let (finding, _) = doctor(folder.path(), &api, &none).await;
    assert!(finding.to_string().contains("UnknownIssuer"), "{finding}");
}
