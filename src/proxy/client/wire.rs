//! A client's connection under HTTP/1: what was read and is not used yet, where in a request's body the reader is, and
//! what waits to be written.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::head::HeadReader;
use super::io::Io;
use super::pulse::Pulse;
use crate::proxy::chunked::{Chunked, Piece};
use crate::proxy::fill::{SMALL_READ, poll_fill};
use crate::proxy::queue::Queue;
use crate::proxy::request::source::{Requester, Unread};
use crate::proxy::request::vet::Refusal;
use crate::proxy::upstream::outgoing::Sent;
use crate::proxy::{Fields, RequestHead};

/// How long what a client still sends is read after its last answer. To close with bytes unread resets the
/// connection, and the client may lose the answer that says why.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Wire {
    io: Io,
    input: BytesMut,
    heads: HeadReader,
    body: Coming,
    /// A long body may have made the buffers large.
    grown: bool,
    word: Word,
    pub queue: Queue,
    pulse: Arc<Pulse>,
}

/// What is still to come of a request's body.
#[derive(Debug, Default)]
enum Coming {
    #[default]
    Nothing,
    Length(u64),
    Chunked(Chunked),
    /// Whatever it is, nobody reads it.
    Unknown,
}

/// What a client is told that waits before it sends a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Needless,
    Due,
    InQueue,
}

impl Wire {
    pub(crate) fn new(io: Io, pulse: Arc<Pulse>) -> Self {
        Self {
            io,
            input: BytesMut::new(),
            heads: HeadReader::default(),
            body: Coming::Nothing,
            grown: false,
            word: Word::Needless,
            queue: Queue::default(),
            pulse,
        }
    }

    /// The next request's head, of at most `most` bytes; none if there is no further one.
    pub(crate) async fn head(&mut self, most: usize) -> Result<Option<RequestHead>, Refusal> {
        poll_fn(|cx| {
            loop {
                if let Some(head) = self.heads.take(&mut self.input, most)? {
                    return Poll::Ready(Ok(Some(head)));
                }
                if self.pulse.is_ending() && self.input.is_empty() {
                    return Poll::Ready(Ok(None));
                }
                if self.input.capacity() == 0 {
                    ready!(self.io.poll_readable(cx));
                }
                match ready!(poll_fill(cx, &mut self.io, &mut self.input, 0)) {
                    Ok(1..) => {}
                    // Whoever breaks off within a head waits for no answer.
                    Ok(0) | Err(_) => return Poll::Ready(Ok(None)),
                }
            }
        })
        .await
    }

    /// From here on a body like this is read; the client sends it once it is told to, if it `waits`.
    pub(crate) fn begin(&mut self, body: Sent, waits: bool) {
        self.body = match body {
            Sent::Nothing => Coming::Nothing,
            Sent::Length(length) => Coming::Length(length),
            Sent::Chunked => Coming::Chunked(Chunked::default()),
        };
        self.grown |= self.body_left().is_some_and(|left| left > SMALL_READ as u64);
        self.word = if waits { Word::Due } else { Word::Needless };
    }

    /// What follows is not to be taken for a request.
    pub(crate) fn distrust(&mut self) {
        self.body = Coming::Unknown;
    }

    /// Passes over what has come already of a body that nobody reads; true if that is all of it.
    pub(crate) fn skip_body(&mut self) -> bool {
        while !self.is_read() {
            match self.take() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(Unread::Gone | Unread::Malformed) => return false,
            }
        }
        self.is_read()
    }

    /// A request is over. Its header lines leave room for the next one's; a large buffer is not kept while it may idle.
    pub(crate) fn end(&mut self, fields: Fields) {
        self.heads.spare = fields.cleared();
        if std::mem::take(&mut self.grown) && self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Writes what is in the queue; ready once the client's side has taken it.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.queue.len();
        let result = match self.queue.poll_write(cx, &mut self.io) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.io).poll_flush(cx),
            other => other,
        };
        if result.is_ready() || self.queue.len() < before {
            self.pulse.flows();
        }
        if result.is_pending() {
            self.pulse.stuck();
        }
        result
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    /// Ends the connection so that the client gets all that was written. However this fails, it is over.
    pub(crate) async fn close(mut self) {
        if self.flush().await.is_err() || self.io.shutdown().await.is_err() {
            return;
        }
        if !self.is_read() || !self.input.is_empty() {
            self.input.clear();
            let rest = async {
                while let Ok(1..) = self.io.read_buf(&mut self.input).await {
                    self.input.clear();
                }
            };
            let _ = tokio::time::timeout(LINGER, rest).await;
        }
    }

    /// The connection, for another protocol, and what was read of it.
    pub(crate) fn into_parts(self) -> (Io, BytesMut) {
        (self.io, self.input)
    }

    /// The next piece of the body, if it was read already.
    fn take(&mut self) -> Result<Option<Bytes>, Unread> {
        match &mut self.body {
            Coming::Nothing | Coming::Unknown => Ok(None),
            Coming::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                *left -= here as u64;
                Ok((here > 0).then(|| self.input.split_to(here).freeze()))
            }
            Coming::Chunked(chunked) => match chunked.next(&mut self.input) {
                Ok(Piece::Data(data)) => Ok(Some(data)),
                Ok(Piece::More) => Ok(None),
                Ok(Piece::End(_)) => {
                    self.body = Coming::Nothing;
                    Ok(None)
                }
                Err(_) => Err(Unread::Malformed),
            },
        }
    }

    /// How many bytes may still come of the body.
    fn body_left(&self) -> Option<u64> {
        match self.body {
            Coming::Nothing | Coming::Unknown => None,
            Coming::Length(left) => Some(left),
            Coming::Chunked(_) => Some(u64::MAX),
        }
    }

    /// Tells a client that waits for it to send its body.
    fn poll_word(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.word == Word::Due {
            self.queue.text().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.word = Word::InQueue;
        }
        ready!(self.poll_write(cx))?;
        self.word = Word::Needless;
        Poll::Ready(Ok(()))
    }
}

impl Requester for Wire {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Unread>>> {
        loop {
            match self.take() {
                Ok(Some(data)) => {
                    self.word = Word::Needless;
                    return Poll::Ready(Some(Ok(data)));
                }
                Ok(None) if self.is_read() => return Poll::Ready(None),
                Ok(None) => {}
                Err(unread) => return Poll::Ready(Some(Err(unread))),
            }
            if self.word != Word::Needless && ready!(self.poll_word(cx)).is_err() {
                return Poll::Ready(Some(Err(Unread::Gone)));
            }
            let wanted = self.body_left().unwrap_or(0);
            match ready!(poll_fill(cx, &mut self.io, &mut self.input, wanted)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(Unread::Gone))),
            }
        }
    }

    fn is_read(&self) -> bool {
        matches!(self.body, Coming::Nothing | Coming::Length(0))
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // While there is something to be read that is not asked for, nobody looks further.
        if !self.is_read() || !self.input.is_empty() {
            return Poll::Pending;
        }
        match ready!(poll_fill(cx, &mut self.io, &mut self.input, 0)) {
            Ok(1..) => Poll::Pending,
            Ok(0) | Err(_) => Poll::Ready(()),
        }
    }
}
