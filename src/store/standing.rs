//! Where the work on each cluster stands: for those who ask whether all is as it should be.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::clusters::{decode_state, readable};
use super::events::parse_id;
use super::{Store, StoreError};
use crate::domain::{Cluster, ClusterId};

/// A cluster, and what the queue knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub cluster: Cluster,
    /// How often a worker has taken it.
    pub claims: i64,
    /// It is being seen to, or will be: now, after a pause, or at the end of a lease.
    pub scheduled: bool,
    /// Given up until asked for anew.
    pub parked: bool,
    /// Of the last pass, if that failed.
    pub last_error: Option<String>,
}

/// What the queue is to do about a cluster, and what became of it so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Failures since it last went well.
    pub attempts: i32,
    /// When it is next looked at; the end of the lease while somebody is at it.
    pub due_at: Option<DateTime<Utc>>,
    /// The worker who is at it.
    pub worker: Option<String>,
    pub parked_at: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
}

/// Work that nobody does until it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    pub cluster: ClusterId,
    pub status: String,
    pub since: Option<DateTime<Utc>>,
    pub attempts: i32,
    /// Who put it aside or gave it up, and why, as the log has it.
    pub by: Option<String>,
    pub why: Option<String>,
    pub last_error: Option<String>,
}

impl Standing {
    /// The last pass over it went well and found it as the log wants it: nothing else leaves a row like this.
    pub fn is_seen_to(&self) -> bool {
        self.claims > 0 && !self.scheduled && !self.parked
    }
}

impl Store {
    /// Every cluster that is not gone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT c.state::text AS "state!", coalesce(w.lease_token, 0) AS "claims!", w.due_at IS NOT NULL AS "scheduled!",
                      w.parked_at IS NOT NULL AS "parked!", w.last_error AS "last_error?"
                 FROM slipway.cluster c LEFT JOIN slipway.work w ON w.stream_id = c.id
                WHERE c.gone_at IS NULL ORDER BY c.id"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read where the work stands"))?;
        Ok(readable(rows.into_iter().map(|row| {
            Ok(Standing {
                cluster: decode_state(row.state)?,
                claims: row.claims,
                scheduled: row.scheduled,
                parked: row.parked,
                last_error: row.last_error,
            })
        })))
    }

    /// What there is to do about this cluster, if there ever was anything.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn work(&self, id: ClusterId) -> Result<Option<Work>, StoreError> {
        sqlx::query_as!(
            Work,
            r#"SELECT attempt AS attempts, due_at, lease_owner AS worker, parked_at, last_error
                 FROM slipway.work WHERE stream_id = $1"#,
            id.to_string(),
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::database("read the work on a cluster"))
    }

    /// What was given up or put aside, oldest first; also what no worker has got to put aside yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        sqlx::query!(
            r#"SELECT c.id, c.status, coalesce(w.parked_at, e.recorded_at) AS "since?", coalesce(w.attempt, 0) AS "attempts!",
                      e.actor AS "by?", c.state #>> '{parked,why}' AS why, w.last_error AS "last_error?"
                 FROM slipway.cluster c
                 LEFT JOIN slipway.work w ON w.stream_id = c.id
                 LEFT JOIN LATERAL (
                     SELECT e.actor, e.recorded_at FROM slipway.event e
                      WHERE e.stream_id = c.id AND e.type = 'Parked' AND c.state ? 'parked'
                      ORDER BY e.version DESC LIMIT 1) AS e ON true
                WHERE c.gone_at IS NULL AND (w.parked_at IS NOT NULL OR c.state #>> '{parked,kind}' = 'admin')
                ORDER BY 3, 1"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("list what was given up"))?
        .into_iter()
        .map(|row| {
            Ok(DeadLetter {
                cluster: parse_id(&row.id)?,
                status: row.status,
                since: row.since,
                attempts: row.attempts,
                by: row.by,
                why: row.why,
                last_error: row.last_error,
            })
        })
        .collect()
    }

    /// Makes every live cluster that is neither in line nor put aside due at once, whether it waits for another try, was given up or was
    /// thought to be right; one that is leased, once more after the pass under way. Returns how often each was claimed
    /// until now: a later claim has a higher number.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn make_live_due(&self) -> Result<Vec<(ClusterId, i64)>, StoreError> {
        self.enqueue_missing(Duration::ZERO).await?;
        sqlx::query!(
            r#"WITH live AS MATERIALIZED (
                   SELECT w.stream_id FROM slipway.work w JOIN slipway.cluster c ON c.id = w.stream_id
                    WHERE c.live AND c.gone_at IS NULL AND NOT slipway.in_line(c.state)
                      AND c.state #>> '{parked,kind}' IS DISTINCT FROM 'admin'
                    ORDER BY w.stream_id FOR UPDATE OF w
               )
               UPDATE slipway.work w SET
                   parked_at = NULL, attempt = 0, nudged = w.lease_owner IS NOT NULL,
                   done_version = least(w.done_version, w.wanted_version - 1), -- somebody asks for it
                   due_at = CASE WHEN w.lease_owner IS NULL THEN least(w.due_at, clock_timestamp()) ELSE w.due_at END
                 FROM live WHERE w.stream_id = live.stream_id
            RETURNING w.stream_id, w.lease_token"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("make all live clusters due"))?
        .into_iter()
        .map(|row| Ok((parse_id(&row.stream_id)?, row.lease_token)))
        .collect()
    }
}
