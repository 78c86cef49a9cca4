//! The body of an answer on its way to the client: whole, or streamed from the target as the client takes it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::Frame;

use crate::proxy::chunked::{Chunked, Piece};
use crate::proxy::client::connection::Lane;
use crate::proxy::request::source::Source;
use crate::proxy::table::target::Target;
use crate::proxy::tunnel::upgrade::Tunnel;
use crate::proxy::upstream::outgoing;
use crate::proxy::upstream::{Exchange, Meter};

/// What this proxy answers with.
#[derive(Debug)]
pub struct Body(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Whole(Bytes),
    Stream(Box<Stream>),
    /// None at all: from here on another protocol is spoken.
    Tunnel(Box<Tunnel>),
}

impl Body {
    /// A body that is there already.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(bytes.into()))
    }

    pub(crate) fn stream(stream: Stream) -> Self {
        Self(Kind::Stream(Box::new(stream)))
    }

    pub(crate) fn tunnel(tunnel: Tunnel) -> Self {
        Self(Kind::Tunnel(Box::new(tunnel)))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::whole("")
    }
}

/// What is still to come of a body.
#[derive(Debug)]
pub(crate) enum Rest {
    Length(u64),
    Chunked(Chunked),
    Close,
}

/// A body that is read from its target frame by frame, while the rest of the request may still be sent.
#[derive(Debug)]
pub(crate) struct Stream {
    /// None once the body was read to its end, or the target failed.
    pub exchange: Option<Exchange>,
    pub rest: Rest,
    pub reusable: bool,
    pub target: Target,
    pub lane: Arc<Lane>,
    /// Why the target failed, while what came before is sent on.
    pub failed: Option<io::Error>,
    /// Counts the answer as use once it is complete; none for answers that do not count.
    pub meter: Option<Meter>,
}

impl Stream {
    /// How many bytes are still to come, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.rest {
            Rest::Length(left) => Some(left),
            Rest::Chunked(_) | Rest::Close => None,
        }
    }

    /// Nothing more is to come.
    pub(crate) fn is_over(&self) -> bool {
        self.exchange.is_none() && self.failed.is_none()
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Source<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            let Some(exchange) = &mut self.exchange else {
                return Poll::Ready(self.failed.take().map(Err));
            };
            match next(&mut self.rest, &mut exchange.link.input) {
                Ok(Piece::Data(data)) => {
                    if matches!(self.rest, Rest::Length(0)) {
                        self.finish();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Piece::End(mut trailers)) => {
                    self.finish();
                    outgoing::drop_forbidden_trailers(&mut trailers);
                    return Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))));
                }
                Ok(Piece::More) => {}
                Err(error) => return self.fail(cx, io::Error::other(error)),
            }
            if let Err(failure) = exchange.poll_send(cx, source) {
                return self.fail(cx, io::Error::other(failure));
            }
            let wanted = match self.rest {
                Rest::Length(left) => left,
                Rest::Chunked(_) | Rest::Close => u64::MAX,
            };
            match ready!(exchange.link.poll_fill(cx, wanted)) {
                Ok(0) if matches!(self.rest, Rest::Close) => {
                    self.reusable = false;
                    self.finish();
                    return Poll::Ready(None);
                }
                // Passed on as an error, so that the client can tell a part from the whole.
                Ok(0) => return self.fail(cx, io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => return self.fail(cx, error),
            }
        }
    }

    fn finish(&mut self) {
        if let Some(meter) = &self.meter {
            meter.touch();
        }
        let link = self.exchange.take().and_then(Exchange::finish);
        if let Some(mut link) = link.filter(|_| self.reusable) {
            // What a long body needed is not kept for as long as the connection idles.
            link.input = BytesMut::new();
            self.lane.pool.put(&self.target, link, self.lane.proxy.clock.now_ms());
        }
    }

    /// The error comes with the next poll: with HTTP/2, hyper drops what it has not sent yet when it gets one, and sends
    /// it when it is made to wait.
    fn fail<T>(&mut self, cx: &Context<'_>, error: io::Error) -> Poll<T> {
        self.exchange = None;
        self.failed = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn next(rest: &mut Rest, input: &mut BytesMut) -> Result<Piece, io::Error> {
    match rest {
        Rest::Chunked(chunked) => chunked.next(input).map_err(io::Error::other),
        Rest::Length(0) => Ok(Piece::End(HeaderMap::new())),
        Rest::Length(_) | Rest::Close if input.is_empty() => Ok(Piece::More),
        Rest::Length(left) => {
            let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
            *left -= here as u64;
            Ok(Piece::Data(input.split_to(here).freeze()))
        }
        Rest::Close => Ok(Piece::Data(input.split().freeze())),
    }
}
