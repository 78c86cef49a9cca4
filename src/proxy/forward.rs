//! From a request to its answer: find the route, ask the target, pass its answer on.

use std::sync::Arc;

use http::uri::Authority;
use http::{Method, Response, StatusCode};

use super::answer::body::{Body, Rest, Stream};
use super::answer::pages;
use super::answer::reply::Reply;
use super::chunked::Chunked;
use super::client::connection::Client;
use super::door::doorman::{Asking, Luggage};
use super::door::stay::Stay;
use super::request::order::{Change, Order};
use super::request::source::{Source, Unread};
use super::request::vet::{Refusal, Vetted};
use super::telemetry::counters::count;
use super::tunnel::upgrade::{Tunnel, Watch};
use super::upstream::outgoing::{self, Head, Sent};
use super::upstream::{Answer, Asked, Exchange, Failure, Framing, Link, Meter, Patience, Payload};
use super::{Entry, Proxy, RequestHead, Target, Trouble};
use crate::domain::Prefix;

const AWAY: Refusal = Refusal(
    StatusCode::SERVICE_UNAVAILABLE,
    "This cluster's server is starting or has stopped. This page tries again.",
);
const OWN_AWAY: Refusal =
    Refusal(StatusCode::SERVICE_UNAVAILABLE, "slipway is starting or has stopped. This page tries again.");
const NOWHERE: Refusal =
    Refusal(StatusCode::NOT_FOUND, "No cluster is at this address. It may have been stopped.");
const GARBLED: Refusal = Refusal(StatusCode::BAD_GATEWAY, "The server behind this address gave no valid answer.");
const SILENT: Refusal =
    Refusal(StatusCode::GATEWAY_TIMEOUT, "The server behind this address did not answer in time.");
const UNREAD: Refusal = Refusal(StatusCode::BAD_REQUEST, "The request's body could not be read.");
const PAUSED: Refusal = Refusal(StatusCode::REQUEST_TIMEOUT, "The rest of the request did not come in time.");

/// Where a request goes.
#[derive(Debug)]
struct Destination<'p> {
    target: Target,
    path: &'p str,
    /// What was taken off the path.
    prefix: &'p str,
    /// None for slipway itself.
    entry: Option<Arc<Entry>>,
}

impl Destination<'_> {
    /// What a client is told when nobody is there.
    fn away(&self) -> Refusal {
        if self.entry.is_none() { OWN_AWAY } else { AWAY }
    }
}

/// The client left before it was answered.
#[derive(Debug)]
pub(super) struct Gone;

/// Answers a request, whatever becomes of it, as long as somebody waits for the answer.
pub(super) async fn answer(client: &Client, order: &mut Order, source: &mut Source<'_>) -> Result<Reply, Gone> {
    let proxy = &client.lane.proxy;
    let Order { head, vetted, sent, change } = order;
    if proxy.manner.health.is_some_and(|health| health == head.uri.path()) {
        return Ok(pages::healthy().into());
    }
    let upgrades = change.is_some();
    let result = match route(client, head) {
        Some(to) => match enter(client, head, upgrades, &to) {
            Ok(mut luggage) => {
                if let (Some(change), Some(luggage)) = (&mut *change, &mut luggage) {
                    change.stay = stay(proxy, &to, luggage);
                }
                let asking = Request { head, vetted, sent: *sent, to: &to, luggage: luggage.as_ref() };
                forward(client, &asking, change, source).await
            }
            Err(refused) => Ok(Reply::from(*refused)),
        },
        None => Err(Lost::For(NOWHERE)),
    };
    match result {
        Ok(answer) => Ok(answer),
        Err(Lost::Gone) => Err(Gone),
        Err(Lost::For(refusal)) => Ok(Box::pin(refuse(client, refusal, head, upgrades)).await),
    }
}

/// The answer to a request that reaches no target.
async fn refuse(client: &Client, refusal: Refusal, request: &RequestHead, upgrade: bool) -> Reply {
    let Refusal(status, why) = refusal;
    Reply::from(match &client.lane.proxy.manner.pages {
        Some(pages) => pages.page(Trouble { status, why, request, upgrade }).await,
        None => pages::page(status, why, &request.fields),
    })
}

