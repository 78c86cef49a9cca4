//! What is kept of people and for how long: who was forgotten, and old addresses.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::sleep;

use crate::domain::Subject;
use crate::error_chain::chain;
use crate::store::{Store, StoreError};

/// How often a process reads who was forgotten.
const LEARN: Duration = Duration::from_millis(500);
/// How often old addresses are removed.
const PRUNE: Duration = Duration::from_secs(3_600);

/// Whose cookies count no more, as a process knows it, so that no request has to ask.
#[derive(Debug, Clone, Default)]
pub struct Forgotten(Arc<ArcSwap<HashSet<Subject>>>);

impl Forgotten {
    pub fn holds(&self, subject: &Subject) -> bool {
        self.0.load().contains(subject)
    }

    /// Reads them anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn learn(&self, store: &Store) -> Result<(), StoreError> {
        let subjects: HashSet<Subject> = store.forgotten().await?.into_iter().collect();
        if **self.0.load() != subjects {
            self.0.store(subjects.into());
        }
        Ok(())
    }

    /// Reads them again and again, until it is dropped.
    pub async fn learn_on(&self, store: &Store) -> Infallible {
        loop {
            if let Err(error) = self.learn(store).await {
                tracing::warn!(error = %chain(&error), "cannot read who was forgotten; trying again");
            }
            sleep(LEARN).await;
        }
    }
}

/// Removes addresses that were kept for long enough, until it is dropped.
pub async fn prune_on(store: &Store, keep: Duration) -> Infallible {
    loop {
        if let Err(error) = store.prune_origins(keep).await {
            tracing::warn!(error = %chain(&error), "cannot forget old addresses; trying again in an hour");
        }
        sleep(PRUNE).await;
    }
}
