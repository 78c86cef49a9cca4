//! A partition on its way out of the log: its file, read back, is what it is let go for.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::columns::{Checked, Columns};
use super::kept::{begun_before, forget, note};
use super::sequence::{Flaw, Sequence};
use super::{ArchiveError, Bounds, End, EventLine, Hash, Line, without_hurry};
use crate::domain::ClusterId;
use crate::store::partitions::patiently;
use crate::store::stream::Replayed;
use crate::store::{Store, StoreError};

const BATCH: usize = 1_000;

/// Takes the lines of the file. Nothing is changed in the log before [`finish`](Self::finish).
pub struct Detach {
    store: Store,
    partition: Bounds,
    sequence: Sequence,
    /// What has been read of the streams that did not end yet.
    streams: HashMap<ClusterId, (Replayed, Hash)>,
    pending: Vec<Checked<EventLine>>,
    line: u64,
    /// Streams that ended in it.
    ended: usize,
}

/// What was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    pub events: i64,
    /// Streams that ended in it.
    pub ended: usize,
    /// Streams that go on, or may, and are read from what they had come to.
    pub going_on: usize,
}

impl Store {
    /// Begins to take the oldest partition out of the log, once it is in a file.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn detach(&self, partition: Bounds) -> Result<Detach, StoreError> {
        forget(&self.pool, partition.first).await?;
        Ok(Detach {
            store: self.clone(),
            partition,
            sequence: Sequence::of(partition),
            streams: HashMap::new(),
            pending: vec![],
            line: 0,
            ended: 0,
        })
    }
}

impl Detach {
    /// Takes the next line.
    ///
    /// # Errors
    /// [`ArchiveError::Line`] when it, or one of the last thousand before it, is not as it was written, or when this build
    /// cannot read the event.
    pub async fn take(&mut self, text: &[u8]) -> Result<(), ArchiveError> {
        self.line += 1;
        let number = i64::try_from(self.line).unwrap_or(i64::MAX);
        match serde_json::from_slice(text).map_err(|error| at(number, Flaw::Unknown(error)))? {
            Line::Event(line) => self.pending.push(Checked { number, before: vec![], line }),
            line => {
                self.read().await?;
                self.sequence.take(&line).map_err(|flaw| at(number, flaw))?;
            }
        }
        if self.pending.len() >= BATCH { self.read().await } else { Ok(()) }
    }

    /// Takes the partition out of the log: a moment in which appends and readers wait.
    ///
    /// # Errors
    /// [`ArchiveError::Line`] when the file is cut off; [`ArchiveError::OtherFile`] when it is not what was `written`;
    /// [`ArchiveError::Busy`] when there was no such moment. The partition is then where it was.
    pub async fn finish(self, file: &str, written: &End) -> Result<Detached, ArchiveError> {
        if !self.sequence.is_over() {
            return Err(at(i64::try_from(self.line).unwrap_or(i64::MAX), Flaw::CutOff));
        }
        let End { events, digest, .. } = self.sequence.ending();
        if (events, &digest) != (written.events, &written.digest) {
            return Err(ArchiveError::OtherFile { digest: written.digest.to_string() });
        }
        let mut connection = self.store.pool.acquire().await.map_err(StoreError::database("detach"))?;
        let going_on: Vec<_> = self.streams.iter().collect();
        for some in going_on.chunks(BATCH) {
            note(&mut connection, self.partition.first, some.iter().copied()).await?;
        }
        patiently(&self.store, async |tx: &mut PgConnection| {
            without_hurry(&mut *tx).await?;
            sqlx::query!(
                "SELECT slipway.detach_partition($1, $2, $3, $4)",
                self.partition.first,
                file,
                events,
                digest.0.as_slice(),
            )
            .execute(tx)
            .await
            .map_err(StoreError::database("take a partition out of the log"))
            .map(drop)
        })
        .await?;
        Ok(Detached { events, ended: self.ended, going_on: self.streams.len() })
    }

    /// Holds what is pending against what comes before it, and the database's hash of it.
    async fn read(&mut self) -> Result<(), ArchiveError> {
        let mut events = std::mem::take(&mut self.pending);
        let lines = events.iter().map(|event| &*event.line);
        for (stream, (kept, hash)) in
            begun_before(&self.store.pool, self.partition.first, &self.sequence, lines).await?
        {
            self.sequence.begin(stream, kept.version, hash.clone());
            self.streams.insert(stream, (kept.replayed(stream)?, hash));
        }
        let mut ended = vec![];
        for Checked { number, before, line } in &mut events {
            let recorded = line.recorded().map_err(|error| at(*number, Flaw::Event(error)))?;
            let earlier = self.sequence.take_event(line).map_err(|flaw| at(*number, flaw))?;
            *before = earlier.map_or_else(Vec::new, |hash| hash.0.to_vec());
            let state = self.streams.remove(&line.stream).map(|(replayed, _)| replayed);
            let state = (Replayed::then(state, &recorded)?, line.hash.clone());
            if state.0.times.gone_at.is_some() {
                ended.push((line.stream, state));
            } else {
                self.streams.insert(line.stream, state);
            }
        }
        let mut connection = self.store.pool.acquire().await.map_err(StoreError::database("detach"))?;
        if let Some(number) = Columns::of(&events).wrong_hash(&mut connection).await? {
            return Err(at(number, Flaw::Hash));
        }
        note(&mut connection, self.partition.first, ended.iter().map(|(id, state)| (id, state))).await?;
        self.ended += ended.len();
        Ok(())
    }
}

fn at(number: i64, flaw: Flaw) -> ArchiveError {
    ArchiveError::Line { line: number.unsigned_abs(), flaw }
}
