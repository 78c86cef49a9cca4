//! SIGINT and SIGTERM, as a value that tasks can watch.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Becomes true at the first SIGINT or SIGTERM. A second one ends the process at once, with code 130.
///
/// # Errors
/// When the handlers cannot be set.
pub fn on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.send_replace(true) {
                tracing::warn!("told twice to stop: leaving at once");
                std::process::exit(130);
            }
        }
    });
    Ok(stopped)
}

/// Resolves when `stop` becomes true, or when nobody is left who could set it.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
