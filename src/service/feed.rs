//! Hands new events to everyone of this process who shows them live, with one reader of the log for all.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use super::follow::Follower;
use crate::error_chain::chain;
use crate::store::events::{Behind, Position, Recorded};
use crate::store::{Store, StoreError};

/// Events kept for a slow listener; one that falls further behind reads the log itself.
const KEPT: usize = 4096;

/// A source of new events for any number of listeners.
#[derive(Debug, Clone)]
pub struct Feed {
    sender: broadcast::Sender<Arc<Recorded>>,
    /// All before it was handed out; nothing before the log was first read.
    position: watch::Sender<Option<Position>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { sender: broadcast::channel(KEPT).0, position: watch::Sender::new(None) }
    }
}

impl Feed {
    /// Every event recorded after this call, and maybe a few before.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Recorded>> {
        self.sender.subscribe()
    }

    /// That of the log when it was last read; none before that.
    pub fn epoch(&self) -> Option<i16> {
        self.position.borrow().map(|position| position.epoch())
    }

    /// How far the log has gone on past what was handed out; nothing is known of that before it was first read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn behind(&self, store: &Store) -> Result<Option<Behind>, StoreError> {
        let position = *self.position.borrow();
        match position {
            Some(position) => store.behind(position).await.map(Some),
            None => Ok(None),
        }
    }

    /// Fills the feed from the log. Runs until it is dropped.
    ///
    /// What this build cannot read is left out, so that those who watch other clusters miss nothing.
    ///
    /// # Errors
    /// When the log is damaged.
    pub async fn run(
        &self,
        store: &Store,
        bell: watch::Receiver<()>,
    ) -> Result<std::convert::Infallible, StoreError> {
        let position = store.horizon().await?;
        let mut log = Follower::new(store, bell, position);
        loop {
            self.position.send_replace(Some(log.position()));
            let batch = log.next().await?;
            for error in batch.unreadable {
                tracing::error!(error = %chain(&error), "an event is shown to nobody");
            }
            for recorded in batch.recorded {
                // No listener is no error.
                let _ = self.sender.send(Arc::new(recorded));
            }
        }
    }
}
