//! Speaks HTTP/1 with a client: one request after the other, each answered before the next is read.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode, Version};
use hyper::body::Frame;

use super::connection::Client;
use super::io::Io;
use super::wire::Wire;
use super::written::{self, Then, Told};
use crate::proxy::answer::body::{Kind, Stream};
use crate::proxy::answer::pages;
use crate::proxy::answer::reply::Reply;
use crate::proxy::forward::{self, Gone};
use crate::proxy::request::order::Order;
use crate::proxy::request::source::Requester;
use crate::proxy::request::vet::{Refusal, Vetted};
use crate::proxy::telemetry::account::Account;
use crate::proxy::tunnel::upgrade::Tunnel;
use crate::proxy::{Fields, RequestHead, Settings};

/// Bytes of an answer that are written before more of it is asked for.
const ENOUGH: usize = 64 * 1024;

/// Another protocol is spoken on the connection from here on.
#[derive(Debug)]
pub(crate) struct Changed {
    pub io: Io,
    /// What was read and is no HTTP any more.
    pub read: BytesMut,
    pub tunnel: Box<Tunnel>,
}

/// Serves until one side has no further use for the connection, or it becomes a tunnel.
pub(crate) async fn serve(io: Io, client: &Arc<Client>) -> Option<Changed> {
    let settings = &client.lane.proxy.settings;
    let mut wire = Wire::new(io, Arc::clone(&client.pulse));
    loop {
        let head = match wire.head(settings.max_head).await {
            Ok(Some(head)) => head,
            Ok(None) => return None,
            Err(refusal) => {
                refuse(&mut wire, client, refusal);
                return close(wire).await;
            }
        };
        match answer(&mut wire, client, head, settings).await {
            Ok(After::Next) => {}
            Ok(After::Nothing) => return close(wire).await,
            Ok(After::Tunnel(tunnel)) => {
                let (io, read) = wire.into_parts();
                return Some(Changed { io, read, tunnel });
            }
            Err(error) => {
                tracing::debug!(client = &*client.address, %error, "a client's connection ended early");
                return None;
            }
        }
    }
}

/// Boxed, as it is the last and its future is long.
async fn close(wire: Wire) -> Option<Changed> {
    Box::pin(wire.close()).await;
    None
}

/// What follows an answer.
enum After {
    Next,
    Nothing,
    Tunnel(Box<Tunnel>),
}

/// The answer to what is no request at all: it has no account, as nobody knows what was asked.
fn refuse(wire: &mut Wire, client: &Client, Refusal(status, why): Refusal) {
    let lane = &client.lane;
    lane.counters.request(status.as_u16(), Duration::ZERO);
    let Reply { fields, body, .. } = pages::page(status, why, &Fields::default()).into();
    if let Kind::Whole(page) = body.0 {
        let told = Told::Length(page.len() as u64);
        written::write(wire.queue.text(), status, &fields, told, Then::Close, lane.proxy.clock.now_ms());
        wire.queue.piece(page);
    }
}

