//! A partition on its way back into the log: whole and as it went, or not at all.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::PgConnection;

use super::kept::begun_before;
use super::sequence::{Flaw, Sequence};
use super::{ArchiveError, Bounds, EventLine, Line, without_hurry};
use crate::store::partitions::patiently;
use crate::store::{Store, StoreError};

const BATCH: usize = 1_000;

/// Takes the lines of the file into a table that is not yet part of the log, in short transactions: a long one would hold back
/// whoever reads the log.
pub struct Attach {
    store: Store,
    partition: Bounds,
    /// What was noted when it went.
    events: i64,
    digest: Vec<u8>,
    sequence: Sequence,
    pending: Vec<(u64, Box<EventLine>)>,
    line: u64,
}

/// A row of `event`.
#[derive(Serialize)]
struct Row<'a> {
    epoch: i16,
    tx: String,
    pos: i64,
    stream_id: String,
    version: i64,
    event_id: uuid::Uuid,
    r#type: &'a str,
    schema_version: i16,
    data: &'a RawValue,
    actor: &'a str,
    correlation_id: uuid::Uuid,
    causation_id: Option<uuid::Uuid>,
    recorded_at: chrono::DateTime<chrono::Utc>,
    /// As Postgres writes bytes.
    hash: String,
}

impl Store {
    /// Begins to bring a partition back: the last one that went.
    ///
    /// # Errors
    /// [`ArchiveError::NotArchived`] or [`ArchiveError::NotNext`] when it is another one's turn.
    pub async fn attach(&self, partition: Bounds) -> Result<Attach, ArchiveError> {
        let first = partition.first;
        let row = sqlx::query!(
            r#"SELECT first, until, events AS "events!", digest AS "digest!" FROM slipway.partition
                WHERE archived_at IS NOT NULL AND first >= $1 ORDER BY first DESC LIMIT 1"#,
            first,
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::database("look into the archive"))?;
        let row = row.ok_or(ArchiveError::NotArchived { first })?;
        if row.first != first {
            return Err(ArchiveError::NotNext { next: row.first });
        }
        sqlx::query!("SELECT slipway.stage_partition($1)", first)
            .execute(&self.pool)
            .await
            .map_err(StoreError::database("make a table for a partition"))?;
        let partition = Bounds { first, until: row.until };
        Ok(Attach {
            store: self.clone(),
            partition,
            events: row.events,
            digest: row.digest,
            sequence: Sequence::of(partition),
            pending: vec![],
            line: 0,
        })
    }
}

impl Attach {
    /// Takes the next line.
    ///
    /// # Errors
    /// [`ArchiveError::Line`] when it, or one of the last thousand before it, is not in its place.
    pub async fn take(&mut self, text: &[u8]) -> Result<(), ArchiveError> {
        self.line += 1;
        let number = self.line;
        let flawed = |flaw| ArchiveError::Line { line: number, flaw };
        match serde_json::from_slice(text).map_err(|error| flawed(Flaw::Unknown(error)))? {
            Line::Event(line) => self.pending.push((number, line)),
            line => {
                self.write().await?;
                self.sequence.take(&line).map_err(flawed)?;
            }
        }
        if self.pending.len() >= BATCH { self.write().await } else { Ok(()) }
    }

    /// How many events there are.
    pub fn expected(&self) -> i64 {
        self.events
    }

    /// Makes it part of the log again; how many events have come.
    ///
    /// # Errors
    /// When the file is cut off or another one's, or a hash does not match. Nothing has come then.
    pub async fn finish(self) -> Result<i64, ArchiveError> {
        let first = self.partition.first;
        if !self.sequence.is_over() {
            return Err(ArchiveError::Line { line: self.line, flaw: Flaw::CutOff });
        }
        let end = self.sequence.ending();
        if end.events != self.events || end.digest.0.as_slice() != self.digest {
            return Err(ArchiveError::OtherFile { digest: hex::encode(&self.digest) });
        }
        let doing = || StoreError::database("check a partition");
        let mut tx = self.store.pool.begin().await.map_err(doing())?;
        without_hurry(&mut tx).await?;
        let flaw = sqlx::query_scalar!(r#"SELECT slipway.staged_flaw($1) AS "flaw?""#, first);
        let flaw = flaw.fetch_one(&mut *tx).await.map_err(doing())?;
        tx.commit().await.map_err(doing())?;
        if let Some(event) = flaw {
            return Err(ArchiveError::Flawed { event });
        }
        patiently(&self.store, async |tx: &mut PgConnection| {
            without_hurry(&mut *tx).await?;
            sqlx::query!("SELECT slipway.attach_partition($1)", first)
                .execute(tx)
                .await
                .map_err(StoreError::database("bring a partition back into the log"))
                .map(drop)
        })
        .await?;
        Ok(end.events)
    }

    async fn write(&mut self) -> Result<(), ArchiveError> {
        let events = std::mem::take(&mut self.pending);
        let lines = events.iter().map(|(_, event)| &**event);
        for (stream, (kept, hash)) in
            begun_before(&self.store.pool, self.partition.first, &self.sequence, lines).await?
        {
            self.sequence.begin(stream, kept.version, hash);
        }
        for (number, event) in &events {
            self.sequence.take_event(event).map_err(|flaw| ArchiveError::Line { line: *number, flaw })?;
        }
        let rows: Vec<Row<'_>> = events.iter().map(|(_, event)| Row::of(event)).collect();
        // As text, so that the numbers in it stay as they are.
        let rows = serde_json::to_string(&rows).expect("events have a JSON form");
        sqlx::query!("SELECT slipway.stage_events($1, $2::text::jsonb)", self.partition.first, rows)
            .execute(&self.store.pool)
            .await
            .map_err(StoreError::database("write events"))?;
        Ok(())
    }
}

impl<'a> Row<'a> {
    fn of(event: &'a EventLine) -> Self {
        let (epoch, tx, pos) = event.position.parts();
        Self {
            epoch,
            tx: tx.to_string(),
            pos,
            stream_id: event.stream.to_string(),
            version: event.version,
            event_id: event.event_id,
            r#type: &event.r#type,
            schema_version: event.schema_version,
            data: &event.data,
            actor: event.actor.as_str(),
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
            recorded_at: event.recorded_at,
            hash: format!("\\x{}", event.hash),
        }
    }
}
