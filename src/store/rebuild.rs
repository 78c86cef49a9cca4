//! Read models made anew from the log.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::append::encode_state;
use super::events::parse_id;
use super::snapshot::{forget_wrong_snapshot, history, with_snapshots};
use super::stream::{From, Replayed, Times};
use super::{Store, StoreError};
use crate::domain::ClusterId;

/// Streams that are best rebuilt in one go: their read models are written by one statement, and nobody appends to them meanwhile.
pub const TOGETHER: usize = 50;

impl Store {
    /// How many streams and events the log holds.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn log_size(&self) -> Result<(i64, i64), StoreError> {
        let row = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM slipway.stream) AS "streams!",
                      (SELECT count(*) FROM slipway.event) AS "events!""#
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("measure the log"))?;
        Ok((row.streams, row.events))
    }

    /// How many streams have a name that sorts after the given one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_streams_after(&self, after: &str) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            r#"SELECT count(*) AS "streams!" FROM slipway.stream WHERE stream_id > $1 AND version > 0"#,
            after,
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("count the streams"))
    }

    /// Up to `limit` streams whose name sorts after the given one, in order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn streams_after(&self, after: &str, limit: i64) -> Result<Vec<ClusterId>, StoreError> {
        sqlx::query_scalar!(
            "SELECT stream_id FROM slipway.stream WHERE stream_id > $1 AND version > 0 ORDER BY stream_id LIMIT $2",
            after,
            limit,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("list the streams"))?
        .iter()
        .map(|id| parse_id(id))
        .collect()
    }

    /// The clusters to which anything happened after one time and until another.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn streams_changed(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<ClusterId>, StoreError> {
        sqlx::query_scalar!(
            "SELECT DISTINCT stream_id FROM slipway.event WHERE recorded_at > $1 AND recorded_at <= $2 ORDER BY 1",
            after,
            until,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("look for changes"))?
        .iter()
        .map(|id| parse_id(id))
        .collect()
    }

    /// Writes the read models of these clusters from the log, where they differ, and makes those not gone due for a reconcile.
    /// The streams are locked meanwhile as an append would, so this is safe while the system runs; some tens of short ones take some
    /// milliseconds.
    ///
    /// # Errors
    /// When the log does not add up or the database does not answer; nothing is written then.
    pub async fn rebuild(&self, ids: &[ClusterId]) -> Result<(), StoreError> {
        let doing = StoreError::database;
        let mut tx = self.pool.begin().await.map_err(doing("begin a rebuild"))?;
        sqlx::query!(
            "SELECT pg_advisory_xact_lock(hashtextextended(id, 0))
               FROM (SELECT id FROM unnest($1::text[]) id ORDER BY id) AS in_order",
            &names(ids),
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("lock streams"))?;
        // What is read after the locks is all there is: nobody appends to these streams now.
        rebuild(&mut tx, ids).await?;
        tx.commit().await.map_err(doing("commit a rebuild"))
    }

    /// Removes rows of streams that the log does not have and counts usage anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn finish_rebuild(&self) -> Result<(), StoreError> {
        let doing = StoreError::database;
        let mut tx = self.pool.begin().await.map_err(doing("begin a count"))?;
        recount(&mut tx).await?;
        tx.commit().await.map_err(doing("commit a count"))
    }
}

