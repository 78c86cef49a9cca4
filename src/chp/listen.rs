//! Where the sides of the proxy listen: a port of one or all addresses, or a Unix socket.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream, lookup_host};

use super::temporary::Temporary;
use crate::proxy::Listener;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Without a host, every address of the machine.
    Port {
        host: String,
        port: u16,
    },
    Socket(PathBuf),
}

impl Place {
    pub(super) fn of(socket: Option<PathBuf>, host: String, port: u16) -> Self {
        match socket {
            Some(path) => Self::Socket(path),
            None => Self::Port { host, port },
        }
    }

    /// Listens there; a name, such as `localhost`, may have several addresses. A socket's file is one of `files` then.
    pub(super) async fn bind(&self, files: &mut Vec<Temporary>) -> anyhow::Result<Vec<Listener>> {
        match self {
            Self::Port { host, port } => {
                let bound = tcp(host, *port).await.with_context(|| format!("cannot listen on {self}"))?;
                Ok(bound.into_iter().map(Listener::Tcp).collect())
            }
            Self::Socket(path) => {
                remove_stale(path).await;
                let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {self}"))?;
                files.push(Temporary::of(path).with_context(|| format!("cannot see {self}"))?);
                Ok(vec![Listener::Socket(listener)])
            }
        }
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    if matches!(host, "" | "*") {
        // Takes IPv4 as well, wherever there is IPv6.
        return Ok(vec![match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?
            }
            bound => bound?,
        }]);
    }
    let mut listeners: Vec<TcpListener> = vec![];
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in lookup_host((host.trim_matches(['[', ']']), port)).await? {
        // Where any port will do, all addresses get the same.
        let port = listeners.first().and_then(|first| first.local_addr().ok()).map_or(port, |first| first.port());
        match TcpListener::bind(SocketAddr::new(address.ip(), port)).await {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => failure = error,
        }
    }
    if listeners.is_empty() { Err(failure) } else { Ok(listeners) }
}

/// What a killed process has left would be in the way. Nothing else is removed.
async fn remove_stale(path: &PathBuf) {
    let is_socket = std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).await.err().is_some_and(refused) {
        tracing::info!(path = %path.display(), "removing the socket that an ended process has left");
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove it");
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { host, port } if matches!(host.as_str(), "" | "*") => write!(f, "*:{port}"),
            Self::Port { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A connection of any kind.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The first of the addresses, where there may be several.
pub(super) fn address(listeners: &[Listener]) -> String {
    match listeners.first() {
        Some(Listener::Tcp(listener)) => listener.local_addr().map_or_else(|_| String::new(), |at| at.to_string()),
        Some(Listener::Socket(listener)) => {
            let path =
                listener.local_addr().ok().and_then(|at| at.as_pathname().map(|path| path.display().to_string()));
            path.unwrap_or_default()
        }
        None => String::new(),
    }
}
