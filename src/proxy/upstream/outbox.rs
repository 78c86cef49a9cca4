//! What goes to the target: a head, then the body as the client sends it, no faster than the target takes it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep};

use super::Stream;
use crate::proxy::Clock;
use crate::proxy::queue::Queue;
use crate::proxy::request::source::{Source, Unread};
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

/// How a request's body is sent on: in chunks, or with a length, which the head then told.
#[derive(Debug)]
pub(crate) struct Payload {
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
    Unread(Unread),
    /// The client sends nothing more.
    Slow,
    Target,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Queue,
    payload: Option<Payload>,
    /// TLS may hold back the end of what was written.
    flushed: bool,
}

impl Outbox {
    pub(crate) fn new(head: Vec<u8>, payload: Option<Payload>) -> Self {
        Self { queue: Queue::new(head), payload, flushed: false }
    }

    /// The head's buffer, to be used again.
    pub(crate) fn into_head(self) -> Vec<u8> {
        self.queue.into_text()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.flushed && self.payload.is_none() && self.queue.is_empty()
    }

    /// Sends on; ready once all is sent.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        source: &mut Source<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            // What is there already goes with the head.
            if self.queue.is_full() || self.payload.is_none() {
                ready!(self.queue.poll_write(cx, stream)).map_err(|_| Broken::Target)?;
            }
            let Some(payload) = &mut self.payload else {
                ready!(Pin::new(stream).poll_flush(cx)).map_err(|_| Broken::Target)?;
                self.flushed = true;
                return Poll::Ready(Ok(()));
            };
            let Poll::Ready(piece) = source.poll_piece(cx) else {
                ready!(self.queue.poll_write(cx, stream)).map_err(|_| Broken::Target)?;
                if let Poll::Ready(Err(_)) = Pin::new(stream).poll_flush(cx) {
                    return Poll::Ready(Err(Broken::Target));
                }
                return payload.patience.poll(cx).map(|()| Err(Broken::Slow));
            };
            payload.patience.moved = true;
            match piece {
                Some(Ok(data)) => {
                    payload.meter.touch();
                    self.queue.add(data, payload.chunked);
                }
                Some(Err(unread)) => return Poll::Ready(Err(Broken::Unread(unread))),
                None => {
                    if payload.chunked {
                        self.queue.text().extend_from_slice(b"0\r\n\r\n");
                    }
                    self.payload = None;
                }
            }
        }
    }
}