fn route<'p>(client: &Client, request: &'p RequestHead) -> Option<Destination<'p>> {
    let (proxy, path) = (&client.lane.proxy, request.uri.path());
    let found = if proxy.manner.by_host {
        proxy.routes.find_of_host(host_of(request), path)
    } else {
        proxy.routes.find(path)
    };
    match found {
        Some((matched, entry)) => {
            let (prefix, path) = match entry.prefix() {
                Prefix::Keep => ("", path),
                Prefix::Strip => path.split_at(matched.len()),
            };
            Some(Destination { target: entry.upstream().target.clone(), path, prefix, entry: Some(entry) })
        }
        None => proxy.fallback.map(|target| Destination { target: target.into(), path, prefix: "", entry: None }),
    }
}

/// What the target gets of the visitor's belongings where there is a doorman; what the doorman says if it stays out.
fn enter<'a>(
    client: &'a Client,
    request: &'a RequestHead,
    upgrade: bool,
    to: &'a Destination<'_>,
) -> Result<Option<Luggage<'a>>, Box<Response<Body>>> {
    let proxy = &client.lane.proxy;
    match (&proxy.doorman, &to.entry) {
        (Some(doorman), Some(entry)) => {
            let (by, now_ms) = (client.forwarded(), proxy.clock.now_ms());
            doorman.meet(&Asking { request, upgrade, entry, by, now_ms, page: proxy.fallback.is_some() }).map(Some)
        }
        (None, _) | (_, None) => Ok(None),
    }
}

fn stay(proxy: &Proxy, to: &Destination<'_>, luggage: &mut Luggage<'_>) -> Option<Stay> {
    let doorman = Arc::clone(proxy.doorman.as_ref()?);
    let gate = Arc::clone(to.entry.as_ref()?.gate()?);
    Some(Stay { doorman, gate, proofs: std::mem::take(&mut luggage.proofs), clock: proxy.clock.clone() })
}

/// The name that the client asked for, without the port.
fn host_of(request: &RequestHead) -> &str {
    let named = request.fields.get("host").and_then(|host| std::str::from_utf8(host).ok());
    let host = named.or(request.uri.authority().map(Authority::as_str)).unwrap_or_default();
    // An IPv6 address has colons of its own.
    let end = host.rfind(']').map_or(0, |end| end + 1);
    host[end..].find(':').map_or(host, |colon| &host[..end + colon])
}

/// What is to be asked of whom.
#[derive(Debug)]
struct Request<'a> {
    head: &'a RequestHead,
    vetted: &'a Vetted,
    sent: Sent,
    to: &'a Destination<'a>,
    luggage: Option<&'a Luggage<'a>>,
}

/// Why there is no answer of the target.
enum Lost {
    Gone,
    For(Refusal),
}

async fn forward(
    client: &Client,
    request: &Request<'_>,
    change: &mut Option<Change>,
    source: &mut Source<'_>,
) -> Result<Reply, Lost> {
    let (lane, to) = (&client.lane, request.to);
    let pooled = lane.pool.take(&to.target, lane.proxy.clock.now_ms());
    // A pooled connection may have been closed by its target just now: ask once more if that can do no harm.
    let again = pooled.is_some() && request.head.method.is_idempotent() && source.is_read();
    let link = match pooled {
        Some(link) => link,
        // Boxed, as it is rare and its future is long.
        None => Box::pin(open(client, to)).await?,
    };
    let meter = meter(client, to);
    let mut exchange = begin(client, request, change.as_ref(), source, link);
    let answer = match ask(client, &mut exchange, source).await {
        Err(Failure::Ended { silent: true, .. }) if again => {
            exchange.go_over(Box::pin(open(client, to)).await?);
            Box::pin(ask(client, &mut exchange, source)).await
        }
        first => first,
    };
    let mut answer = answer.map_err(|failure| lost(&failure, to))?;
    if let Some(upstream) = to.entry.as_ref().map(|entry| entry.upstream()) {
        let manner = &lane.proxy.manner;
        if manner.guards_cookie {
            outgoing::drop_own_cookies(&mut answer.fields);
        }
        if let Some(relocation) = manner.relocation {
            relocation.apply(answer.status, &mut answer.fields, &request.head.fields, upstream);
        }
    }
    Ok(respond(client, answer, exchange, meter, change.take(), &to.target))
}

fn meter(client: &Client, to: &Destination<'_>) -> Meter {
    let activity = to.entry.as_ref().map(|entry| Arc::clone(entry.activity()));
    Meter { activity, clock: client.lane.proxy.clock.clone() }
}

