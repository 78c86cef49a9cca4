//! When routes were last used: written down in batches, and learnt from the other replicas.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::sleep;

use super::Endless;
use crate::clock::Clock;
use crate::error_chain::chain;
use crate::parts::unwritten::Unwritten;
use crate::proxy::{Routes, Standing};
use crate::service::routes::Router;
use crate::spans::SPANS;
use crate::store::{Store, StoreError};

/// How often activity is written down.
const FLUSH: Duration = Duration::from_secs(2);
/// After so many times, what the others have written down is read.
const LEARN_EVERY: usize = 5;
/// The others write what was used up to so long ago; who was cut off for longer is learnt of at the next start.
const LATE: Duration = Duration::from_secs(60);

pub(super) struct Uses<'a> {
    store: &'a Store,
    router: &'a Router,
    routes: &'a Routes,
    standing: &'a Standing,
    clock: Clock,
    pub(super) unwritten: Unwritten,
    /// Up to when the others' uses are known. None: nothing is.
    learnt: Mutex<Option<DateTime<Utc>>>,
}

impl<'a> Uses<'a> {
    pub(super) fn new(store: &'a Store, router: &'a Router, routes: &'a Routes, standing: &'a Standing) -> Self {
        let clock = Clock::system();
        Self { store, router, routes, standing, clock, unwritten: Unwritten::default(), learnt: Mutex::default() }
    }

    pub(super) async fn keep(&self) -> Endless {
        loop {
            for _ in 0..LEARN_EVERY {
                sleep(FLUSH).await;
                self.flush().await;
            }
            if let Err(error) = self.learn().await {
                tracing::debug!(error = %chain(&error), "cannot read the others' activity");
            }
        }
    }

    /// Writes down what was used. What cannot be written now is with the next.
    pub(super) async fn flush(&self) {
        for used in self.routes.take_activity() {
            let arrival = used.path.cluster().and_then(|id| Some((id, self.router.arrival(id)?)));
            if let Some((cluster, correlation)) = arrival {
                tracing::debug!(target: SPANS, %cluster, %correlation, at = %used.first, "first byte");
            }
            self.unwritten.owe(used.path, used.last);
        }
        let batch = self.unwritten.all();
        if batch.is_empty() {
            return;
        }
        self.standing.activity_pending(batch.len());
        match self.store.record_activity(&batch).await {
            Ok(()) => self.standing.activity_pending(self.unwritten.settle(batch)),
            Err(error) => tracing::warn!(error = %chain(&error), "cannot write activity down; keeping it"),
        }
    }

    /// Takes up the activity that was written down, by this replica before or by others.
    pub(super) async fn learn(&self) -> Result<(), StoreError> {
        let begun = self.clock.now();
        // Whatever goes wrong, the next time all is read.
        let since = self.learnt().take();
        for (path, at) in self.store.activity(since.unwrap_or_default()).await? {
            self.record(&path, at);
        }
        *self.learnt() = Some(begun - LATE);
        Ok(())
    }

    /// A use that is written down already. One of a route that is gone is of no interest.
    pub(super) fn record(&self, path: &str, at: DateTime<Utc>) {
        if let Some(entry) = self.routes.get(path) {
            self.routes.record(entry.path(), at);
        }
    }

    fn learnt(&self) -> MutexGuard<'_, Option<DateTime<Utc>>> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
