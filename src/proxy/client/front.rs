//! A client's connection as bytes, in the clear or through TLS, which tells the [`Pulse`] what passes.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::framing::Reader;
use super::pulse::Pulse;

/// To copy a small body behind its head costs less than to hand the kernel two parts: 2.5% of a request of 1 KB. Of a
/// long one, the copy is a tenth of what it costs.
const SMALL: usize = 8 * 1024;

thread_local! {
    static JOINED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(SMALL));
}

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
}

/// The connection while HTTP is spoken on it.
#[derive(Debug)]
pub(crate) struct Front {
    io: Io,
    /// None for HTTP/2, whose frames leave no doubt.
    reader: Option<Box<Reader>>,
    pulse: Arc<Pulse>,
}

impl Front {
    pub(crate) fn http1(io: Io, pulse: Arc<Pulse>) -> Self {
        Self { io, reader: Some(Box::default()), pulse }
    }

    pub(crate) fn http2(io: Io, pulse: Arc<Pulse>) -> Self {
        Self { io, reader: None, pulse }
    }

    pub(crate) fn into_io(self) -> Io {
        self.io
    }

    fn wrote<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Pending => self.pulse.stuck(),
            Poll::Ready(_) => self.pulse.flows(),
        }
        result
    }
}

impl AsyncRead for Front {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let Self { reader, pulse, .. } = &mut *self;
        if let Some(reader) = reader {
            reader.read(&buf.filled()[before..]);
            pulse.read(reader.heads());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Front {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let io = Pin::new(&mut self.io);
        let result = if parts.len() > 1 && length <= SMALL {
            JOINED.with_borrow_mut(|joined| {
                joined.clear();
                parts.iter().for_each(|part| joined.extend_from_slice(part));
                io.poll_write(cx, joined)
            })
        } else {
            io.poll_write_vectored(cx, parts)
        };
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(cx);
        self.wrote(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
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
