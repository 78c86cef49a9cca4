//! Reads the log as it grows.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::error_chain::chain;
use crate::store::events::{Position, Recorded};
use crate::store::{Store, StoreError, listen};

const BATCH: i64 = 500;

/// Calls `each` for every event after `position`, in the log's order, for ever.
///
/// # Errors
/// Returns only for an event that cannot be read, such as one of a newer slipway: going on without it
/// would be wrong. A database that is away is waited for.
pub async fn follow(
    store: &Store,
    mut bell: watch::Receiver<()>,
    mut position: Position,
    mut each: impl AsyncFnMut(Recorded),
) -> Result<std::convert::Infallible, StoreError> {
    let mut pause = Duration::from_millis(100);
    loop {
        // Seen before the read, so that a ring during the read is not lost.
        bell.borrow_and_update();
        match store.read_after(position, BATCH).await {
            Ok(batch) => {
                pause = Duration::from_millis(100);
                let full = batch.len() >= BATCH as usize;
                for recorded in batch {
                    position = recorded.position;
                    each(recorded).await;
                }
                if !full {
                    listen::wait(&mut bell).await;
                }
            }
            Err(error @ StoreError::Database { .. }) => {
                tracing::warn!(error = %chain(&error), "cannot read the log; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(fatal) => return Err(fatal),
        }
    }
}
