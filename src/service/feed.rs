//! Hands new events to everyone of this process who shows them live, with one reader of the log for all.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use super::follow::Follower;
use crate::error_chain::chain;
use crate::store::events::Recorded;
use crate::store::{Store, StoreError};

/// Events kept for a slow listener; one that falls further behind reads the log itself.
const KEPT: usize = 4096;

/// A source of new events for any number of listeners.
#[derive(Debug, Clone)]
pub struct Feed {
    sender: broadcast::Sender<Arc<Recorded>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { sender: broadcast::channel(KEPT).0 }
    }
}

impl Feed {
    /// Every event recorded after this call, and maybe a few before.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Recorded>> {
        self.sender.subscribe()
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
