//! Lines beside each other, as the database takes them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::EventLine;
use crate::store::StoreError;
use crate::store::events::{Recorded, decode};

/// A line that is in its place, its number, and the hash that it comes after.
pub(super) struct Checked<T> {
    pub number: i64,
    pub before: Vec<u8>,
    pub line: Box<T>,
}

/// Some events in a row, a column of each of their fields.
pub(super) struct Columns {
    pub numbers: Vec<i64>,
    pub before: Vec<Vec<u8>>,
    pub streams: Vec<String>,
    pub versions: Vec<i64>,
    pub ids: Vec<Uuid>,
    pub types: Vec<String>,
    pub schemas: Vec<i16>,
    pub data: Vec<String>,
    pub actors: Vec<String>,
    pub correlations: Vec<Uuid>,
    pub causations: Vec<Option<Uuid>>,
    pub times: Vec<DateTime<Utc>>,
    pub hashes: Vec<Vec<u8>>,
}

impl Columns {
    pub(super) fn of(events: &[Checked<EventLine>]) -> Self {
        fn column<T>(events: &[Checked<EventLine>], of: impl Fn(&EventLine) -> T) -> Vec<T> {
            events.iter().map(|event| of(&event.line)).collect()
        }
        Self {
            numbers: events.iter().map(|event| event.number).collect(),
            before: events.iter().map(|event| event.before.clone()).collect(),
            streams: column(events, |line| line.stream.to_string()),
            versions: column(events, |line| line.version),
            ids: column(events, |line| line.event_id),
            types: column(events, |line| line.r#type.clone()),
            schemas: column(events, |line| line.schema_version),
            data: column(events, |line| line.data.get().to_owned()),
            actors: column(events, |line| line.actor.to_string()),
            correlations: column(events, |line| line.correlation_id),
            causations: column(events, |line| line.causation_id),
            times: column(events, |line| line.recorded_at),
            hashes: column(events, |line| line.hash.0.to_vec()),
        }
    }

    /// The number of the first event whose hash is not that of what it holds.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn wrong_hash(&self, connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar!(
        r#"SELECT number AS "number!"
             FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::bigint[], $5::uuid[], $6::text[], $7::smallint[],
                         $8::text[], $9::text[], $10::uuid[], $11::uuid[], $12::timestamptz[], $13::bytea[])
               AS line (number, before, stream, version, id, type, schema, data, actor, correlation, causation,
                        recorded_at, hash)
            WHERE hash <> slipway.event_hash(before, stream, version, id, type, schema, data::jsonb, actor, correlation,
                                             causation, recorded_at)
            ORDER BY number LIMIT 1"#,
        &self.numbers,
        &self.before,
        &self.streams,
        &self.versions,
        &self.ids,
        &self.types,
        &self.schemas,
        &self.data,
        &self.actors,
        &self.correlations,
        &self.causations as &[Option<Uuid>],
        &self.times,
        &self.hashes,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::database("check the hashes"))
    }
}

impl EventLine {
    /// The event, if this build can read it.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if it cannot.
    pub(super) fn recorded(&self) -> Result<Recorded, StoreError> {
        Ok(Recorded {
            position: self.position,
            cluster: self.stream,
            version: self.version,
            event_id: self.event_id,
            event: decode(self.position, &self.r#type, self.schema_version, &self.data)?,
            actor: self.actor.clone(),
            correlation: self.correlation_id,
            causation: self.causation_id,
            recorded_at: self.recorded_at,
        })
    }
}
