//! A connection on which the client speaks HTTP/2. It was agreed on by ALPN, so only TLS leads here, and no
//! stream can become a tunnel: browsers open another connection for their WebSockets.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::http2;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::connection::{Client, Served, respond, until_over};
use super::front::{Front, Io};
use super::pulse::Pulse;
use crate::proxy::Body;

/// Requests of one client at once; browsers stay below a hundred.
const STREAMS: u32 = 128;
/// What one client may have sent ahead of the targets, of one request and of all, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
const WINDOW: u32 = 1024 * 1024;
/// What may be read from a target ahead of the client, for each request.
const AHEAD: usize = 64 * 1024;
/// Streams that a client has opened and reset before they were looked at; more end the connection.
const RESETS: usize = 20;
/// Streams that had to be reset for the client's errors.
const ERRORS: usize = 128;

pub(crate) async fn drive(io: Io, peer: SocketAddr, client: &Arc<Client>) {
    let settings = &client.lane.proxy.settings;
    let service = service_fn(|request| {
        let pulse = Arc::clone(&client.pulse);
        respond(client, request).map_ok(|answer| answer.map(|body| Offered { body, pulse }))
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(AHEAD)
        .max_header_list_size(u32::try_from(settings.max_head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(ERRORS)
        .keep_alive_interval(settings.keepalive)
        .keep_alive_timeout(settings.keepalive);
    let front = TokioIo::new(Front::http2(io, Arc::clone(&client.pulse)));
    until_over(pin!(builder.serve_connection(front, service)), client, peer).await;
}

/// An answer whose client must go on making room for it. Other streams of the same connection that flow speak
/// for it.
#[derive(Debug)]
struct Offered {
    body: Body,
    pulse: Arc<Pulse>,
}

impl hyper::body::Body for Offered {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pulse.wanted();
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.pulse.offered();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        self.pulse.wanted();
    }
}

impl<S, E> Served for http2::Connection<TokioIo<Front>, S, E>
where
    S: HttpService<Incoming, ResBody = Offered, Error = Infallible>,
    S::Future: 'static,
    E: Http2ServerConnExec<S::Future, Offered>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    const SAYS_GOODBYE: bool = true;
}
