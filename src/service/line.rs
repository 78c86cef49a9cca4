//! The line of launches, read once a second for all of a process who wait in it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::ClusterId;
use crate::domain::line::{Line, Place};
use crate::store::{Store, StoreError};

/// How old an answer may be.
pub const FRESH: Duration = Duration::from_secs(1);

/// The line as it was a moment ago.
#[derive(Debug, Clone)]
pub struct SharedLine {
    store: Store,
    kept: Arc<Mutex<Option<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    line: Arc<Line>,
    since: Instant,
}

impl SharedLine {
    pub fn new(store: Store) -> Self {
        Self { store, kept: Arc::default() }
    }

    /// Where those stand who wait; what was read before one of them came is read anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn holding(&self, waiting: &[ClusterId]) -> Result<Arc<Line>, StoreError> {
        // Held over the query, so that all who ask meanwhile are answered by it.
        let mut kept = self.kept.lock().await;
        if let Some(Kept { line, since }) = &*kept
            && since.elapsed() < FRESH
            && waiting.iter().all(|id| line.waiting.contains(id))
        {
            return Ok(Arc::clone(line));
        }
        let line = Arc::new(self.store.line().await?);
        *kept = Some(Kept { line: Arc::clone(&line), since: Instant::now() });
        Ok(line)
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn place(&self, id: ClusterId) -> Result<Option<Place>, StoreError> {
        Ok(self.holding(&[id]).await?.place(id))
    }
}
