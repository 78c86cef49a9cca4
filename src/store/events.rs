//! The log as it is read: everything, in its order.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::planned::is_lost;
pub use super::position::Position;
use super::tx::Tx;
use super::{Store, StoreError, seconds};
use crate::domain::event::SCHEMA_VERSION;
use crate::domain::{ClusterId, Event, Subject};

/// An event as it stands in the log.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub position: Position,
    pub cluster: ClusterId,
    pub version: i64,
    pub event_id: Uuid,
    pub event: Event,
    pub actor: Subject,
    pub correlation: Uuid,
    pub causation: Option<Uuid>,
    pub recorded_at: DateTime<Utc>,
}

/// How far a reader is behind the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    pub events: i64,
    /// How long the first of them has been in the log, by the database's clock.
    pub age: Duration,
}

/// What a reader of the log does about what is in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Archived {
    Refuse,
    LeaveOut,
}

/// What is still to be read.
struct Rest {
    after: Position,
    limit: i64,
    archived: Archived,
}

impl Rest {
    async fn read(
        &mut self,
        connection: &mut PgConnection,
        take: &mut impl FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<Result<(), StoreError>, sqlx::Error> {
        let (epoch, tx, pos) = self.after.parts();
        let mut rows = sqlx::query_as!(
            Row,
            r#"SELECT epoch, tx AS "tx!: Tx", pos, stream_id, version, event_id, type AS kind, schema_version,
                      data AS "data!: Json<Box<RawValue>>", actor, correlation_id, causation_id, recorded_at
                 FROM slipway.event
                WHERE (epoch, tx, pos) > ($1::smallint, $2::text::xid8, $3::bigint)
                  AND pos >= slipway.log_from($1, $2::text::xid8, $3, $5)
                  AND (epoch < (SELECT epoch FROM slipway.installation)
                       OR tx < (SELECT pg_snapshot_xmin(pg_current_snapshot())))
                ORDER BY epoch, tx, pos LIMIT $4"#,
            epoch,
            tx.to_string(),
            pos,
            self.limit,
            self.archived == Archived::LeaveOut,
        )
        .fetch(connection);
        while let Some(row) = rows.try_next().await? {
            (self.after, self.limit) = (row.position(), self.limit - 1);
            if let Err(error) = take(row) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}

impl Store {
    /// Up to `limit` events after a position, each exactly once over repeated calls, and each stream in order.
    /// Events of transactions that may still be followed by an older one are held back until they cannot.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] for an event that this build does not know; [`StoreError::Archived`] when some of what
    /// comes after the position is in the archive.
    pub async fn read_after(&self, after: Position, limit: i64) -> Result<Vec<Recorded>, StoreError> {
        self.recorded_after(after, limit, Archived::Refuse).await
    }

    /// As [`read_after`](Self::read_after), but what is in the archive is left out.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] for an event that this build does not know.
    pub async fn read_attached_after(&self, after: Position, limit: i64) -> Result<Vec<Recorded>, StoreError> {
        self.recorded_after(after, limit, Archived::LeaveOut).await
    }

    async fn recorded_after(
        &self,
        after: Position,
        limit: i64,
        archived: Archived,
    ) -> Result<Vec<Recorded>, StoreError> {
        let mut recorded = Vec::new();
        self.each_after(after, limit, archived, |row| {
            recorded.push(row.try_into()?);
            Ok(())
        })
        .await?;
        Ok(recorded)
    }

    /// Hands out each event as it comes, while the server looks up those after it.
    pub(super) async fn each_after(
        &self,
        after: Position,
        limit: i64,
        archived: Archived,
        mut take: impl FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = Rest { after, limit, archived };
        let mut read = self.reading.run(async |connection| rest.read(connection, &mut take).await).await;
        if read.as_ref().is_err_and(is_lost) {
            // As all are that a restart of the server has ended.
            read = self.reading.run(async |connection| rest.read(connection, &mut take).await).await;
        }
        read.map_err(StoreError::reading("read the log"))?
    }

    /// How many events come after a position, counted to a thousand, and for how long the first of them has been there:
    /// also those that are held back until a transaction which began before them has ended.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn behind(&self, position: Position) -> Result<Behind, StoreError> {
        let (epoch, tx, pos) = position.parts();
        let row = sqlx::query!(
            r#"SELECT count(*) AS "events!",
                      coalesce(extract(epoch FROM clock_timestamp() - min(recorded_at)), 0)::double precision AS "age!" FROM (
                   SELECT recorded_at FROM slipway.event
                    WHERE (epoch, tx, pos) > ((SELECT $1::smallint), (SELECT $2::text::xid8), (SELECT $3::bigint))
                      AND pos >= slipway.log_from($1, $2::text::xid8, $3, true)
                    ORDER BY epoch, tx, pos LIMIT 1000) AS later"#,
            epoch,
            tx.to_string(),
            pos,
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("measure how far the log has gone"))?;
        Ok(Behind { events: row.events, age: seconds(row.age) })
    }

    /// When the server was started. Another time than before means that it may be another server, or one that was
    /// put back to an earlier day.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn server_started(&self) -> Result<DateTime<Utc>, StoreError> {
        sqlx::query_scalar!(r#"SELECT pg_postmaster_start_time() AS "started!""#)
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::database("ask when the database was started"))
    }

    /// A position such that everything before it is visible now: where to follow from without the past.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn horizon(&self) -> Result<Position, StoreError> {
        horizon(&self.pool).await
    }
}

