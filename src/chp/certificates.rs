//! The options of TLS, as what each side speaks.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::options::Ssl;
use crate::proxy::client_tls::ClientTlsFiles;
use crate::proxy::tls::{ClientCertificates, TlsFiles, WEB};
use crate::proxy::{ClientTls, ServerTls};

/// Who speaks TLS, with certificates that were read.
#[derive(Debug)]
pub(super) struct Sides {
    pub front: Option<Arc<ServerTls>>,
    pub api: Option<Arc<ServerTls>>,
    pub targets: Arc<ClientTls>,
}

impl Ssl {
    /// Reads what is named.
    ///
    /// # Errors
    /// With the option or the file that is wrong.
    pub(super) fn sides(self) -> anyhow::Result<Sides> {
        let front = Ask {
            request: self.ssl_request_cert,
            require: self.ssl_reject_unauthorized,
            authorities: self.ssl_ca,
            passphrase: self.ssl_key_passphrase,
        };
        let api = Ask {
            request: self.api_ssl_request_cert,
            require: self.api_ssl_reject_unauthorized,
            authorities: self.api_ssl_ca,
            passphrase: self.api_ssl_key_passphrase,
        };
        let own = pair(self.client_ssl_key, self.client_ssl_cert).map(|(key, certificate)| (certificate, key));
        let files = ClientTlsFiles { authorities: self.client_ssl_ca, own, insecure: self.insecure };
        Ok(Sides {
            front: server("--ssl", pair(self.ssl_key, self.ssl_cert), front, WEB)?,
            api: server("--api-ssl", pair(self.api_ssl_key, self.api_ssl_cert), api, &["http/1.1"])?,
            targets: Arc::new(ClientTls::load(&files).context("--client-ssl-key, -cert or -ca")?),
        })
    }
}

/// One PEM file may hold both.
fn pair(key: Option<PathBuf>, certificate: Option<PathBuf>) -> Option<(PathBuf, PathBuf)> {
    match (key, certificate) {
        (None, None) => None,
        (Some(key), Some(certificate)) => Some((key, certificate)),
        (Some(both), None) | (None, Some(both)) => Some((both.clone(), both)),
    }
}

/// What is asked of the clients of a side.
struct Ask {
    request: bool,
    require: bool,
    authorities: Option<PathBuf>,
    passphrase: Option<String>,
}

fn server(
    side: &str,
    pair: Option<(PathBuf, PathBuf)>,
    ask: Ask,
    protocols: &[&str],
) -> anyhow::Result<Option<Arc<ServerTls>>> {
    let Some((key, certificate)) = pair else { return Ok(None) };
    if ask.passphrase.is_some_and(|passphrase| !passphrase.is_empty()) {
        bail!(
            "{side}-key: keys with a passphrase are not read; write one without, by `openssl pkey -in {}`, and unset \
             the passphrase",
            key.display()
        );
    }
    let clients = match (ask.request, ask.authorities) {
        (false, _) => ClientCertificates::NotAsked,
        (true, None) => bail!("{side}-request-cert needs {side}-ca: the authorities of clients' certificates"),
        (true, Some(path)) if ask.require => ClientCertificates::Required(path),
        (true, Some(path)) => ClientCertificates::Asked(path),
    };
    let tls = ServerTls::load(TlsFiles { certificate, key, clients }, protocols);
    Ok(Some(Arc::new(tls.with_context(|| format!("{side}-key, {side}-cert or {side}-ca"))?)))
}
