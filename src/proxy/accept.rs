//! Takes connections, and lets them finish when the proxy stops.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::census::Full;
use super::connection::{self, Lane};
use super::upstream::Pool;
use super::{Proxy, sockets};

/// How long to wait for a free file descriptor before the next try to accept.
const BREATH: Duration = Duration::from_millis(50);
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Serves what the listener accepts until `shutdown` resolves, then lets requests and tunnels under way
/// finish for at most `settings.drain`. Several listeners, each on a thread of its own, may serve the same
/// proxy; each keeps its own connections to the targets.
pub async fn serve(listener: TcpListener, proxy: Arc<Proxy>, shutdown: impl Future<Output = ()>) {
    let (stop, stopping) = watch::channel(false);
    let drain = proxy.settings.drain;
    let lane = Arc::new(Lane { pool: Pool::new(&proxy.settings), proxy, stopping });
    let settings = &lane.proxy.settings;
    if let Err(error) = sockets::keep_alive(&listener, settings.keepalive, settings.write_timeout) {
        tracing::warn!(%error, "clients that are gone will be found late: no TCP keepalive");
    }
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let seat = match lane.admit(peer.ip()) {
                        Ok(seat) => seat,
                        Err(full) => {
                            turn_away(&stream, full, &lane);
                            continue;
                        }
                    };
                    // Without it small answers wait for the client's acknowledgement; it is no reason to hang up.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "no TCP_NODELAY");
                    }
                    tasks.spawn(connection::drive(stream, peer, Arc::clone(&lane), seat));
                }
                Err(error) => pause_after(&error).await,
            },
            Some(_) = tasks.join_next() => {}
            _ = sweep.tick() => lane.pool.sweep(lane.proxy.clock.now_ms()),
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    stop.send_replace(true);
    let finished = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, finished).await.is_err() {
        tracing::info!(left = tasks.len(), "the drain deadline passed: connections are cut");
        tasks.shutdown().await;
    }
}

/// Says so to the client, as far as that goes without waiting for it.
fn turn_away(stream: &TcpStream, full: Full, lane: &Lane) {
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
pub(super) async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(BREATH).await;
    }
}
