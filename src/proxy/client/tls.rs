//! TLS towards clients: certificate and key from PEM files, read again when they change.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error_chain::chain;

/// What a server of web pages offers to speak, the better first.
pub const WEB: &[&str] = &["h2", "http/1.1"];

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, followed by those that lead to an authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub clients: ClientCertificates,
}

/// Whether clients show a certificate. The file holds the authorities that may have signed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    #[default]
    NotAsked,
    /// A client may have none, but not a wrong one.
    Asked(PathBuf),
    Required(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: give a PEM file that this user may read")]
    Unreadable { path: PathBuf, source: pem::Error },
    #[error("there is no certificate in {0}: give a PEM file with the whole chain")]
    Empty(PathBuf),
    #[error("the certificate in {certificate} and the key in {key} are not usable together")]
    Refused { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("the authorities in {path} are not usable")]
    Authorities { path: PathBuf, source: rustls::Error },
    #[error("TLS cannot be spoken")]
    Unusable(#[source] rustls::Error),
    #[error("clients' certificates cannot be checked by {path}")]
    Verifier { path: PathBuf, source: VerifierBuilderError },
}

/// What to accept connections with. Those that are open keep what they began with.
#[derive(Debug)]
pub struct ServerTls {
    files: TlsFiles,
    protocols: Vec<Vec<u8>>,
    config: ArcSwap<ServerConfig>,
}

impl ServerTls {
    /// Reads the files. `protocols` are the names to offer by ALPN, the preferred first.
    ///
    /// # Errors
    /// When a file cannot be read, or certificate and key do not belong together.
    pub fn load(files: TlsFiles, protocols: &[&str]) -> Result<Self, TlsError> {
        let protocols: Vec<_> = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let config = ArcSwap::from_pointee(config(&files, &protocols)?);
        Ok(Self { files, protocols, config })
    }

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    /// As [`load`](Self::load); what was read before stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.config.store(Arc::new(config(&self.files, &self.protocols)?));
        Ok(())
    }

    /// Looks at the files every so often and reads them again when they have changed. Never ends by itself.
    pub async fn follow(&self, every: Duration) {
        let mut known = self.state().await;
        loop {
            tokio::time::sleep(every).await;
            let now = self.state().await;
            if now == known {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read again")
                }
                Err(error) => {
                    tracing::error!(error = %chain(&error), "the new certificate is not usable; the old one stays");
                }
            }
            known = now;
        }
    }

    /// Shakes hands. The caller limits the time.
    ///
    /// # Errors
    /// When the client breaks off, or there is no protocol or certificate that suits both.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config.load_full()).accept(stream).await
    }

    /// What changes about a file when it is written or replaced.
    async fn state(&self) -> Vec<Option<(i64, i64, u64, u64)>> {
        let mut state = vec![];
        for path in self.files.paths() {
            let found = tokio::fs::metadata(path).await.ok();
            state.push(found.map(|found| (found.mtime(), found.mtime_nsec(), found.ino(), found.size())));
        }
        state
    }
}

impl TlsFiles {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let authorities = match &self.clients {
            ClientCertificates::NotAsked => None,
            ClientCertificates::Asked(path) | ClientCertificates::Required(path) => Some(path),
        };
        [&self.certificate, &self.key].into_iter().chain(authorities).map(PathBuf::as_path)
    }
}

fn config(files: &TlsFiles, protocols: &[Vec<u8>]) -> Result<ServerConfig, TlsError> {
    let certificates = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| unreadable(&files.key, source))?;
    let refused =
        |source| TlsError::Refused { certificate: files.certificate.clone(), key: files.key.clone(), source };
    let verifier = match &files.clients {
        ClientCertificates::NotAsked => WebPkiClientVerifier::no_client_auth(),
        ClientCertificates::Asked(path) => verifier(path, false)?,
        ClientCertificates::Required(path) => verifier(path, true)?,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates, key)
        .map_err(refused)?;
    config.alpn_protocols = protocols.to_vec();
    // Sessions are kept by the clients: a class that comes back costs no memory here.
    config.ticketer = ring::Ticketer::new().map_err(refused)?;
    Ok(config)
}

fn verifier(path: &Path, required: bool) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| TlsError::Authorities { path: path.to_owned(), source })?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|source| TlsError::Verifier { path: path.to_owned(), source })
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| unreadable(path, source))?;
    if found.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(found) }
}

pub(crate) fn unreadable(path: &Path, source: pem::Error) -> TlsError {
    TlsError::Unreadable { path: path.to_owned(), source }
}
