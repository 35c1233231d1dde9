//! TLS on a connection, in the same loop: rustls without any IO of its own.

use std::{
    io::{self, Read as _, Write as _},
    sync::Arc,
    time::Duration,
};

use mio::net::TcpStream;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};

use crate::load::clock::Clock;

/// What every secured connection to a target has in common.
#[derive(Debug, Clone)]
pub(in crate::load) struct TlsSetup {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsSetup {
    /// TLS to the host `name`, trusting `roots`, or the system's certificates where none are
    /// given.
    ///
    /// # Errors
    /// In words: there is no certificate to trust, or the name can be in none.
    pub(in crate::load) fn new(
        name: &str,
        roots: Option<&[CertificateDer<'static>]>,
    ) -> Result<Self, &'static str> {
        let mut store = RootCertStore::empty();
        let roots = roots.map_or_else(system_roots, <[_]>::to_vec);
        let (added, _unparsable) = store.add_parsable_certificates(roots);
        if added == 0 {
            return Err(
                "no trusted certificates were found: install the system's, or name a PEM file in SSL_CERT_FILE",
            );
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .or(Err("this build's TLS has no protocol version"))?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned())
            .or(Err("its host cannot be the name in a certificate"))?;
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }

    /// The client's side of a new connection.
    ///
    /// # Errors
    /// rustls refuses its own configuration.
    pub(in crate::load) fn begin(&self, clock: Clock) -> io::Result<Secured> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        Ok(Secured {
            connection: connection.map_err(io::Error::other)?,
            clock,
            arrived: Duration::ZERO,
        })
    }
}

/// The certificates the system trusts, or those in the file that `SSL_CERT_FILE` names.
fn system_roots() -> Vec<CertificateDer<'static>> {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!("a store of trusted certificates cannot be read: {error}");
    }
    system.certs
}

/// TLS's state of one connection.
#[derive(Debug)]
pub(in crate::load) struct Secured {
    connection: ClientConnection,
    clock: Clock,
    /// When the latest read of the socket returned.
    arrived: Duration,
}

impl Secured {
    /// Goes on with the handshake; whether it is over.
    pub(super) fn shake(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        while self.connection.is_handshaking() {
            self.flush(stream)?;
            if !self.connection.is_handshaking() {
                break;
            }
            match self.take_in(stream) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_count) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.flush(stream)?;
                    return Ok(false);
                }
                Err(error) => {
                    // An alert tells the server why we hang up; it need not arrive.
                    drop(self.flush(stream));
                    return Err(error);
                }
            }
        }
        self.flush(stream)
    }

    /// Reads and decrypts; bytes and when the socket was read for them. 0 bytes at the end.
    pub(super) fn read(
        &mut self,
        stream: &mut TcpStream,
        buffer: &mut [u8],
    ) -> io::Result<(usize, Duration)> {
        loop {
            match self.connection.reader().read(buffer) {
                // Many servers close without saying so in TLS; the HTTP message says whether
                // anything is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok((0, self.arrived));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other.map(|count| (count, self.arrived)),
            }
            self.take_in(stream)?;
            self.flush(stream)?;
        }
    }

    fn take_in(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        let count = self.connection.read_tls(stream)?;
        self.arrived = self.clock.now();
        let processed = self.connection.process_new_packets();
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(count)
    }

    /// Encrypts and sends; how many bytes were taken. `WouldBlock` when the kernel takes none:
    /// only then will the poll say when it does again.
    pub(super) fn write(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush(stream)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.connection.writer().write(bytes)?;
        self.flush(stream)?;
        Ok(taken)
    }

    /// Sends what is encrypted already; whether nothing is left.
    pub(super) fn flush(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Ok(_count) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
