//! Wake-ups between processes: NOTIFY as a hint, polling as the truth.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Store, StoreError};
use crate::error_chain::chain;

const CHANNEL: &str = "slipway";
/// Commits with a NOTIFY wait for each other in the whole server, and each wakes everybody: so there is none within an
/// append, and one for many of them. A process that has been quiet may send so many at once, and then one in each gap.
const AT_ONCE: u32 = 16;
const GAP: Duration = Duration::from_millis(10);
/// How long a lost notification can go unnoticed.
pub const POLL: Duration = Duration::from_secs(1);

/// Tells the other processes that this one has appended. Runs until it is dropped.
pub async fn announce(store: Store) {
    let mut pace = Pace(Instant::now());
    loop {
        store.appended.notified().await;
        if let Err(error) = store.notify().await {
            tracing::warn!(error = %chain(&error), "cannot notify; the others will find out by polling");
        }
        sleep_until(pace.after(Instant::now())).await;
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

/// When the gaps of all that was sent are over.
struct Pace(Instant);

impl Pace {
    /// The earliest time for the next, after one that was sent now.
    fn after(&mut self, now: Instant) -> Instant {
        self.0 = self.0.max(now) + GAP;
        self.0.checked_sub(GAP * (AT_ONCE - 1)).unwrap_or(now).max(now)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_sent_at_once_and_then_one_in_each_gap() {
        let start = Instant::now();
        let mut pace = Pace(start);
        let mut now = start;
        let mut sent = vec![];
        for _ in 0..AT_ONCE + 3 {
            sent.push((now - start).as_millis());
            now = pace.after(now);
        }
        let (at_once, then) = sent.split_at(AT_ONCE as usize);
        assert_eq!((at_once, then), (&[0; AT_ONCE as usize][..], &[10, 20, 30][..]));
        now += GAP * 2;
        let next = [(); 3].map(|()| pace.after(now) - now);
        assert_eq!(next, [Duration::ZERO, Duration::ZERO, GAP], "what was not used is there again");
        let later = now + Duration::from_secs(60);
        let waits = (0..AT_ONCE).map(|_| pace.after(later) - later);
        assert_eq!(waits.max(), Some(GAP), "but no more than that");
    }
}
