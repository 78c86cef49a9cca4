//! The log for those who go on although there is something in it that this build cannot read.

use super::events::{Archived, Position, Recorded};
use super::{Store, StoreError};

/// Some events in a row.
#[derive(Debug, Default)]
pub struct Batch {
    pub recorded: Vec<Recorded>,
    /// Why the others, such as those of a newer slipway, cannot be read.
    pub unreadable: Vec<StoreError>,
    /// Of the last one, read or not.
    pub end: Option<Position>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.recorded.len() + self.unreadable.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Store {
    /// As [`read_after`](Self::read_after), but what cannot be read holds up nothing that can.
    ///
    /// # Errors
    /// When the database does not answer; [`StoreError::Archived`] when some of it is in the archive.
    pub async fn read_on(&self, after: Position, limit: i64) -> Result<Batch, StoreError> {
        let mut batch = Batch::default();
        self.each_after(after, limit, Archived::Refuse, |row| {
            batch.end = Some(row.position());
            match Recorded::try_from(row) {
                Ok(recorded) => batch.recorded.push(recorded),
                Err(error) => batch.unreadable.push(error),
            }
            Ok(())
        })
        .await?;
        Ok(batch)
    }
}
