//! Takes connections, and lets them finish when the proxy stops.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::census::Full;
use super::listener::{Accepted, Listener};
use super::{place, sockets};
use crate::proxy::Proxy;
use crate::proxy::client::connection::{self, Lane, Stage};
use crate::proxy::telemetry::counters::count;
use crate::proxy::upstream::Pool;

/// How long to wait for a free file descriptor before the next try to accept.
const BREATH: Duration = Duration::from_millis(50);
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How long a listener that is left still takes connections whose handshake had begun. Less than the second after
/// which a client's kernel repeats what was dropped meanwhile.
const LINGER: Duration = Duration::from_millis(250);
/// How long a connection may still begin a request after the stop, which is answered and told to be the last: a
/// client that is about to ask would lose its request if the connection closed at once.
const LAST_ORDERS: Duration = Duration::from_secs(1);

/// Serves what the listener accepts until `shutdown` resolves. Then requests under way get `settings.drain` to
/// finish in, and tunnels `settings.drain_tunnels`; what is left after that is cut. Several listeners, each on a
/// thread of its own, may serve the same proxy; each keeps its own connections to the targets.
pub async fn serve(listener: impl Into<Listener>, proxy: Arc<Proxy>, shutdown: impl Future<Output = ()>) {
    let listener = listener.into();
    let (end, stage) = watch::channel(Stage::default());
    let counters = proxy.stats.open();
    let lane = Arc::new(Lane {
        pool: Pool::new(&proxy.settings, Arc::clone(&counters)),
        counters,
        leaving: AtomicBool::new(false),
        proxy,
        stage,
    });
    let settings = &lane.proxy.settings;
    if let Listener::Tcp(listener) = &listener
        && let Err(error) = sockets::keep_alive(listener, settings.keepalive, settings.write_timeout)
    {
        tracing::warn!(%error, "clients that are gone will be found late: no TCP keepalive");
    }
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => begin(&mut tasks, accepted, &lane),
                Err(error) => pause_after(&error).await,
            },
            Some(_) = tasks.join_next() => {}
            _ = sweep.tick() => lane.pool.sweep(lane.proxy.clock.now_ms()),
            () = &mut shutdown => break,
        }
    }
    let told = Instant::now();
    lane.leaving.store(true, Ordering::Relaxed);
    leave(listener, &mut tasks, &lane).await;
    drain(tasks, &lane, &end, told).await;
}

fn begin(tasks: &mut JoinSet<()>, (stream, peer): (Accepted, SocketAddr), lane: &Arc<Lane>) {
    count(&lane.counters.accepted);
    let seat = match lane.admit(peer.ip()) {
        Ok(seat) => seat,
        Err(full) => return turn_away(&stream, full, lane),
    };
    tasks.spawn(connection::drive(stream, peer, Arc::clone(lane), seat));
}

/// Closes the listener once nobody waits at it any more.
async fn leave(listener: Listener, tasks: &mut JoinSet<()>, lane: &Arc<Lane>) {
    if let Listener::Tcp(listener) = &listener
        && let Err(error) = place::take_no_more(listener)
    {
        tracing::warn!(%error, "a connection that begins just now may be reset: the kernel takes no socket filter");
    }
    let mut over = pin!(tokio::time::sleep(LINGER));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => begin(tasks, accepted, lane),
                Err(error) => pause_after(&error).await,
            },
            Some(_) = tasks.join_next() => {}
            () = &mut over => break,
        }
    }
    while let Some(Ok(accepted)) = listener.accept().now_or_never() {
        begin(tasks, accepted, lane);
    }
}

/// Waits for what is under way, and ends each kind when its time is over.
async fn drain(mut tasks: JoinSet<()>, lane: &Lane, end: &watch::Sender<Stage>, told: Instant) {
    let settings = &lane.proxy.settings;
    let step = async |after: Duration, step: fn(&mut Stage)| {
        tokio::time::sleep_until(told + after).await;
        end.send_modify(step);
    };
    let steps = async {
        tokio::join!(
            step(LAST_ORDERS.min(settings.drain), |stage| stage.idle = true),
            step(settings.drain, |stage| stage.requests = true),
            step(settings.drain_tunnels, |stage| stage.tunnels = true),
        )
    };
    let finished = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        () = finished => return,
        _ = steps => {}
    }
    // They were told to end, and do as soon as they run.
    if tokio::time::timeout(BREATH, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
        tracing::info!(left = tasks.len(), "the time to drain is over: connections are cut");
        tasks.shutdown().await;
    }
}

/// Says so to the client, as far as that goes without waiting for it.
fn turn_away(stream: &Accepted, full: Full, lane: &Lane) {
    let (status, why) = match full {
        Full::Client => ("429 Too Many Requests", "Too many connections are open from this address.\n"),
        Full::All => ("503 Service Unavailable", "Too many connections are open.\n"),
    };
    if lane.proxy.census.tells(lane.proxy.clock.now_ms()) {
        tracing::warn!(status, "clients are turned away: {}", why.trim_end());
    }
    if lane.proxy.tls.is_none() {
        let length = why.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\nretry-after: 3\r\ncontent-type: text/plain\r\n\
             content-length: {length}\r\n\r\n{why}"
        );
        // Whoever does not get it is turned away all the same.
        let _ = stream.try_write(answer.as_bytes());
    }
}

/// A connection that failed before it was accepted is the client's affair; anything else (no descriptor
/// or memory left) passes when others finish.
pub(crate) async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(BREATH).await;
    }
}