/// Answers one request and accounts for it, until the answer is sent or given up.
async fn answer(
    wire: &mut Wire,
    client: &Arc<Client>,
    head: RequestHead,
    settings: &Settings,
) -> io::Result<After> {
    let mut account = Account::open(client, &head);
    let mut order = match Order::read(head, settings.max_target, Vetted::body) {
        Ok(order) => order,
        Err(turned) => {
            let (head, answer) = *turned;
            account.answered(answer.status);
            Sending::new(wire, client, &head, Then::Close).begin(answer, &mut account);
            wire.flush().await?;
            return Ok(After::Nothing);
        }
    };
    wire.begin(order.sent, waits(&order.head));
    let answer = match forward::answer(client, &mut order, wire).await {
        Ok(answer) => answer,
        Err(Gone) => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    account.answered(answer.status);
    let then = after(wire, client, &order, &answer);
    let mut sending = Sending::new(wire, client, &order.head, then);
    let rest = sending.begin(answer, &mut account);
    let then = sending.then;
    let tunnel = match rest {
        Rest::Nothing => {
            wire.flush().await?;
            None
        }
        Rest::Tunnel(tunnel) => {
            wire.flush().await?;
            Some(tunnel)
        }
        Rest::Stream { mut stream, chunked } => {
            send(wire, &mut stream, chunked, &mut account).await?;
            None
        }
    };
    drop(account);
    Ok(match (tunnel, then) {
        (Some(tunnel), _) => After::Tunnel(tunnel),
        (None, Then::Keep { .. }) if wire.skip_body() => {
            wire.give_back(order.head.fields);
            After::Next
        }
        (None, Then::Keep { .. } | Then::Close | Then::Change) => After::Nothing,
    })
}

/// Whether the client wants to hear whether it is to send its body.
fn waits(request: &RequestHead) -> bool {
    let asks = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    request.version == Version::HTTP_11 && request.fields.get("expect").is_some_and(asks)
}

/// Whether another request may follow this answer.
fn after(wire: &mut Wire, client: &Client, order: &Order, answer: &Reply) -> Then {
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return Then::Change;
    }
    let connection = &order.vetted.connection;
    let old = order.head.version < Version::HTTP_11;
    let wanted = !connection.close && (!old || connection.keep_alive);
    let last = client.lane.leaving.load(Ordering::Relaxed) || client.pulse.is_ending();
    // A body that the target has no use for is not waited for.
    let read = matches!(answer.body.0, Kind::Stream(_)) || wire.skip_body();
    if wanted && !last && read { Then::Keep { said: old } } else { Then::Close }
}

/// An answer that is about to be sent.
struct Sending<'a> {
    wire: &'a mut Wire,
    client: &'a Client,
    request: &'a RequestHead,
    then: Then,
}

/// What is still to be done once the head is in the queue, and a whole body with it.
enum Rest {
    Nothing,
    Tunnel(Box<Tunnel>),
    Stream { stream: Box<Stream>, chunked: bool },
}

impl<'a> Sending<'a> {
    fn new(wire: &'a mut Wire, client: &'a Client, request: &'a RequestHead, then: Then) -> Self {
        Self { wire, client, request, then }
    }

    fn begin(&mut self, answer: Reply, account: &mut Account) -> Rest {
        let Reply { status, fields, body } = answer;
        let bodiless = self.request.method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let told = match &body.0 {
            Kind::Whole(page) if bodiless && page.is_empty() => Told::Nothing,
            Kind::Whole(page) => Told::Length(page.len() as u64),
            Kind::Tunnel(_) => Told::Nothing,
            Kind::Stream(stream) => match stream.length() {
                Some(length) => Told::Length(length),
                None if self.request.version < Version::HTTP_11 => {
                    self.then = Then::Close;
                    Told::Close
                }
                None => Told::Chunked,
            },
        };
        let now_ms = self.client.lane.proxy.clock.now_ms();
        written::write(self.wire.queue.text(), status, &fields, told, self.then, now_ms);
        match body.0 {
            Kind::Tunnel(tunnel) => Rest::Tunnel(tunnel),
            Kind::Whole(page) => {
                if !bodiless && !page.is_empty() {
                    account.sent(page.len());
                    self.wire.queue.piece(page);
                }
                Rest::Nothing
            }
            Kind::Stream(stream) => Rest::Stream { stream, chunked: told == Told::Chunked },
        }
    }
}

/// Sends a body on as it comes, no faster than the client takes it.
async fn send(wire: &mut Wire, stream: &mut Stream, chunked: bool, account: &mut Account) -> io::Result<()> {
    let trailers = poll_fn(|cx| poll_pieces(cx, wire, stream, chunked, account)).await?;
    if chunked {
        if !wire.queue.takes_more() {
            wire.flush().await?;
        }
        written::write_end(wire.queue.text(), &trailers);
    }
    wire.flush().await
}

/// Ready with the trailers once the last piece is in the queue.
fn poll_pieces(
    cx: &mut Context<'_>,
    wire: &mut Wire,
    stream: &mut Stream,
    chunked: bool,
    account: &mut Account,
) -> Poll<io::Result<HeaderMap>> {
    loop {
        // What is there already goes with the head.
        if !wire.queue.takes_more() || wire.queue.len() > ENOUGH {
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
                account.sent(data.len());
                if chunked {
                    wire.queue.chunk(data);
                } else {
                    wire.queue.piece(data);
                }
            }
        }
    }
}
