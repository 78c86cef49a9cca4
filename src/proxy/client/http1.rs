//! Speaks HTTP/1 with a client: one request after the other, each answered before the next is read.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use http::Version;

use super::connection::Client;
use super::io::Io;
use super::sending::{Asked, Outcome, send};
use super::wire::Wire;
use super::written::Then;
use crate::proxy::answer::body::Kind;
use crate::proxy::answer::pages;
use crate::proxy::answer::reply::Reply;
use crate::proxy::forward::{self, Gone};
use crate::proxy::request::order::Order;
use crate::proxy::request::vet::{Refusal, Vetted};
use crate::proxy::telemetry::account::Account;
use crate::proxy::tunnel::upgrade::Tunnel;
use crate::proxy::{Fields, RequestHead};

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
    let most = client.lane.proxy.settings.max_head;
    let mut wire = Wire::new(io, Arc::clone(&client.pulse));
    loop {
        let outcome = match wire.head(most).await {
            Ok(Some(head)) => answer(&mut wire, client, head).await,
            Ok(None) => return None,
            // Boxed, as these are the last of a connection and their futures are long.
            Err(refusal) => Box::pin(refuse(&mut wire, client, refusal)).await,
        };
        match outcome {
            Ok(Outcome::Whole(Then::Keep { .. })) => {}
            Ok(Outcome::Whole(Then::Close | Then::Change)) => {
                Box::pin(wire.close()).await;
                return None;
            }
            Ok(Outcome::Tunnel(tunnel)) => {
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

/// The answer to what is no request at all: it has no account, as nobody knows what was asked.
async fn refuse(wire: &mut Wire, client: &Client, Refusal(status, why): Refusal) -> io::Result<Outcome> {
    wire.distrust();
    client.lane.counters.request(status.as_u16(), Duration::ZERO);
    let reply = pages::page(status, why, &Fields::default()).into();
    send(wire, reply, Asked::default(), Then::Close, client.lane.proxy.clock.now_ms(), &mut 0).await
}

/// Answers one request and accounts for it, until the answer is sent or given up.
async fn answer(wire: &mut Wire, client: &Arc<Client>, head: RequestHead) -> io::Result<Outcome> {
    let proxy = &client.lane.proxy;
    let mut account = Account::open(client, &head);
    let asked = Asked::from(&head);
    let mut order = match Order::read(head, proxy.settings.max_target, Vetted::body) {
        Ok(order) => order,
        // Who sends such a request may have meant what follows as a part of it.
        Err(refused) => {
            wire.distrust();
            account.answered(refused.status);
            return send(wire, *refused, asked, Then::Close, proxy.clock.now_ms(), &mut account.sent).await;
        }
    };
    wire.begin(order.sent, waits(&order.head));
    let reply = match forward::answer(client, &mut order, wire).await {
        Ok(reply) => reply,
        Err(Gone) => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    account.answered(reply.status);
    let then = then(wire, client, &order, &reply);
    let sent = send(wire, reply, asked, then, proxy.clock.now_ms(), &mut account.sent).await?;
    Ok(match sent {
        // A request that its target did not want to read to its end.
        Outcome::Whole(Then::Keep { .. }) if !wire.skip_body() => Outcome::Whole(Then::Close),
        sent => {
            wire.end(order.head.fields);
            sent
        }
    })
}

/// Whether the client wants to hear whether it is to send its body.
fn waits(request: &RequestHead) -> bool {
    let asks = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    request.version == Version::HTTP_11 && request.fields.get("expect").is_some_and(asks)
}

/// Whether another request may follow this answer.
fn then(wire: &mut Wire, client: &Client, order: &Order, reply: &Reply) -> Then {
    let connection = &order.vetted.connection;
    let old = order.head.version < Version::HTTP_11;
    let wanted = !connection.close && (!old || connection.keep_alive);
    let last = client.lane.leaving.load(Ordering::Relaxed) || client.pulse.is_ending();
    match reply.body.0 {
        Kind::Tunnel(_) => Then::Change,
        // What is left of the request is sent on meanwhile.
        Kind::Stream(_) if wanted && !last => Then::Keep { said: old },
        Kind::Whole(_) if wanted && !last && wire.skip_body() => Then::Keep { said: old },
        Kind::Stream(_) | Kind::Whole(_) => Then::Close,
    }
}
