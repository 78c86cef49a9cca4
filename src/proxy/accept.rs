//! Takes connections, and lets them finish when the proxy stops.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Proxy;
use super::connection::{self, Lane};
use super::upstream::Pool;

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
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Without it small answers wait for the client's acknowledgement; it is no reason to hang up.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "no TCP_NODELAY");
                    }
                    tasks.spawn(connection::drive(stream, peer, Arc::clone(&lane)));
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

/// A connection that failed before it was accepted is the client's affair; anything else (no descriptor
/// or memory left) passes when others finish.
pub(super) async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(BREATH).await;
    }
}
