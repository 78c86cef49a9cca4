//! Wake-ups between processes: NOTIFY as a hint, polling as the truth.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Store, StoreError};

const CHANNEL: &str = "slipway";
/// The least time between two notifications of one process. A NOTIFY makes commits of the whole
/// server wait for each other, so there is one for many appends, and none within an append.
const GAP: Duration = Duration::from_millis(10);
/// How long a lost notification can go unnoticed.
pub const POLL: Duration = Duration::from_secs(1);

/// Tells the other processes that this one has appended. Runs until it is dropped.
pub async fn announce(store: Store) {
    loop {
        store.appended.notified().await;
        let told = sqlx::query!("SELECT pg_notify($1, '')", CHANNEL).execute(&store.pool).await;
        if let Err(error) = told {
            tracing::warn!(%error, "cannot notify; the others will find out by polling");
        }
        sleep(GAP).await;
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
    if let Ok(Err(_closed)) = timeout(POLL, bell.changed()).await {
        sleep(POLL).await;
    }
}
