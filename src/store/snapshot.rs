//! What streams had come to: snapshots of long ones, which nothing depends on, and what the archive begins with.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::StoreError;
use super::append::encode_state;
use super::clusters::decode_state;
use super::events::{Recorded, Row};
use super::stream::{From, History, Replayed, Times};
use super::tx::Tx;
use crate::domain::fold::FOLD;
use crate::domain::{Cluster, ClusterId};

/// A row of `snapshot` or `archived_stream`.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub version: i64,
    fold: Option<i16>,
    /// None where a stream ended in the archive; its read model tells, unless that is lost.
    state: Option<Value>,
    launched_at: DateTime<Utc>,
    admitted_at: Option<DateTime<Utc>>,
    ready_at: Option<DateTime<Utc>>,
    routed_at: Option<DateTime<Utc>>,
    claimed_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    gone_at: Option<DateTime<Utc>>,
    changed_at: DateTime<Utc>,
    correlation_id: Uuid,
    last_event_id: Uuid,
}

impl Kept {
    /// What is noted of a stream that goes to the archive. One that ended there takes its state along.
    pub fn of(replayed: &Replayed) -> Self {
        let Replayed { cluster, version, times, correlation, last_event } = replayed;
        let Times { launched_at, admitted_at, ready_at, routed_at, claimed_at, ended_at, gone_at, changed_at } =
            *times;
        let goes_on = gone_at.is_none();
        Self {
            version: *version,
            fold: goes_on.then_some(FOLD),
            state: goes_on.then(|| encode_state(cluster)),
            launched_at,
            admitted_at,
            ready_at,
            routed_at,
            claimed_at,
            ended_at,
            gone_at,
            changed_at,
            correlation_id: *correlation,
            last_event_id: *last_event,
        }
    }

    pub fn replayed(self, id: ClusterId) -> Result<Replayed, StoreError> {
        let state = self.state.filter(|_| self.fold == Some(FOLD));
        let state = state.ok_or_else(|| StoreError::Archived { what: format!("the beginning of {id}") })?;
        let stored = state.to_string();
        let cluster: Cluster = serde_json::from_value(state)
            .map_err(|_| StoreError::Stored { what: "state of a stream", value: stored })?;
        let Self { version, launched_at, admitted_at, ready_at, routed_at, .. } = self;
        let Self { claimed_at, ended_at, gone_at, changed_at, .. } = self;
        let times =
            Times { launched_at, admitted_at, ready_at, routed_at, claimed_at, ended_at, gone_at, changed_at };
        let (correlation, last_event) = (self.correlation_id, self.last_event_id);
        Ok(Replayed { cluster, version, times, correlation, last_event })
    }
}

/// In one round trip and one snapshot of the database: the row before the events, if there is one, has no kind.
/// What a stream had come to that ended in the archive is its read model, to which nothing is added any more.
pub(super) async fn history(
    executor: impl sqlx::PgExecutor<'_>,
    id: ClusterId,
    from: From,
) -> Result<History, StoreError> {
    let mut rows = sqlx::query_as!(
        Row,
        r#"WITH base AS (
               SELECT n.version, n.pos, n.fold, n.state, n.launched_at, n.admitted_at, NULL::timestamptz AS ready_at,
                      NULL::timestamptz AS routed_at, n.claimed_at, NULL::timestamptz AS ended_at,
                      NULL::timestamptz AS gone_at, n.changed_at, n.correlation_id, n.last_event_id
                 FROM slipway.snapshot n WHERE n.stream_id = $1 AND n.fold = $2 AND $3
               UNION ALL
               SELECT a.version, p.until, coalesce(a.fold, $2), coalesce(a.state, c.state), a.launched_at, a.admitted_at,
                      a.ready_at, a.routed_at, a.claimed_at, a.ended_at, a.gone_at, a.changed_at, a.correlation_id, a.last_event_id
                 FROM slipway.archived_stream a
                 JOIN slipway.partition p ON p.first = a.partition AND p.archived_at IS NOT NULL
                 LEFT JOIN slipway.cluster c ON c.id = a.stream_id AND c.version = a.version
                WHERE a.stream_id = $1
                ORDER BY 1 DESC LIMIT 1
           )
           SELECT 0::smallint AS "epoch!", '0'::xid8 AS "tx!: Tx", b.pos AS "pos!", $1 AS "stream_id!", b.version AS "version!",
                  b.last_event_id AS "event_id!", '' AS "kind!", b.fold AS "schema_version!", to_jsonb(b) AS "data!: Json<Box<RawValue>>",
                  '' AS "actor!", b.correlation_id AS "correlation_id!", NULL::uuid AS causation_id,
                  b.changed_at AS "recorded_at!"
             FROM base b
           UNION ALL
           SELECT e.epoch, e.tx, e.pos, e.stream_id, e.version, e.event_id, e.type, e.schema_version, e.data,
                  e.actor, e.correlation_id, e.causation_id, e.recorded_at
             FROM slipway.event e
            WHERE e.stream_id = $1 AND e.version > coalesce((SELECT b.version FROM base b), 0)
              AND e.pos >= coalesce((SELECT b.pos FROM base b),
                                    (SELECT s.first_pos FROM slipway.stream s WHERE s.stream_id = $1), 0)
            ORDER BY 5"#,
        id.to_string(),
        FOLD,
        from == From::Snapshot,
    )
    .fetch_all(executor)
    .await
    .map_err(StoreError::database("read a stream"))?
    .into_iter()
    .peekable();
    let base = match rows.next_if(|row| row.kind.is_empty()) {
        None => None,
        Some(row) => {
            let kept: Kept = serde_json::from_str(row.data.get())
                .map_err(|error| StoreError::Stored { what: "state of a stream", value: error.to_string() })?;
            Some(kept.replayed(id)?)
        }
    };
    Ok(History { id, base, events: rows.map(Recorded::try_from).collect::<Result<_, _>>()? })
}

