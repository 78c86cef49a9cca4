//! The log's partitions: what there is, room for what is to come, and what is in the archive.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use tokio::time::sleep;

use super::archive::{ArchiveError, Bounds};
use super::error::code;
use super::{Store, StoreError};

const CHECK_VIOLATION: &str = "23514";
const LOCK_NOT_AVAILABLE: &str = "55P03";
const DEADLOCK: &str = "40P01";

/// How often is tried what takes a moment in which nobody uses the log.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(500);

/// A partition, attached or in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    #[serde(flatten)]
    pub bounds: Bounds,
    pub standing: Standing,
    pub events: i64,
    /// On disk with its indexes; none in the archive.
    pub bytes: Option<i64>,
    /// When its first and last event were recorded; the first is not known of one in the archive.
    pub oldest_at: Option<DateTime<Utc>>,
    pub newest_at: Option<DateTime<Utc>>,
    /// What its file was called when it went to the archive.
    pub file: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// In the archive.
    Archived,
    /// Nothing is added to it any more: it can go, after those before it.
    Sealed,
    /// Its last position was given out, and a transaction that may have it is still open, or was until a moment ago.
    Full,
    /// Being filled.
    Open,
    /// Not yet begun.
    Ahead,
}

/// What is in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveEnd {
    pub partitions: i64,
    pub events: i64,
    /// When the last of its events was recorded.
    pub newest_at: DateTime<Utc>,
}

impl Store {
    /// All partitions, the oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn partitions(&self) -> Result<Vec<Partition>, StoreError> {
        let doing = || StoreError::database("list the partitions");
        let rows = sqlx::query!(
            r#"SELECT p.first, p.until, p.archived_at IS NOT NULL AS "archived!", p.upto_tx IS NOT NULL AS "sealed!",
                      p.events, p.newest_at, p.file,
                      coalesce(pg_sequence_last_value('slipway.event_pos'::regclass), 0) AS "last!",
                      pg_total_relation_size(to_regclass('slipway.event_' || p.first)) AS bytes
                 FROM slipway.partition p ORDER BY p.first"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing())?;
        let mut partitions = Vec::with_capacity(rows.len());
        for row in rows {
            let standing = match (row.archived, row.sealed) {
                (true, _) => Standing::Archived,
                (false, true) => Standing::Sealed,
                (false, false) if row.until <= row.last + 1 => Standing::Full,
                (false, false) if row.first <= row.last => Standing::Open,
                (false, false) => Standing::Ahead,
            };
            let held = sqlx::query!(
                r#"SELECT count(*) AS "events!", min(recorded_at) AS oldest_at, max(recorded_at) AS newest_at
                     FROM slipway.event WHERE pos >= $1 AND pos < $2"#,
                row.first,
                row.until,
            )
            .fetch_one(&self.pool)
            .await
            .map_err(doing())?;
            partitions.push(Partition {
                bounds: Bounds { first: row.first, until: row.until },
                standing,
                events: row.events.unwrap_or(held.events),
                bytes: row.bytes,
                oldest_at: held.oldest_at,
                newest_at: row.newest_at.or(held.newest_at),
                file: row.file,
            });
        }
        Ok(partitions)
    }

    /// What is in the archive; `None` while nothing is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn archive_end(&self) -> Result<Option<ArchiveEnd>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT count(*) AS "partitions!", coalesce(sum(events), 0)::bigint AS "events!", max(newest_at) AS newest_at
                 FROM slipway.partition WHERE archived_at IS NOT NULL"#
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("look into the archive"))?;
        let (partitions, events) = (row.partitions, row.events);
        Ok(row.newest_at.map(|newest_at| ArchiveEnd { partitions, events, newest_at }))
    }

    /// How many events each partition holds that is made from now on.
    ///
    /// # Errors
    /// When the database does not answer, or the role is not the schema's owner.
    pub async fn set_partition_size(&self, events: i64) -> Result<(), StoreError> {
        sqlx::query!("UPDATE slipway.installation SET events_per_partition = $1", events)
            .execute(&self.pool)
            .await
            .map_err(StoreError::database("set the size of partitions"))?;
        self.extend_log().await.map(drop)
    }

    /// See [`set_partition_size`](Self::set_partition_size).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn partition_size(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar!("SELECT events_per_partition FROM slipway.installation")
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::database("read the size of partitions"))
    }

    /// Sees to it that there is room in the log for more events than a partition holds, and seals those that are full;
    /// how many partitions it has made. Cheap when there is nothing to do, and in nobody's way.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn extend_log(&self) -> Result<i32, StoreError> {
        let made = extend_log(&self.pool, 0).await?;
        if made > 0 {
            tracing::info!(made, "the log has new partitions");
        }
        Ok(made)
    }
}

pub(super) async fn extend_log(executor: impl sqlx::PgExecutor<'_>, events: usize) -> Result<i32, StoreError> {
    let room = i64::try_from(events).unwrap_or(i64::MAX);
    sqlx::query_scalar!(r#"SELECT slipway.extend_log($1) AS "made!""#, room)
        .fetch_one(executor)
        .await
        .map_err(StoreError::database("make room in the log"))
}

/// Whether an append failed because no partition is for its position.
pub(super) fn is_out_of_room(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some(CHECK_VIOLATION)
        && error.as_database_error().is_some_and(|raised| raised.message().contains("no partition"))
}

/// Runs what takes a lock that nobody may hold, in a transaction of its own, and begins anew when it does not get that soon:
/// whoever comes meanwhile waits behind it.
pub(super) async fn patiently(
    store: &Store,
    run: impl AsyncFn(&mut PgConnection) -> Result<(), StoreError>,
) -> Result<(), ArchiveError> {
    let mut left = TRIES;
    loop {
        let mut tx = store.pool.begin().await.map_err(StoreError::database("begin a change of the log"))?;
        sqlx::query!(r#"SELECT set_config('lock_timeout', '2s', true) AS "timeout!""#)
            .fetch_one(&mut *tx)
            .await
            .map_err(StoreError::database("limit how long a lock is waited for"))?;
        match run(&mut tx).await {
            Ok(()) => {
                tx.commit().await.map_err(StoreError::database("commit a change of the log"))?;
                return Ok(());
            }
            Err(StoreError::Database { source, .. })
                if matches!(code(&source).as_deref(), Some(LOCK_NOT_AVAILABLE | DEADLOCK)) =>
            {
                tx.rollback().await.map_err(StoreError::database("end a change of the log"))?;
                left -= 1;
                if left == 0 {
                    return Err(ArchiveError::Busy(source));
                }
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
