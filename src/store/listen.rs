//! Wake-ups between processes: NOTIFY as a hint, polling as the truth.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Store, StoreError};
use crate::error_chain::chain;

pub(super) const CHANNEL: &str = "slipway";
/// How long a lost notification can go unnoticed.
pub const POLL: Duration = Duration::from_secs(1);

/// Tells the other processes of what this one has appended and they were not told of. Runs until it is dropped.
pub async fn announce(store: Store) {
    loop {
        store.bell.due().await;
        if let Err(error) = store.notify().await {
            tracing::warn!(error = %chain(&error), "cannot notify; the others will find out by polling");
        }
    }
}

impl Store {
    /// Tells the other processes that something was appended.
    ///
    /// # Errors
    /// When the database does not answer. The others will find out by polling.
    pub async fn notify(&self) -> Result<(), StoreError> {
        // A hint need not be on disk, and to wait for that would take as long as what it tells of.
        sqlx::query!("SELECT pg_notify($1, '') FROM set_config('synchronous_commit', 'off', true)", CHANNEL)
            .execute(&self.pool)
            .await
            .map_err(StoreError::database("notify"))?;
        Ok(())
    }
}

/// Rings `bell` whenever somebody may have appended. Runs until it is dropped, whatever the
/// connection goes through.
pub async fn listen(store: Store, bell: watch::Sender<()>) {
    loop {
        if let Err(error) = hear(&store, &bell).await {
            tracing::warn!(%error, "lost the notifications; polling until they are back");
        }
        bell.send_replace(());
        sleep(POLL).await;
    }
}

async fn hear(store: &Store, bell: &watch::Sender<()>) -> Result<(), StoreError> {
    let doing = || StoreError::database("listen for notifications");
    let mut listener = PgListener::connect_with(&store.pool).await.map_err(doing())?;
    listener.listen(CHANNEL).await.map_err(doing())?;
    loop {
        // What was appended before we listened, or while the connection was away, has rung no bell.
        bell.send_replace(());
        while listener.try_recv().await.map_err(doing())?.is_some() {
            bell.send_replace(());
        }
    }
}

/// Waits for the bell, but no longer than the polling interval.
pub async fn wait(bell: &mut watch::Receiver<()>) {
    wait_at_most(POLL, bell).await;
}

/// Waits for the bell, but no longer than this; whether it rang.
pub async fn wait_at_most(limit: Duration, bell: &mut watch::Receiver<()>) -> bool {
    match timeout(limit, bell.changed()).await {
        Ok(Ok(())) => true,
        Ok(Err(_closed)) => {
            sleep(limit).await;
            false
        }
        Err(_elapsed) => false,
    }
}
