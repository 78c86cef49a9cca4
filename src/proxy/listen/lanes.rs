//! Threads that serve: each accepts for itself and keeps to itself what it has accepted, so that none waits for another.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::proxy::{Proxy, serve};

/// Serves on so many threads until `stop` is true (or nobody is left to set it) and what is under way has ended or
/// is cut. All accept from the one listener.
///
/// # Errors
/// When a thread cannot be started; those that were are told to stop.
pub async fn serve_on_threads(
    threads: usize,
    listener: std::net::TcpListener,
    proxy: Arc<Proxy>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    // Dropped with this future: then the threads stop as well.
    let (_cancel, cancelled) = watch::channel(());
    let mut ends = Vec::new();
    for number in 0..threads.max(1) {
        let listener = listener.try_clone()?;
        let (proxy, mut stop, mut cancelled) = (Arc::clone(&proxy), stop.clone(), cancelled.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        ends.push(ended);
        std::thread::Builder::new().name(format!("proxy-{number}")).spawn(move || {
            let outcome = runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                let told = async {
                    tokio::select! {
                        _ = stop.wait_for(|stop| *stop) => {}
                        _ = cancelled.changed() => {}
                    }
                };
                serve(listener, proxy, told).await;
                Ok(())
            });
            // Nobody waits for it any more where the whole was given up.
            let _ = end.send(outcome);
        })?;
    }
    // The threads have the listener's copies; with the last of them it closes.
    drop(listener);
    for ended in ends {
        ended.await.unwrap_or_else(|_| Err(io::Error::other("a thread that serves has panicked")))?;
    }
    Ok(())
}