/// Writes the read models of some clusters, and makes them due if they are not gone. Whoever calls has the streams' locks, or the
/// whole log's.
pub(super) async fn rebuild(connection: &mut PgConnection, ids: &[ClusterId]) -> Result<(), StoreError> {
    let doing = StoreError::database;
    let names = names(ids);
    let with_snapshots = with_snapshots(&mut *connection, &names).await?;
    let mut models = Vec::new();
    for (&id, name) in ids.iter().zip(&names) {
        let history = history(&mut *connection, id, From::Beginning).await?;
        let Some(replayed) = history.fold(None)? else { continue };
        if with_snapshots.contains(name) {
            forget_wrong_snapshot(&mut *connection, &history).await?;
        }
        models.push(model(name, &replayed));
    }
    sqlx::query!(
        r#"INSERT INTO slipway.cluster AS c
             (id, version, owner, status, live, workers_wanted, state, launched_at, ready_at, routed_at, ended_at, gone_at,
              admitted_at, claimed_at)
           SELECT id, version, owner, status, live, workers_wanted, state, launched_at, ready_at, routed_at, ended_at, gone_at,
                  admitted_at, claimed_at
             FROM jsonb_populate_recordset(NULL::slipway.cluster, $1) AS said
            WHERE NOT EXISTS (SELECT FROM slipway.cluster had WHERE had.id = said.id AND to_jsonb(had) = to_jsonb(said))
           ON CONFLICT (id) DO UPDATE SET
             version = EXCLUDED.version, owner = EXCLUDED.owner, status = EXCLUDED.status, live = EXCLUDED.live,
             workers_wanted = EXCLUDED.workers_wanted, state = EXCLUDED.state, launched_at = EXCLUDED.launched_at,
             ready_at = EXCLUDED.ready_at, routed_at = EXCLUDED.routed_at, ended_at = EXCLUDED.ended_at,
             gone_at = EXCLUDED.gone_at, admitted_at = EXCLUDED.admitted_at, claimed_at = EXCLUDED.claimed_at"#,
        Value::Array(models),
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("write read models"))?;
    sqlx::query!(
        "SELECT slipway.enqueue(id, version, clock_timestamp()) FROM slipway.cluster
          WHERE id = ANY($1) AND gone_at IS NULL AND NOT slipway.in_line(state)",
        &names,
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("queue rebuilt clusters"))?;
    sqlx::query!(
        "WITH idle AS MATERIALIZED (
             SELECT w.stream_id FROM slipway.work w JOIN slipway.cluster c ON c.id = w.stream_id
              WHERE w.stream_id = ANY($1) AND c.gone_at IS NULL AND w.lease_owner IS NULL AND w.parked_at IS NULL
              ORDER BY w.stream_id FOR UPDATE OF w
         )
         UPDATE slipway.work w SET due_at = least(w.due_at, clock_timestamp()) FROM idle WHERE w.stream_id = idle.stream_id",
        &names,
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("queue rebuilt clusters"))?;
    Ok(())
}

/// A row of `cluster`.
fn model(id: &str, replayed: &Replayed) -> Value {
    let Replayed { cluster, version, times, .. } = replayed;
    let Times { launched_at, admitted_at, ready_at, routed_at, claimed_at, ended_at, gone_at, .. } = times;
    json!({
        "id": id,
        "version": version,
        "owner": cluster.owner.as_str(),
        "status": cluster.phase.status(),
        "live": cluster.phase.is_live(),
        "workers_wanted": cluster.workers.get(),
        "state": encode_state(cluster),
        "launched_at": launched_at,
        "ready_at": ready_at,
        "routed_at": routed_at,
        "ended_at": ended_at,
        "gone_at": gone_at,
        "admitted_at": admitted_at,
        "claimed_at": claimed_at,
    })
}

fn names(ids: &[ClusterId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

pub(super) async fn recount(connection: &mut PgConnection) -> Result<(), StoreError> {
    let doing = StoreError::database;
    // Appends that change usage wait; they take the rows of this table in the same order.
    sqlx::query!("LOCK TABLE slipway.usage IN EXCLUSIVE MODE")
        .execute(&mut *connection)
        .await
        .map_err(doing("lock usage"))?;
    sqlx::query!(
        r#"DELETE FROM slipway.cluster c WHERE NOT EXISTS
               (SELECT FROM slipway.stream s WHERE s.stream_id = c.id AND s.version > 0)"#
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("remove unknown clusters"))?;
    sqlx::query!("DELETE FROM slipway.usage").execute(&mut *connection).await.map_err(doing("clear usage"))?;
    sqlx::query!(
        r#"INSERT INTO slipway.usage (owner, clusters, workers)
               SELECT coalesce(owner, '*'), count(*), sum(workers_wanted) FROM slipway.cluster WHERE live
                GROUP BY GROUPING SETS ((owner), ())
               HAVING count(*) > 0 AND coalesce(owner, '*') NOT LIKE 'pool:%'"#
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("count usage"))?;
    Ok(())
}
