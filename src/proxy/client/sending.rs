//! Sends an answer to a client of HTTP/1: its head, and its body as it comes.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Method, StatusCode, Version};
use hyper::body::Frame;

use super::wire::Wire;
use super::written::{self, Then, Told};
use crate::proxy::RequestHead;
use crate::proxy::answer::body::{Kind, Stream};
use crate::proxy::answer::reply::Reply;
use crate::proxy::request::source::Requester;
use crate::proxy::tunnel::upgrade::Tunnel;

/// What of a request decides how its answer is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    head_only: bool,
    /// By a client of HTTP/1.0, which knows no chunks.
    old: bool,
}

impl From<&RequestHead> for Asked {
    fn from(request: &RequestHead) -> Self {
        Self { head_only: request.method == Method::HEAD, old: request.version < Version::HTTP_11 }
    }
}

/// The answer is sent.
pub(crate) enum Outcome {
    /// And so is its body, if it has one; what becomes of the connection.
    Whole(Then),
    /// And the client changes over.
    Tunnel(Box<Tunnel>),
}

/// Sends it whole, no faster than the client takes it, and counts the bytes of its body as they are handed over.
///
/// # Errors
/// When the client is gone, or the answer broke off: then nothing more may be said on this connection.
pub(crate) async fn send(
    wire: &mut Wire,
    Reply { status, fields, body }: Reply,
    asked: Asked,
    mut then: Then,
    now_ms: i64,
    sent: &mut u64,
) -> io::Result<Outcome> {
    let bodiless = asked.head_only || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let told = match &body.0 {
        Kind::Tunnel(_) => Told::Nothing,
        Kind::Whole(page) if bodiless && page.is_empty() => Told::Nothing,
        Kind::Whole(page) => Told::Length(page.len() as u64),
        Kind::Stream(stream) => match stream.length() {
            Some(length) => Told::Length(length),
            None if asked.old => Told::Close,
            None => Told::Chunked,
        },
    };
    if told == Told::Close {
        then = Then::Close;
    }
    written::write(wire.queue.text(), status, &fields, told, then, now_ms);
    match body.0 {
        Kind::Tunnel(tunnel) => {
            wire.flush().await?;
            return Ok(Outcome::Tunnel(tunnel));
        }
        Kind::Whole(page) => {
            if !bodiless {
                *sent += page.len() as u64;
                wire.queue.add(page, false);
            }
        }
        Kind::Stream(mut stream) => stream_on(wire, &mut stream, told == Told::Chunked, sent).await?,
    }
    wire.flush().await?;
    Ok(Outcome::Whole(then))
}

async fn stream_on(wire: &mut Wire, stream: &mut Stream, chunked: bool, sent: &mut u64) -> io::Result<()> {
    let trailers = poll_fn(|cx| poll_pieces(cx, wire, stream, chunked, sent)).await?;
    if chunked {
        if !wire.queue.takes_more() {
            wire.flush().await?;
        }
        written::write_end(wire.queue.text(), &trailers);
    }
    Ok(())
}

/// Ready with the trailers once the last piece is in the queue.
fn poll_pieces(
    cx: &mut Context<'_>,
    wire: &mut Wire,
    stream: &mut Stream,
    chunked: bool,
    sent: &mut u64,
) -> Poll<io::Result<HeaderMap>> {
    loop {
        // What is there already goes with the head.
        if wire.queue.is_full() {
            ready!(wire.poll_write(cx))?;
        }
        let Poll::Ready(frame) = stream.poll_frame(cx, wire) else {
            ready!(wire.poll_write(cx))?;
            return wire.poll_gone(cx).map(|()| Err(io::ErrorKind::ConnectionAborted.into()));
        };
        match frame.transpose()?.map(Frame::into_data) {
            None => return Poll::Ready(Ok(HeaderMap::new())),
            Some(Err(frame)) => return Poll::Ready(Ok(frame.into_trailers().unwrap_or_default())),
            Some(Ok(data)) => {
                *sent += data.len() as u64;
                wire.queue.add(data, chunked);
            }
        }
    }
}
