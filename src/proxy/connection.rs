//! One connection from a client, from its first byte to its last answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::upgrade::Tunnel;
use super::upstream::Pool;
use super::{Clock, Proxy, forward, forwarded};

/// What the connections of one listener share.
#[derive(Debug)]
pub(super) struct Lane {
    pub proxy: Arc<Proxy>,
    pub pool: Pool,
    /// True once the proxy is to stop.
    pub stopping: watch::Receiver<bool>,
}

/// Since when a connection waits for a request. Kept by hand, as a timer set anew for each request
/// would cost more than routing it.
#[derive(Debug)]
pub(super) struct Pulse {
    resting_since: AtomicI64,
    clock: Clock,
}

const BUSY: i64 = i64::MAX;

impl Pulse {
    fn new(clock: Clock) -> Self {
        Self { resting_since: AtomicI64::new(clock.now_ms()), clock }
    }

    fn work(&self) {
        self.resting_since.store(BUSY, Ordering::Relaxed);
    }

    pub(super) fn rest(&self) {
        self.resting_since.store(self.clock.now_ms(), Ordering::Relaxed);
    }

    /// How much longer it may rest; nothing if it has rested for `limit`.
    fn patience(&self, limit: Duration) -> Option<Duration> {
        let since = self.resting_since.load(Ordering::Relaxed);
        if since == BUSY {
            return Some(limit);
        }
        let rested = u64::try_from(self.clock.now_ms() - since).unwrap_or(0);
        limit.checked_sub(Duration::from_millis(rested)).filter(|left| !left.is_zero())
    }
}

/// Who sent a request, and over what.
#[derive(Debug)]
pub(super) struct Client {
    pub lane: Arc<Lane>,
    /// The peer's address as text, and whether its `X-Forwarded-*` are believed.
    pub address: Box<str>,
    pub trusted: bool,
    pulse: Arc<Pulse>,
    tunnel: Mutex<Option<Tunnel>>,
}

impl Client {
    fn new(lane: &Arc<Lane>, peer: SocketAddr) -> Self {
        let ip = peer.ip().to_canonical();
        Self {
            lane: Arc::clone(lane),
            address: ip.to_string().into(),
            trusted: forwarded::trusts(&lane.proxy.settings.trusted, ip),
            pulse: Arc::new(Pulse::new(lane.proxy.clock.clone())),
            tunnel: Mutex::default(),
        }
    }

    /// Opens a tunnel as soon as the answer that agrees to it is sent.
    pub(super) fn tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }
}

pub(super) async fn drive(stream: TcpStream, peer: SocketAddr, lane: Arc<Lane>) {
    let settings = &lane.proxy.settings;
    let client = Arc::new(Client::new(&lane, peer));
    let service = service_fn(|request| {
        client.pulse.work();
        let client = Arc::clone(&client);
        async move {
            let answer = forward::answer(&client, request).await;
            Ok::<_, Infallible>(answer.map(|body| body.on(Arc::clone(&client.pulse))))
        }
    });
    let mut builder = http1::Builder::new();
    // Written in one piece: copying a small body costs less than handing the kernel two parts (2.5% of a
    // request of 1 KB), and a long one streams in pieces of which the copy is a tenth of the cost.
    builder.max_buf_size(settings.max_head.max(8192)).max_header_size(settings.max_head).writev(false);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut stopping = lane.stopping.clone();
    let mut draining = false;
    let mut patience = pin!(tokio::time::sleep(settings.head_timeout));
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a client's connection ended early");
                }
                break;
            }
            () = &mut patience => match client.pulse.patience(settings.head_timeout) {
                Some(left) => patience.as_mut().reset(tokio::time::Instant::now() + left),
                None => return,
            },
            _ = stopping.wait_for(|stop| *stop), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
    let tunnel = client.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(tunnel) = tunnel
        && let Err(error) = tunnel.run().await
    {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a tunnel ended early");
    }
}
