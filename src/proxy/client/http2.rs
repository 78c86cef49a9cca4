//! A connection on which the client speaks HTTP/2. It was agreed on by ALPN, so only TLS leads here, and no
//! stream can become a tunnel: browsers open another connection for their WebSockets.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Client, Ending, until_over};
use super::io::Io;
use super::pulse::Pulse;
use crate::proxy::RequestHead;
use crate::proxy::answer::body::Kind;
use crate::proxy::answer::reply::Reply;
use crate::proxy::forward::{self, Gone};
use crate::proxy::request::order::Order;
use crate::proxy::request::source::{Requester, Unread};
use crate::proxy::request::vet::Vetted;
use crate::proxy::telemetry::account::Account;
use crate::proxy::upstream::outgoing::Sent;

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
    let service = service_fn(|request| respond(client, request));
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
    let noted = TokioIo::new(Noted { io, pulse: Arc::clone(&client.pulse) });
    let connection = pin!(builder.serve_connection(noted, service));
    let ending = Ending {
        drain: |connection: Pin<&mut Connection<_, _>>| connection.graceful_shutdown(),
        says_goodbye: true,
    };
    if let Some(Err(error)) = until_over(connection, client, peer, ending).await {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a client's connection ended early");
    }
}

type Connection<I, S> = http2::Connection<I, S, TokioExecutor>;

/// Answers one request and accounts for it, from now on until the answer is sent or given up.
fn respond(
    client: &Arc<Client>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Answered>, Infallible>> + Send + use<> {
    let (parts, body) = request.into_parts();
    let head = RequestHead::from(parts);
    let mut account = Account::open(client, &head);
    let order = Order::read(head, client.lane.proxy.settings.max_target, |vetted| framed(vetted, &body));
    let (client, mut source) = (Arc::clone(client), Streamed(body));
    async move {
        let reply = match order {
            Ok(mut order) => match forward::answer(&client, &mut order, &mut source).await {
                Ok(reply) => reply,
                // hyper drops this future when a client resets its request: there is nobody to answer.
                Err(Gone) => Reply::from(Response::default()),
            },
            Err(refused) => *refused,
        };
        account.answered(reply.status);
        let pulse = Arc::clone(&client.pulse);
        let mut answer = Response::new(Answered { body: reply.body.0, source, account, pulse });
        *answer.status_mut() = reply.status;
        *answer.headers_mut() = reply.fields.to_map();
        Ok(answer)
    }
}

/// How a request's body is sent on: HTTP/2 needs no header to send one.
fn framed(vetted: &Vetted, body: &Incoming) -> Sent {
    match (vetted.length, body.size_hint().exact()) {
        (None, _) if body.is_end_stream() => Sent::Nothing,
        (Some(_), Some(length)) => Sent::Length(length),
        (Some(_) | None, _) => Sent::Chunked,
    }
}

/// The body of a request as it comes.
struct Streamed(Incoming);

impl Requester for Streamed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Unread>>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                None => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(Unread::Malformed))),
                Some(Ok(Ok(data))) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                Some(Ok(_)) => {}
            }
        }
    }

    fn is_read(&self) -> bool {
        self.0.is_end_stream()
    }

    /// Who has reset its request is found by hyper, which then drops whatever is done for it.
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// An answer whose client must go on making room for it. Other streams of the same connection that flow speak
/// for it.
struct Answered {
    body: Kind,
    source: Streamed,
    /// Closed with the body, when the answer is over.
    account: Account,
    pulse: Arc<Pulse>,
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self { body, source, account, pulse } = self.get_mut();
        pulse.wanted();
        let frame = match body {
            Kind::Whole(bytes) if bytes.is_empty() => None,
            Kind::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Kind::Stream(stream) => ready!(stream.poll_frame(cx, source)),
            Kind::Tunnel(_) => None,
        };
        if let Some(Ok(frame)) = &frame {
            account.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
            pulse.offered();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Stream(stream) => stream.is_over(),
            Kind::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(stream) => stream.length().map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.pulse.wanted();
    }
}

/// A connection that tells the [`Pulse`] whether the client takes what is written.
#[derive(Debug)]
struct Noted {
    io: Io,
    pulse: Arc<Pulse>,
}

impl Noted {
    fn wrote<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Pending => self.pulse.stuck(),
            Poll::Ready(_) => self.pulse.flows(),
        }
        result
    }
}

impl AsyncRead for Noted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, parts);
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
