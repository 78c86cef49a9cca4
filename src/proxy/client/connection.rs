//! One connection from a client, from its first byte to its last answer.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::Instant;

use super::front::{Front, Io};
use super::http2;
use super::pulse::Pulse;
use crate::domain::cidr;
use crate::proxy::door::doorman::Unwelcome;
use crate::proxy::door::stay;
use crate::proxy::listen::census::{Full, Most, Seat};
use crate::proxy::listen::listener::Accepted;
use crate::proxy::request::forwarded;
use crate::proxy::request::order::Order;
use crate::proxy::telemetry::account::Account;
use crate::proxy::telemetry::counters::{Counters, Live};
use crate::proxy::tunnel::upgrade::Tunnel;
use crate::proxy::upstream::Pool;
use crate::proxy::{Body, Proxy, Scheme, forward};

/// What the connections of one listener share.
#[derive(Debug)]
pub(crate) struct Lane {
    pub proxy: Arc<Proxy>,
    pub pool: Pool,
    pub counters: Arc<Counters>,
    /// Every answer is the last on its connection: the client's next request goes to whoever listens then.
    pub leaving: AtomicBool,
    pub stage: watch::Receiver<Stage>,
}

/// What has ended already while the proxy drains.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stage {
    /// Connections on which nothing is asked.
    pub idle: bool,
    pub requests: bool,
    pub tunnels: bool,
}

impl Lane {
    /// A place for one more connection of this peer.
    pub(crate) fn admit(&self, peer: IpAddr) -> Result<Seat, Full> {
        let settings = &self.proxy.settings;
        let counted = !cidr::holds(&settings.trusted, peer);
        let of_client = settings.connections_per_client.filter(|_| counted);
        self.proxy.census.admit(peer, Most { of_client, of_all: settings.max_connections })
    }
}

/// Who sent a request, and over what.
#[derive(Debug)]
pub(crate) struct Client {
    pub lane: Arc<Lane>,
    /// The peer's address as text, and whether its `X-Forwarded-*` are believed.
    pub address: Box<str>,
    pub trusted: bool,
    /// How it reached this proxy, or what stands in front.
    pub scheme: Scheme,
    pub pulse: Arc<Pulse>,
    tunnel: Mutex<Option<Tunnel>>,
}

impl Client {
    fn new(lane: &Arc<Lane>, peer: SocketAddr) -> Self {
        let ip = peer.ip().to_canonical();
        Self {
            lane: Arc::clone(lane),
            address: ip.to_string().into(),
            trusted: cidr::holds(&lane.proxy.settings.trusted, ip),
            scheme: if lane.proxy.tls.is_some() { Scheme::Https } else { lane.proxy.settings.scheme },
            pulse: Arc::new(Pulse::new(lane.proxy.clock.clone())),
            tunnel: Mutex::default(),
        }
    }

    pub(crate) fn forwarded(&self) -> forwarded::By<'_> {
        forwarded::By { scheme: self.scheme, trusted: self.trusted, peer: &self.address }
    }

    /// Opens a tunnel as soon as the answer that agrees to it is sent.
    pub(crate) fn tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }
}

/// Serves what comes on the connection until both sides have done with it.
pub(crate) async fn drive(stream: Accepted, peer: SocketAddr, lane: Arc<Lane>, _seat: Seat) {
    let settings = &lane.proxy.settings;
    let _live = Live::of(&lane.counters.connections);
    let io = match (stream, &lane.proxy.tls) {
        // Nobody listens in between.
        (Accepted::Socket(stream), _) => Io::Socket(stream),
        (Accepted::Tcp(stream), None) => Io::Plain(stream),
        (Accepted::Tcp(stream), Some(tls)) => {
            match tokio::time::timeout(settings.handshake_timeout, Box::pin(tls.accept(stream))).await {
                Ok(Ok(stream)) => Io::Tls(Box::new(stream)),
                Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS handshake"),
                Err(_) => return tracing::debug!(%peer, "the TLS handshake takes too long"),
            }
        }
    };
    let client = Arc::new(Client::new(&lane, peer));
    if io.speaks_http2() {
        return Box::pin(http2::drive(io, peer, &client)).await;
    }
    // Boxed, all of them, so that a tunnel does not go on holding the room that HTTP took.
    if let Some(mut tunnel) = Box::pin(http1(io, peer, &client)).await {
        let _live = Live::of(&lane.counters.tunnels);
        let mut stage = lane.stage.clone();
        let stay = tunnel.stay.take();
        tokio::select! {
            Unwelcome = stay::over(stay) => {
                tracing::debug!(%peer, "a tunnel's guest may not stay");
            }
            ended = tunnel.run() => if let Err(error) = ended {
                tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a tunnel ended early");
            },
            _ = stage.wait_for(|stage| stage.tunnels) => {}
        }
    }
}

