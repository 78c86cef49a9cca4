//! The log: append, load a stream, follow everything.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::partitions::is_out_of_room;
pub use super::position::Position;
use super::{Store, StoreError, seconds};
use crate::domain::event::SCHEMA_VERSION;
use crate::domain::fold::FOLD;
use crate::domain::{Cluster, ClusterId, Event, Subject};

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

/// Who acts, and what the act belongs to.
#[derive(Debug, Clone)]
pub struct Meta {
    pub actor: Subject,
    /// The same for all that one click has led to.
    pub correlation: Uuid,
    /// The event that made a worker act.
    pub causation: Option<Uuid>,
    pub visit: Option<Visit>,
}

/// Somebody acts by the API: what is noted of it, outside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// From where, if that is to be kept.
    pub address: Option<IpAddr>,
}

impl Meta {
    /// What `actor` does of its own accord: nothing led to it, and more may follow.
    pub fn by(actor: Subject) -> Self {
        Self { actor, correlation: Uuid::now_v7(), causation: None, visit: None }
    }
}

impl From<Subject> for Meta {
    fn from(actor: Subject) -> Self {
        Self::by(actor)
    }
}

/// The client's name for its request, so that a repetition is answered and not done again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    pub key: String,
    /// SHA-256 of what was asked.
    pub fingerprint: [u8; 32],
}

/// What is enforced in the transaction of the append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    pub clusters_per_owner: u16,
    pub total_workers: u32,
}

impl Caps {
    /// Binds nobody: for operators, and for workers, who launch nothing.
    pub const NONE: Self = Self { clusters_per_owner: u16::MAX, total_workers: u32::MAX };
}

/// One decision, to be recorded whole or not at all.
#[derive(Debug)]
pub struct Append<'a> {
    pub id: ClusterId,
    /// The version of the stream that the decision was made on; 0 for a new stream.
    pub expected: i64,
    pub events: &'a [Event],
    pub before: Option<&'a Cluster>,
    pub after: &'a Cluster,
    pub meta: &'a Meta,
    /// Whether a worker has to see to it.
    pub wake: bool,
    pub caps: Caps,
    pub key: Option<&'a RequestKey>,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    At {
        version: i64,
        recorded_at: DateTime<Utc>,
    },
    /// The same request was answered before, by this cluster; nothing was written.
    Repeated {
        of: ClusterId,
    },
}

/// What a reader of the log does about what is in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Archived {
    Refuse,
    LeaveOut,
}

/// What an owner of this cluster is charged for.
fn charge(cluster: Option<&Cluster>) -> (i32, i32) {
    match cluster {
        Some(cluster) if cluster.phase.is_live() => (1, cluster.workers.get().into()),
        _ => (0, 0),
    }
}

impl Store {
    /// Records a decision, its read model, the work it causes, its limits and who came to ask for it, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the stream is no longer at `expected`; [`StoreError::KeyReused`],
    /// [`StoreError::OverLimit`] and [`StoreError::Forgotten`] as they say. Nothing is written then.
    pub async fn append(&self, append: Append<'_>) -> Result<Appended, StoreError> {
        let Append { id, expected, events, before, after, meta, wake, caps, key } = append;
        let ids: Vec<Uuid> = events.iter().map(|_| Uuid::now_v7()).collect();
        let kinds: Vec<String> = events.iter().map(|event| event.kind().to_owned()).collect();
        let data: Vec<Value> = events.iter().map(Event::data).collect();
        let (clusters_before, workers_before) = charge(before);
        let (clusters_after, workers_after) = charge(Some(after));
        let query = || {
            sqlx::query!(
                r#"SELECT a.version, a.recorded_at, a.answered_by,
                      CASE WHEN $22 AND a.answered_by IS NULL THEN slipway.see($3, $4, $23::text::inet, a.recorded_at) END AS seen
                 FROM slipway.append(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) AS a"#,
                id.to_string(),
                expected,
                meta.actor.as_str(),
                meta.correlation,
                meta.causation,
                &ids,
                &kinds,
                SCHEMA_VERSION,
                &data,
                encode_state(after),
                after.phase.status(),
                after.owner.as_str(),
                after.phase.is_live(),
                i32::from(after.workers.get()),
                wake,
                clusters_after - clusters_before,
                i32::from(caps.clusters_per_owner),
                workers_after - workers_before,
                i32::try_from(caps.total_workers).unwrap_or(i32::MAX),
                key.map(|key| key.key.as_str()),
                key.map(|key| key.fingerprint.as_slice()),
                meta.visit.is_some(),
                meta.visit.and_then(|visit| visit.address).map(|address| address.to_string()),
            )
        };
        let mut row = self.appender.run(async |connection| query().fetch_one(connection).await).await;
        if row.as_ref().is_err_and(is_out_of_room) {
            // Nobody has kept the log for a million events.
            self.extend_log().await?;
            row = self.appender.run(async |connection| query().fetch_one(connection).await).await;
        }
        let row = row.map_err(StoreError::append)?;
        if let Some(stream) = row.answered_by {
            return Ok(Appended::Repeated { of: parse_id(&stream)? });
        }
        self.appended.notify_one();
        let version = row.version.unwrap_or(expected);
        Ok(Appended::At { version, recorded_at: row.recorded_at.unwrap_or_default() })
    }

