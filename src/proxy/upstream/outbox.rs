//! What goes to the target: a head, then the body as the client sends it, no faster than the target takes it.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::body::{Body, Incoming};
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep};

use super::Stream;
use crate::proxy::Clock;
use crate::proxy::table::activity::Activity;

/// Tells a route's activity of the bytes that its client sends.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub activity: Option<Arc<Activity>>,
    pub clock: Clock,
}

impl Meter {
    pub(crate) fn touch(&self) {
        if let Some(activity) = &self.activity {
            activity.touch(self.clock.now_ms());
        }
    }
}

/// A request body to be sent on, and whether in chunks (or with a length, which the head then told).
#[derive(Debug)]
pub(crate) struct Payload {
    pub body: Incoming,
    pub chunked: bool,
    pub meter: Meter,
    pub patience: Patience,
}

/// How long a client may pause within a body.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    /// Runs from the first pause on; looked at when it ends, so that no piece of a body needs a clock.
    timer: Option<Pin<Box<Sleep>>>,
    moved: bool,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, timer: None, moved: false }
    }

    /// Ready once it is used up.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if !std::mem::take(&mut self.moved) {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + self.limit);
        }
    }
}

/// Why sending ended early.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The client went away or sent nonsense.
    Client,
    /// The client sends nothing more.
    Slow,
    Target,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    /// The request's head, later the size line of a chunk, and how much of it is sent.
    head: Vec<u8>,
    sent: usize,
    data: Bytes,
    tail: &'static [u8],
    payload: Option<Payload>,
    /// TLS may hold back the end of what was written.
    flushed: bool,
}

impl Outbox {
    pub(crate) fn new(head: Vec<u8>, payload: Option<Payload>) -> Self {
        Self { head, sent: 0, data: Bytes::new(), tail: b"", payload, flushed: false }
    }

    /// The head's buffer, to be used again.
    pub(crate) fn into_head(self) -> Vec<u8> {
        self.head
    }

    pub(crate) fn is_done(&self) -> bool {
        self.flushed
            && self.payload.is_none()
            && self.sent == self.head.len()
            && self.data.is_empty()
            && self.tail.is_empty()
    }

    /// Sends on; ready once all is sent.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<(), Broken>> {
        loop {
            ready!(self.poll_write(cx, stream)).map_err(|_| Broken::Target)?;
            let Some(payload) = &mut self.payload else {
                ready!(Pin::new(stream).poll_flush(cx)).map_err(|_| Broken::Target)?;
                self.flushed = true;
                return Poll::Ready(Ok(()));
            };
            let Poll::Ready(frame) = Pin::new(&mut payload.body).poll_frame(cx) else {
                if let Poll::Ready(Err(_)) = Pin::new(stream).poll_flush(cx) {
                    return Poll::Ready(Err(Broken::Target));
                }
                return payload.patience.poll(cx).map(|()| Err(Broken::Slow));
            };
            payload.patience.moved = true;
            match frame {
                // Trailers of a request are dropped, as a proxy may: no target here has a use for them.
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if data.is_empty() {
                        continue;
                    }
                    payload.meter.touch();
                    if payload.chunked {
                        self.head.clear();
                        self.sent = 0;
                        write!(self.head, "{:x}\r\n", data.len()).map_err(|_| Broken::Target)?;
                        self.tail = b"\r\n";
                    }
                    self.data = data;
                }
                Some(Err(_)) => return Poll::Ready(Err(Broken::Client)),
                None => {
                    if payload.chunked {
                        self.tail = b"0\r\n\r\n";
                    }
                    self.payload = None;
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        loop {
            let head = &self.head[self.sent..];
            let stream = Pin::new(&mut *stream);
            let mut written = if self.data.is_empty() && self.tail.is_empty() {
                if head.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                ready!(stream.poll_write(cx, head))?
            } else {
                let parts = [IoSlice::new(head), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                ready!(stream.poll_write_vectored(cx, &parts))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(self.head.len() - self.sent);
            self.sent += of_head;
            written -= of_head;
            let of_data = written.min(self.data.len());
            self.data.advance(of_data);
            written -= of_data;
            self.tail = &self.tail[written..];
        }
    }
}