/// Serves HTTP/1.1; the tunnel that it led to, if any. What hyper keeps of a connection is gone then.
async fn http1(io: Io, peer: SocketAddr, client: &Arc<Client>) -> Option<Tunnel> {
    let settings = &client.lane.proxy.settings;
    let service = service_fn(|request| respond(client, request));
    let mut builder = http1::Builder::new();
    // In parts, which `Front` puts together where that costs less than handing them over.
    builder.max_buf_size(settings.max_head.max(8192)).max_header_size(settings.max_head).writev(true);
    let front = TokioIo::new(Front::http1(io, Arc::clone(&client.pulse)));
    let connection = pin!(builder.serve_connection(front, service).with_upgrades());
    match until_over(connection, client, peer).await {
        Ending::Itself => client.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take(),
        Ending::Forced => None,
    }
}

/// Answers one request and accounts for it, from now on until the answer is sent or given up.
pub(crate) fn respond(
    client: &Arc<Client>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<> {
    let mut account = Account::open(client, &request);
    let client = Arc::clone(client);
    let version = request.version();
    // The frames of HTTP/2 leave no doubt.
    let clear = version >= Version::HTTP_2 || account.clear;
    // Borrowed below where it is: hyper moves the future, and awaiting by value would make it twice as long.
    let mut order = Order::read(request, clear, client.lane.proxy.settings.max_target);
    async move {
        let mut answer = match &mut order {
            Ok(order) => forward::answer(&client, order).await,
            Err(refused) => std::mem::take(&mut **refused),
        };
        account.answered(answer.status());
        let leaving = client.lane.leaving.load(Ordering::Relaxed);
        if leaving && version < Version::HTTP_2 && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(answer.map(|body| body.on(account)))
    }
}

/// A connection that hyper serves.
pub(crate) trait Served: Future<Output = hyper::Result<()>> {
    /// Lets what is under way finish, and takes no more.
    fn drain(self: Pin<&mut Self>);
    /// Whether an idle client is told that the connection ends.
    const SAYS_GOODBYE: bool;
}

impl<S> Served for http1::UpgradeableConnection<TokioIo<Front>, S>
where
    S: HttpService<Incoming, ResBody = Body, Future: Send, Error = Infallible>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    const SAYS_GOODBYE: bool = false;
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Itself,
    /// The proxy's patience with the client was used up, or the time to drain.
    Forced,
}

/// Until the connection is over, or its client does nothing any more.
pub(crate) async fn until_over<C: Served>(
    mut connection: Pin<&mut C>,
    client: &Client,
    peer: SocketAddr,
) -> Ending {
    let settings = &client.lane.proxy.settings;
    let (rest, stuck) = (settings.head_timeout, settings.write_timeout);
    let mut stage = client.lane.stage.clone();
    let mut draining = false;
    let mut patience = pin!(tokio::time::sleep(rest.min(stuck)));
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a client's connection ended early");
                }
                return Ending::Itself;
            }
            () = &mut patience => match client.pulse.patience(rest, stuck) {
                Some(left) => patience.as_mut().reset(Instant::now() + left),
                None if C::SAYS_GOODBYE && !draining => {
                    draining = true;
                    connection.as_mut().drain();
                    patience.as_mut().reset(Instant::now() + rest);
                }
                None => return Ending::Forced,
            },
            _ = stage.wait_for(|stage| if draining { stage.requests } else { stage.idle }) => {
                if std::mem::replace(&mut draining, true) {
                    tracing::debug!(%peer, "what is under way is not finished in time");
                    return Ending::Forced;
                }
                connection.as_mut().drain();
            }
        }
    }
}
