//! What this process knows to be ready in each pool, so that launches at the same time do not reach for the same cluster.
//!
//! It is a hint: whose a cluster becomes is decided by the append of its claim.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{ClusterId, Subject};
use crate::store::{Store, StoreError};

/// How many clusters are looked up at once, for all who launch at the same time.
const BATCH: i64 = 250;
/// What was looked up longer ago is looked up anew.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    known: Arc<Mutex<Known>>,
    /// Held over a look-up, so that all who come meanwhile are served by it.
    looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    pools: HashMap<Subject, Row>,
    /// That somebody here is claiming.
    taken: HashSet<ClusterId>,
}

#[derive(Debug)]
struct Row {
    ids: Vec<ClusterId>,
    since: Instant,
}

/// A cluster that nobody else of this process reaches for, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    id: ClusterId,
    shelf: Shelf,
}

impl Taken {
    pub(super) fn id(&self) -> ClusterId {
        self.id
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shelf.known().taken.remove(&self.id);
    }
}

impl Shelf {
    /// Any cluster of the pool that may be claimed; none if there seems to be none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn take(&self, store: &Store, pool: &Subject) -> Result<Option<Taken>, StoreError> {
        if let Some(taken) = self.next(pool) {
            return Ok(Some(taken));
        }
        let asked = Instant::now();
        let _looking = self.looking.lock().await;
        let taken = self.next(pool);
        if taken.is_some() || self.known().pools.get(pool).is_some_and(|row| row.since >= asked) {
            return Ok(taken);
        }
        let since = Instant::now();
        let ids = store.claimable(pool, BATCH).await?;
        self.known().pools.insert(pool.clone(), Row { ids, since });
        Ok(self.next(pool))
    }

    fn next(&self, pool: &Subject) -> Option<Taken> {
        let mut known = self.known();
        let Known { pools, taken } = &mut *known;
        let row = pools.get_mut(pool).filter(|row| row.since.elapsed() < FRESH)?;
        while let Some(id) = row.ids.pop() {
            if taken.insert(id) {
                return Some(Taken { id, shelf: self.clone() });
            }
        }
        None
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
