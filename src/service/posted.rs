//! The one way by which posted routes are recorded, and by which every proxy gets them.

use chrono::{DateTime, Utc};

use crate::domain::Posted;
use crate::store::posted::Mark;
use crate::store::{Store, StoreError};

const BATCH: i64 = 1_000;

/// A reader and writer of the stream of posted routes, who knows how far it has come.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    /// The last event that was handed out.
    last: Mark,
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
        Ok((Self { store, last: found.last }, found.routes))
    }

    /// Records these changes; what is to be applied then: these, after what others have recorded before.
    ///
    /// # Errors
    /// When the database does not answer. What was recorded nevertheless comes with [`news`](Self::news).
    pub async fn record(&mut self, changes: Vec<Posted>) -> Result<News, StoreError> {
        let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
        let version = self.store.post_routes(&changes).await?;
        if version - count == self.last.version {
            let mut marks = self.store.posted_marks(&[self.last.version, version]).await?;
            let newest = marks.pop_if(|mark| mark.version == version);
            let before = marks.pop().unwrap_or_default();
            if let Some(newest) = newest.filter(|_| before == self.last) {
                self.last = newest;
                return Ok(News::Changes(changes));
            }
        }
        self.news().await
    }

    /// What was recorded since.
    ///
    /// # Errors
    /// When the log cannot be read; ask again.
    pub async fn news(&mut self) -> Result<News, StoreError> {
        let mut news = vec![];
        let mut last = self.last.clone();
        loop {
            let Some(batch) = self.store.posted_after(&last, BATCH).await? else {
                let found = self.store.posted_routes().await?;
                self.last = found.last;
                return Ok(News::All(found.routes));
            };
            let more = batch.len() >= BATCH as usize;
            for (mark, change) in batch {
                last = mark;
                news.push(change);
            }
            if !more {
                self.last = last;
                return Ok(News::Changes(news));
            }
        }
    }
}
