//! The one way by which posted routes are recorded, and by which every proxy gets them.

use chrono::{DateTime, Utc};

use crate::domain::Posted;
use crate::store::{Store, StoreError};

const BATCH: i64 = 1_000;

/// A reader and writer of the stream of posted routes, who knows how far it has come.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    epoch: i16,
    version: i64,
}

/// What is to be applied.
#[derive(Debug, PartialEq)]
pub enum News {
    /// Changes since the last news, in order.
    Changes(Vec<Posted>),
    /// All routes that there are, each with its last use: the log goes on from an earlier state of itself, and what was read since may never
    /// have been.
    All(Vec<(Posted, DateTime<Utc>)>),
}

impl Ledger {
    /// Begins with the routes that are posted now; each with its last use.
    ///
    /// # Errors
    /// When the routes cannot be read.
    pub async fn open(store: Store) -> Result<(Self, Vec<(Posted, DateTime<Utc>)>), StoreError> {
        let found = store.posted_routes().await?;
        Ok((Self { store, epoch: found.epoch, version: found.version }, found.routes))
    }

    /// Records these changes; what is to be applied then: these, after what others have recorded before.
    ///
    /// # Errors
    /// When the database does not answer. What was recorded nevertheless comes with [`news`](Self::news).
    pub async fn record(&mut self, changes: Vec<Posted>) -> Result<News, StoreError> {
        let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
        let last = self.store.post_routes(&changes).await?;
        if last - count == self.version {
            self.version = last;
            return Ok(News::Changes(changes));
        }
        self.news().await
    }

    /// What was recorded since.
    ///
    /// # Errors
    /// When the log cannot be read; ask again.
    pub async fn news(&mut self) -> Result<News, StoreError> {
        let mut news = vec![];
        let mut version = self.version;
        loop {
            let (epoch, batch) = self.store.posted_after(version, BATCH).await?;
            if epoch != self.epoch {
                let found = self.store.posted_routes().await?;
                (self.epoch, self.version) = (found.epoch, found.version);
                return Ok(News::All(found.routes));
            }
            let more = batch.len() >= BATCH as usize;
            for (at, change) in batch {
                version = at;
                news.push(change);
            }
            if !more {
                self.version = version;
                return Ok(News::Changes(news));
            }
        }
    }
}
