//! One connection from a client, from its first byte to its last answer.

use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::watch;
use tokio::time::Instant;

use super::io::Io;
use super::pulse::Pulse;
use super::{http1, http2};
use crate::domain::cidr;
use crate::proxy::door::doorman::Unwelcome;
use crate::proxy::door::stay;
use crate::proxy::listen::census::{Full, Most, Seat};
use crate::proxy::listen::listener::Accepted;
use crate::proxy::request::forwarded;
use crate::proxy::telemetry::counters::{Counters, Live};
use crate::proxy::upstream::Pool;
use crate::proxy::{Proxy, Scheme};

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
        }
    }

    pub(crate) fn forwarded(&self) -> forwarded::By<'_> {
        forwarded::By { scheme: self.scheme, trusted: self.trusted, peer: &self.address }
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
    // Boxed, so that a tunnel does not go on holding the room that HTTP took.
    let served = Box::pin(async {
        let ending = Ending { drain: |_: Pin<&mut _>| client.pulse.end(), says_goodbye: false };
        until_over(pin!(http1::serve(io, &client)), &client, peer, ending).await.flatten()
    });
    if let Some(http1::Changed { io, read, mut tunnel }) = served.await {
        let _live = Live::of(&lane.counters.tunnels);
        let mut stage = lane.stage.clone();
        let stay = tunnel.stay.take();
        tokio::select! {
            Unwelcome = stay::over(stay) => {
                tracing::debug!(%peer, "a tunnel's guest may not stay");
            }
            ended = tunnel.run(io, read) => if let Err(error) = ended {
                tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a tunnel ended early");
            },
            _ = stage.wait_for(|stage| stage.tunnels) => {}
        }
    }
}

/// How a connection is ended on which more could be asked.
pub(crate) struct Ending<F> {
    /// Lets what is under way finish, and takes no more.
    pub drain: F,
    /// Whether an idle client is told that the connection ends.
    pub says_goodbye: bool,
}

/// Until the connection is over; nothing if its client does nothing any more, or does not end in time.
pub(crate) async fn until_over<C: Future>(
    mut connection: Pin<&mut C>,
    client: &Client,
    peer: SocketAddr,
    mut ending: Ending<impl FnMut(Pin<&mut C>)>,
) -> Option<C::Output> {
    let settings = &client.lane.proxy.settings;
    let (rest, stuck) = (settings.head_timeout, settings.write_timeout);
    let mut stage = client.lane.stage.clone();
    let mut draining = false;
    let mut patience = pin!(tokio::time::sleep(rest.min(stuck)));
    loop {
        tokio::select! {
            biased;
            output = &mut connection => return Some(output),
            () = &mut patience => match client.pulse.patience(rest, stuck) {
                Some(left) => patience.as_mut().reset(Instant::now() + left),
                None if ending.says_goodbye && !draining => {
                    draining = true;
                    (ending.drain)(connection.as_mut());
                    patience.as_mut().reset(Instant::now() + rest);
                }
                None => return None,
            },
            _ = stage.wait_for(|stage| if draining { stage.requests } else { stage.idle }) => {
                if std::mem::replace(&mut draining, true) {
                    tracing::debug!(%peer, "what is under way is not finished in time");
                    return None;
                }
                (ending.drain)(connection.as_mut());
            }
        }
    }
}
