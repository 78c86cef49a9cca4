//! Where the work on each cluster stands: for those who ask whether all is as it should be.

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

    /// Makes every live cluster that is not in line due at once, whether it waits for another try, was given up or was
    /// thought to be right; one that is leased, once more after the pass under way. Returns how often each was claimed
    /// until now: a later claim has a higher number.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn make_live_due(&self) -> Result<Vec<(ClusterId, i64)>, StoreError> {
        sqlx::query!(
            r#"INSERT INTO slipway.work AS w (stream_id, wanted_version)
               SELECT id, version FROM slipway.cluster
                WHERE live AND gone_at IS NULL AND NOT slipway.in_line(state) ORDER BY id
               ON CONFLICT (stream_id) DO UPDATE SET
                   parked_at = NULL, attempt = 0, nudged = w.lease_owner IS NOT NULL,
                   due_at = CASE WHEN w.lease_owner IS NULL THEN clock_timestamp() ELSE w.due_at END
            RETURNING stream_id, lease_token"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("make all live clusters due"))?
        .into_iter()
        .map(|row| Ok((parse_id(&row.stream_id)?, row.lease_token)))
        .collect()
    }
}
