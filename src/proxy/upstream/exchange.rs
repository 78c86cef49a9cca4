//! One request and its answer on one connection. Both directions flow at once: a target may answer
//! before it has read the whole request.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use super::answer::Malformed;
use super::outbox::Broken;
use super::{Answer, Asked, Link, Outbox, Payload};
use crate::proxy::request::source::{Source, Unread};

#[derive(Debug)]
pub(crate) struct Exchange {
    pub link: Link,
    outbox: Outbox,
    asked: Asked,
    /// Sending failed: the answer may still come, but no further request on this connection.
    broken: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the request's body cannot be read on")]
    Unread(#[from] Unread),
    #[error("the client sends nothing more of its request")]
    Slow,
    #[error("the target does not answer in time")]
    Silent,
    /// `silent` if not a byte of an answer had come.
    #[error("the connection to the target ended")]
    Ended { silent: bool, source: Option<io::Error> },
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Exchange {
    /// Begins to send what `link.head` holds, then the payload.
    pub(crate) fn new(mut link: Link, payload: Option<Payload>, asked: Asked) -> Self {
        let outbox = Outbox::new(std::mem::take(&mut link.head), payload);
        Self { link, outbox, asked, broken: false }
    }

    /// The head of the answer. The exchange goes on after it: see [`poll_send`](Self::poll_send).
    pub(crate) async fn answer(&mut self, source: &mut Source<'_>) -> Result<Answer, Failure> {
        poll_fn(|cx| self.poll_answer(cx, source)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>, source: &mut Source<'_>) -> Poll<Result<Answer, Failure>> {
        self.poll_send(cx, source)?;
        loop {
            let Poll::Ready(read) = self.link.poll_fill(cx, 0) else {
                return source.poll_gone(cx).map(|()| Err(Unread::Gone.into()));
            };
            match read {
                Ok(0) | Err(_) => {
                    let silent = self.link.input.is_empty();
                    return Poll::Ready(Err(Failure::Ended { silent, source: read.err() }));
                }
                Ok(_) => {
                    if let Some(answer) = Answer::parse(&mut self.link.input, self.asked)? {
                        return Poll::Ready(Ok(answer));
                    }
                }
            }
        }
    }

    /// Sends what can be sent of the request. Only the client's failure is an error here: a target that
    /// reads no further may have said why.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, source: &mut Source<'_>) -> Result<(), Failure> {
        if self.broken || self.outbox.is_done() {
            return Ok(());
        }
        match self.outbox.poll(cx, &mut self.link.stream, source) {
            Poll::Ready(Err(Broken::Unread(unread))) => Err(unread.into()),
            Poll::Ready(Err(Broken::Slow)) => Err(Failure::Slow),
            Poll::Ready(Err(Broken::Target)) => {
                self.broken = true;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// The connection, ready for the next request, if this one was sent whole and answered exactly.
    pub(crate) fn finish(self) -> Option<Link> {
        let clean = !self.broken && self.outbox.is_done() && self.link.input.is_empty();
        let mut link = self.link;
        link.head = self.outbox.into_head();
        clean.then_some(link)
    }

    /// The connection for another protocol: what was read is in its input.
    pub(crate) fn into_link(self) -> Link {
        self.link
    }

    /// Asks the same once more over another connection. There is no payload, or it would be gone.
    pub(crate) fn go_over(&mut self, mut fresh: Link) {
        let outbox = std::mem::replace(&mut self.outbox, Outbox::new(vec![], None));
        fresh.head = outbox.into_head();
        *self = Self::new(fresh, None, self.asked);
    }
}