/// The exchange that asks the target over this connection.
fn begin(
    client: &Client,
    request: &Request<'_>,
    change: Option<&Change>,
    source: &Source<'_>,
    mut link: Link,
) -> Exchange {
    let (lane, &Request { head: asked, vetted, sent, to, luggage }) = (&client.lane, request);
    let payload = (!source.is_read()).then(|| Payload {
        chunked: sent == Sent::Chunked,
        meter: meter(client, to),
        patience: Patience::new(lane.proxy.settings.body_timeout),
    });
    let upstream = to.entry.as_ref().map(|entry| entry.upstream());
    let head = Head {
        request: asked,
        base: upstream.map_or("", |upstream| &upstream.base),
        path: to.path,
        prefix: to.prefix,
        sent,
        connection: &vetted.connection,
        upgrade: change.map(|change| &*change.protocol),
        forwarded: client.forwarded(),
        own: upstream.is_none(),
        luggage,
        asked: asked.uri.authority().map_or("localhost", Authority::as_str),
        target: upstream.map_or("localhost", |upstream| &upstream.authority),
        manner: &lane.proxy.manner,
    };
    head.write(&mut link.head);
    Exchange::new(link, payload, Asked { head_only: asked.method == Method::HEAD, upgrade: change.is_some() })
}

async fn ask(client: &Client, exchange: &mut Exchange, source: &mut Source<'_>) -> Result<Answer, Failure> {
    match client.lane.proxy.settings.answer_timeout {
        Some(limit) => tokio::time::timeout(limit, exchange.answer(source)).await.unwrap_or(Err(Failure::Silent)),
        None => exchange.answer(source).await,
    }
}

fn lost(failure: &Failure, to: &Destination<'_>) -> Lost {
    Lost::For(match failure {
        Failure::Unread(Unread::Gone) => return Lost::Gone,
        Failure::Unread(Unread::Malformed) => UNREAD,
        Failure::Slow => PAUSED,
        Failure::Silent => SILENT,
        Failure::Ended { silent: true, .. } => to.away(),
        Failure::Ended { silent: false, .. } | Failure::Malformed(_) => {
            tracing::warn!(error = failure as &dyn std::error::Error, "a target's answer is unusable");
            GARBLED
        }
    })
}

async fn open(client: &Client, to: &Destination<'_>) -> Result<Link, Lost> {
    let proxy = &client.lane.proxy;
    let opened = Link::open(&to.target, proxy.client_tls.as_deref(), &proxy.settings).await;
    opened.map_err(|error| {
        tracing::debug!(target = ?to.target, %error, "a target does not accept a connection");
        count(&client.lane.counters.connect_failures);
        Lost::For(to.away())
    })
}

fn respond(
    client: &Client,
    answer: Answer,
    mut exchange: Exchange,
    meter: Meter,
    change: Option<Change>,
    target: &Target,
) -> Reply {
    let lane = &client.lane;
    let counts = answer.status.is_success();
    let rest = match answer.framing {
        Framing::Upgrade => {
            let body = change.map_or_else(Body::default, |Change { protocol, stay }| {
                let watch = Watch::new(&lane.proxy.settings, &protocol);
                Body::tunnel(Tunnel { target: exchange.into_link(), meter, watch, stay })
            });
            return built(answer, body);
        }
        Framing::Empty => Rest::Length(0),
        Framing::Length(length) => Rest::Length(length),
        Framing::Chunked => Rest::Chunked(Chunked::default()),
        Framing::Close => Rest::Close,
    };
    // Most answers came whole with their head: then the connection is free before they are sent on.
    let whole = match rest {
        Rest::Length(length) => usize::try_from(length).ok().filter(|&length| length <= exchange.link.input.len()),
        Rest::Chunked(_) | Rest::Close => None,
    };
    if let Some(length) = whole {
        let body = exchange.link.input.split_to(length).freeze();
        if counts {
            meter.touch();
        }
        if let Some(link) = exchange.finish().filter(|_| answer.reusable) {
            lane.pool.put(target, link, lane.proxy.clock.now_ms());
        }
        return built(answer, Body::whole(body));
    }
    let reusable = answer.reusable;
    let stream = Stream {
        exchange: Some(exchange),
        rest,
        reusable,
        target: target.clone(),
        lane: Arc::clone(lane),
        failed: None,
        meter: counts.then_some(meter),
    };
    built(answer, Body::stream(stream))
}

fn built(answer: Answer, body: Body) -> Reply {
    Reply { status: answer.status, fields: answer.fields, body }
}