pub(super) async fn horizon(executor: impl sqlx::PgExecutor<'_>) -> Result<Position, StoreError> {
    let row = sqlx::query!(
        r#"SELECT epoch, pg_snapshot_xmin(pg_current_snapshot()) AS "tx!: Tx" FROM slipway.installation"#
    )
    .fetch_one(executor)
    .await
    .map_err(StoreError::database("read the log's horizon"))?;
    Ok(Position::new(row.epoch, row.tx.0, 0))
}

pub(super) struct Row {
    pub epoch: i16,
    pub tx: Tx,
    pub pos: i64,
    pub stream_id: String,
    pub version: i64,
    pub event_id: Uuid,
    pub kind: String,
    pub schema_version: i16,
    pub data: Json<Box<RawValue>>,
    pub actor: String,
    pub correlation_id: Uuid,
    pub causation_id: Option<Uuid>,
    pub recorded_at: DateTime<Utc>,
}

impl Row {
    pub(super) fn position(&self) -> Position {
        Position::new(self.epoch, self.tx.0, self.pos)
    }
}

impl TryFrom<Row> for Recorded {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let position = row.position();
        Ok(Self {
            position,
            cluster: parse_id(&row.stream_id)?,
            version: row.version,
            event_id: row.event_id,
            event: decode(position, &row.kind, row.schema_version, &row.data)?,
            actor: row
                .actor
                .parse()
                .map_err(|_| StoreError::Stored { what: "actor", value: row.actor.clone() })?,
            correlation: row.correlation_id,
            causation: row.causation_id,
            recorded_at: row.recorded_at,
        })
    }
}

pub(super) fn decode(position: Position, kind: &str, schema: i16, data: &RawValue) -> Result<Event, StoreError> {
    let unreadable =
        |source| StoreError::Unreadable { position: position.to_string(), kind: kind.to_owned(), schema, source };
    if !(1..=SCHEMA_VERSION).contains(&schema) {
        return Err(unreadable(None));
    }
    Event::read(kind, data).map_err(|source| unreadable(Some(source)))
}

pub(super) fn parse_id(stream: &str) -> Result<ClusterId, StoreError> {
    stream.parse().map_err(|_| StoreError::Stored { what: "stream", value: stream.to_owned() })
}
