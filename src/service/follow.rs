//! Reads the log as it grows.

use std::time::Duration;

use tokio::sync::watch;

use super::patience::{Patience, is_away};
use crate::store::events::Position;
use crate::store::tail::Batch;
use crate::store::{Store, StoreError, listen};

/// Events in the first batch. As long as there is more, each is twice as long as the one before, so that a reader who has far to go asks
/// less often.
const FEW: i64 = 500;
const MANY: i64 = 8_000;
/// How soon a reader looks again who was told of something and may have come too early: what is appended stays hidden
/// while any older transaction is open, and nobody rings when that ends. Each time in vain it waits twice as long.
const SOON: Duration = Duration::from_millis(10);

/// A reader's place in the log.
#[derive(Debug)]
pub struct Follower<'a> {
    store: &'a Store,
    bell: watch::Receiver<()>,
    position: Position,
    /// There may be more than the last batch held.
    more: bool,
    /// Events in the next batch, at most.
    limit: i64,
    /// How long to wait for the bell.
    pause: Duration,
}

impl<'a> Follower<'a> {
    pub fn new(store: &'a Store, bell: watch::Receiver<()>, position: Position) -> Self {
        Self { store, bell, position, more: true, limit: FEW, pause: SOON }
    }

    /// All before it has been handed out.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next events in the log's order, at least one, as soon as there are any, and what there is between them that
    /// this build cannot read.
    ///
    /// # Errors
    /// When the log is damaged. A database that is away is waited for.
    pub async fn next(&mut self) -> Result<Batch, StoreError> {
        let mut patience = Patience::to("read the log");
        loop {
            match self.poll().await {
                Ok(batch) if batch.is_empty() => {}
                Err(error) if is_away(&error) => patience.wait(&error).await,
                outcome => return outcome,
            }
        }
    }

    /// Reads once when there may be more, or after a while: maybe nothing.
    ///
    /// # Errors
    /// As [`next`](Self::next), and when the database does not answer.
    pub async fn poll(&mut self) -> Result<Batch, StoreError> {
        let told =
            std::mem::replace(&mut self.more, true) || listen::wait_at_most(self.pause, &mut self.bell).await;
        // Seen before the read, so that a ring during the read is not lost.
        self.bell.borrow_and_update();
        let batch = self.store.read_on(self.position, self.limit).await?;
        self.more = batch.len() >= self.limit as usize;
        self.limit = if self.more { (self.limit * 2).min(MANY) } else { FEW };
        self.position = batch.end.unwrap_or(self.position);
        let in_vain = !told && batch.is_empty();
        self.pause = if in_vain { (self.pause * 2).min(listen::POLL) } else { SOON };
        Ok(batch)
    }
}
