//! A client's connection as bytes, in the clear or through TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    Socket(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// Whether client and proxy have agreed on HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        match self {
            Io::Plain(_) | Io::Socket(_) => false,
            Io::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Ready once there may be something to read: until then no buffer is needed.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is there to be read as well.
        match self {
            Io::Plain(stream) => stream.poll_read_ready(cx).map(drop),
            Io::Socket(stream) => stream.poll_read_ready(cx).map(drop),
            // It has buffers of its own.
            Io::Tls(_) => Poll::Ready(()),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Socket(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Socket(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Io::Socket(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Socket(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Socket(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Socket(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
