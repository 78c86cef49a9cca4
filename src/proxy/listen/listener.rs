//! What is listened at: a port, or a Unix socket, at which only this machine's programs call.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Socket(UnixListener),
}

/// What has connected.
#[derive(Debug)]
pub enum Accepted {
    Tcp(TcpStream),
    Socket(UnixStream),
}

impl Listener {
    /// The next connection and who it comes from: this machine, if by a socket.
    ///
    /// # Errors
    /// When the connection is gone already, or the process has no room for it.
    pub async fn accept(&self) -> io::Result<(Accepted, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Without it small answers wait for the client's acknowledgement; it is no reason to hang up.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "no TCP_NODELAY");
                }
                Ok((Accepted::Tcp(stream), peer))
            }
            Self::Socket(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Accepted::Socket(stream), SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl Accepted {
    /// As much as can be written without waiting.
    ///
    /// # Errors
    /// When the connection is broken, or can take nothing now.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Socket(stream) => stream.try_write(bytes),
        }
    }
}