/// What is wrong with the snapshot of a stream, if anything: it must be what the events had come to. One that this build
/// does not go on from, or whose events are in the archive, is nothing to it.
pub(super) async fn wrong_snapshot(
    connection: &mut PgConnection,
    history: &History,
) -> Result<Option<&'static str>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT n.version, n.state::text AS "state!", n.launched_at, n.admitted_at, n.claimed_at, n.correlation_id, n.last_event_id,
                  EXISTS (SELECT FROM slipway.event e WHERE e.stream_id = n.stream_id AND e.version = n.version
                             AND e.pos = n.pos AND e.hash = n.hash) AS "chained!"
             FROM slipway.snapshot n WHERE n.stream_id = $1 AND n.fold = $2"#,
        history.id.to_string(),
        FOLD,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::database("read a snapshot"))?;
    let Some(row) = row.filter(|row| row.version > history.left_out()) else { return Ok(None) };
    let Some(folded) = history.fold_to(row.version)? else {
        // Taken since the events were read, if it is later than those.
        let newest = history.events.last().map_or(0, |last| last.version);
        return Ok((row.version <= newest).then_some("is of an event that is not there"));
    };
    let kept = (row.launched_at, row.admitted_at, row.claimed_at, row.correlation_id, row.last_event_id);
    let Times { launched_at, admitted_at, claimed_at, .. } = folded.times;
    let is_same = kept == (launched_at, admitted_at, claimed_at, folded.correlation, folded.last_event)
        && decode_state(row.state).is_ok_and(|cluster| cluster == folded.cluster);
    Ok(if !row.chained {
        Some("is not of the event whose hash it names")
    } else if !is_same {
        Some("differs from what the log adds up to")
    } else {
        None
    })
}

/// Those of these streams that have a snapshot.
pub(super) async fn with_snapshots(
    executor: impl sqlx::PgExecutor<'_>,
    streams: &[String],
) -> Result<HashSet<String>, StoreError> {
    let streams = sqlx::query_scalar!("SELECT stream_id FROM slipway.snapshot WHERE stream_id = ANY($1)", streams);
    let streams = streams.fetch_all(executor).await.map_err(StoreError::database("look for snapshots"))?;
    Ok(streams.into_iter().collect())
}

/// The next two hundred events make another one.
pub(super) async fn forget_wrong_snapshot(
    connection: &mut PgConnection,
    history: &History,
) -> Result<(), StoreError> {
    if wrong_snapshot(&mut *connection, history).await?.is_some() {
        sqlx::query!("DELETE FROM slipway.snapshot WHERE stream_id = $1", history.id.to_string())
            .execute(connection)
            .await
            .map_err(StoreError::database("remove a wrong snapshot"))?;
    }
    Ok(())
}