    /// Up to `limit` events after a position, each exactly once over repeated calls, and each stream in order.
    /// Events of transactions that may still be followed by an older one are held back until they cannot.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] for an event that this build does not know; [`StoreError::Archived`] when some of what
    /// comes after the position is in the archive.
    pub async fn read_after(&self, after: Position, limit: i64) -> Result<Vec<Recorded>, StoreError> {
        self.rows_after(after, limit, Archived::Refuse).await?.into_iter().map(Recorded::try_from).collect()
    }

    /// As [`read_after`](Self::read_after), but what is in the archive is left out.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] for an event that this build does not know.
    pub async fn read_attached_after(&self, after: Position, limit: i64) -> Result<Vec<Recorded>, StoreError> {
        self.rows_after(after, limit, Archived::LeaveOut).await?.into_iter().map(Recorded::try_from).collect()
    }

    pub(super) async fn rows_after(
        &self,
        after: Position,
        limit: i64,
        archived: Archived,
    ) -> Result<Vec<Row>, StoreError> {
        let (epoch, tx, pos) = after.parts();
        // The place by sub-selects, which the planner does not look into: where it takes what comes after it for next to nothing, as
        // before the first ANALYZE that knows of it, it sorts all that does come, for each batch anew.
        sqlx::query_as!(
            Row,
            r#"SELECT epoch, tx::text AS "tx!", pos, stream_id, version, event_id, type AS kind, schema_version, data,
                      actor, correlation_id, causation_id, recorded_at
                 FROM slipway.event
                WHERE (epoch, tx, pos) > ((SELECT $1::smallint), (SELECT $2::text::xid8), (SELECT $3::bigint))
                  AND pos >= slipway.log_from($1, $2::text::xid8, $3, $5)
                  AND (epoch < (SELECT epoch FROM slipway.installation)
                       OR tx < pg_snapshot_xmin(pg_current_snapshot()))
                ORDER BY epoch, tx, pos LIMIT $4"#,
            epoch,
            tx.to_string(),
            pos,
            limit,
            archived == Archived::LeaveOut,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::reading("read the log"))
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
        r#"SELECT epoch, pg_snapshot_xmin(pg_current_snapshot())::text AS "tx!" FROM slipway.installation"#
    )
    .fetch_one(executor)
    .await
    .map_err(StoreError::database("read the log's horizon"))?;
    Ok(Position::new(row.epoch, parse_tx(&row.tx)?, 0))
}

pub(super) struct Row {
    pub epoch: i16,
    pub tx: String,
    pub pos: i64,
    pub stream_id: String,
    pub version: i64,
    pub event_id: Uuid,
    pub kind: String,
    pub schema_version: i16,
    pub data: Value,
    pub actor: String,
    pub correlation_id: Uuid,
    pub causation_id: Option<Uuid>,
    pub recorded_at: DateTime<Utc>,
}

impl Row {
    pub(super) fn position(&self) -> Result<Position, StoreError> {
        Ok(Position::new(self.epoch, parse_tx(&self.tx)?, self.pos))
    }
}

impl TryFrom<Row> for Recorded {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let position = row.position()?;
        Ok(Self {
            position,
            cluster: parse_id(&row.stream_id)?,
            version: row.version,
            event_id: row.event_id,
            event: decode(position, row.kind, row.schema_version, row.data)?,
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

/// With the version of the fold that it comes from, so that no other build's goes on from it.
pub(super) fn encode_state(cluster: &Cluster) -> Value {
    let mut state = serde_json::to_value(cluster).expect("a cluster has a JSON form");
    state["fold"] = FOLD.into();
    state
}

pub(super) fn decode(position: Position, kind: String, schema: i16, data: Value) -> Result<Event, StoreError> {
    let unreadable =
        |kind, source| StoreError::Unreadable { position: position.to_string(), kind, schema, source };
    if schema > SCHEMA_VERSION {
        return Err(unreadable(kind, None));
    }
    serde_json::from_value(json!({"type": kind, "data": data})).map_err(|source| unreadable(kind, Some(source)))
}

pub(super) fn parse_id(stream: &str) -> Result<ClusterId, StoreError> {
    stream.parse().map_err(|_| StoreError::Stored { what: "stream", value: stream.to_owned() })
}

pub(super) fn parse_tx(tx: &str) -> Result<u64, StoreError> {
    tx.parse().map_err(|_| StoreError::Stored { what: "transaction id", value: tx.to_owned() })
}
