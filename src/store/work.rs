//! The work queue: claim, heartbeat, finish if still mine.
//!
//! None of it waits for the disk: who holds what, and until when, are no facts. When the server crashes and the last
//! moments of the queue are lost, work is done once more. A claim that was lost may give its token out again, and so
//! the owner's name fences as well.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;

use super::events::parse_id;
use super::{Store, StoreError};
use crate::domain::ClusterId;

/// A claim on one cluster, valid until it is released or its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub id: ClusterId,
    /// Fences, together with the token: a name that no other worker has, nor had.
    pub owner: String,
    /// Fences: a later claim has a higher one.
    pub token: i64,
    /// The newest request for a reconcile when it was claimed.
    pub wanted_version: i64,
    /// How often it was tried since it last went well, this time included.
    pub attempt: i32,
}

/// Leases as the arrays that a statement takes, in the order in which all who lock several rows of the queue do it, so that none
/// waits for another that waits for it.
struct Held {
    ids: Vec<String>,
    tokens: Vec<i64>,
    versions: Vec<i64>,
    owners: Vec<String>,
}

impl Held {
    fn of(leases: &[Lease]) -> Self {
        let mut leases: Vec<_> = leases.iter().map(|lease| (lease.id.to_string(), lease)).collect();
        leases.sort_by(|one, other| one.0.cmp(&other.0));
        Self {
            tokens: leases.iter().map(|(_, lease)| lease.token).collect(),
            versions: leases.iter().map(|(_, lease)| lease.wanted_version).collect(),
            owners: leases.iter().map(|(_, lease)| lease.owner.clone()).collect(),
            ids: leases.into_iter().map(|(id, _)| id).collect(),
        }
    }
}

const MISSING_AT_ONCE: i64 = 500;

/// A duration as Postgres has it; longer ones than 290,000 years are cut.
pub(super) fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

impl Store {
    /// Prolongs leases; returns the tokens' clusters that are still held. The others were lost.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn heartbeat(&self, leases: &[Lease], lease: Duration) -> Result<Vec<ClusterId>, StoreError> {
        let held = Held::of(leases);
        sqlx::query_scalar!(
            r#"UPDATE slipway.work w SET due_at = clock_timestamp() + $3
                 FROM unnest($1::text[], $2::bigint[], $4::text[]) AS mine (id, token, owner)
                WHERE w.stream_id = mine.id AND w.lease_token = mine.token AND w.lease_owner = mine.owner
                  AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL
            RETURNING w.stream_id"#,
            &held.ids,
            &held.tokens,
            interval(lease),
            &held.owners,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("prolong leases"))?
        .iter()
        .map(|id| parse_id(id))
        .collect()
    }

    /// The cluster is as it should be. What was asked for since the claim is due at once.
    /// Returns whether the lease was still held.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn finish(&self, lease: &Lease) -> Result<bool, StoreError> {
        Ok(!self.finish_all(std::slice::from_ref(lease)).await?.is_empty())
    }

    /// The same of several, in one transaction; returns the clusters whose leases were still held.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn finish_all(&self, leases: &[Lease]) -> Result<Vec<ClusterId>, StoreError> {
        let held = Held::of(leases);
        let query = sqlx::query_scalar!(
            r#"UPDATE slipway.work w
                  SET done_version = greatest(done_version, mine.version), attempt = 0, lease_owner = NULL, last_error = NULL,
                      due_at = CASE WHEN wanted_version > mine.version OR nudged THEN clock_timestamp() END
                 FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS mine (id, token, version, owner)
                WHERE w.stream_id = mine.id AND w.lease_token = mine.token AND w.lease_owner = mine.owner
                  AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL
            RETURNING w.stream_id"#,
            &held.ids,
            &held.tokens,
            &held.versions,
            &held.owners,
        );
        let finished = self.working.run(async |connection| query.fetch_all(connection).await).await;
        let finished = finished.map_err(StoreError::database("finish work"))?;
        finished.iter().map(|id| parse_id(id)).collect()
    }

    /// All went well, but it is not there yet: look again after `delay`, or at once if more is asked for.
    /// Returns whether the lease was still held.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn look_again(&self, lease: &Lease, delay: Duration) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"UPDATE slipway.work
                  SET attempt = 0, lease_owner = NULL, last_error = NULL,
                      due_at = clock_timestamp() + CASE WHEN wanted_version > $3 OR nudged THEN interval '0' ELSE $4 END
                WHERE stream_id = $1 AND lease_token = $2 AND lease_owner = $5
                  AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL"#,
            lease.id.to_string(),
            lease.token,
            lease.wanted_version,
            interval(delay),
            lease.owner,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("reschedule work"))?;
        Ok(done.rows_affected() == 1)
    }

    /// Nobody is to work on it until it is asked for anew. Returns whether the lease was still held.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put_aside(&self, lease: &Lease) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"UPDATE slipway.work
                  SET attempt = greatest(attempt - 1, 0), lease_owner = NULL,
                      due_at = CASE WHEN wanted_version > $3 THEN clock_timestamp() END,
                      parked_at = CASE WHEN wanted_version > $3 THEN NULL ELSE clock_timestamp() END
                WHERE stream_id = $1 AND lease_token = $2 AND lease_owner = $4
                  AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL"#,
            lease.id.to_string(),
            lease.token,
            lease.wanted_version,
            lease.owner,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("put work aside"))?;
        Ok(done.rows_affected() == 1)
    }

    /// It went wrong: try again after `delay`, or not until asked anew or the next resync when `park`.
    /// Returns whether the lease was still held.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn fail(&self, lease: &Lease, error: &str, delay: Duration, park: bool) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"UPDATE slipway.work
                  SET lease_owner = NULL, last_error = left($3, 4000),
                      due_at = CASE WHEN NOT $5 THEN clock_timestamp() + $4 END,
                      parked_at = CASE WHEN $5 THEN clock_timestamp() END,
                      done_version = CASE WHEN $5 THEN greatest(done_version, $7) ELSE done_version END
                WHERE stream_id = $1 AND lease_token = $2 AND lease_owner = $6
                  AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL"#,
            lease.id.to_string(),
            lease.token,
            error,
            interval(delay),
            park,
            lease.owner,
            lease.wanted_version,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("record failed work"))?;
        Ok(done.rows_affected() == 1)
    }

    /// It could not be tried, which is not the cluster's fault: try again after `delay`, as if for the first time.
    /// Returns whether the lease was still held.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn postpone(&self, lease: &Lease, error: &str, delay: Duration) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"UPDATE slipway.work
                  SET lease_owner = NULL, last_error = left($3, 4000), attempt = greatest(attempt - 1, 0),
                      due_at = clock_timestamp() + $4
                WHERE stream_id = $1 AND lease_token = $2 AND lease_owner = $5
                  AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL"#,
            lease.id.to_string(),
            lease.token,
            error,
            interval(delay),
            lease.owner,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("postpone work"))?;
        Ok(done.rows_affected() == 1)
    }

    /// A hint that the cluster may have changed: it is looked at now, or once more after the pass under way.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn touch(&self, ids: &[ClusterId]) -> Result<(), StoreError> {
        let mut ids: Vec<String> = ids.iter().map(ClusterId::to_string).collect();
        ids.sort();
        sqlx::query!(
            r#"UPDATE slipway.work
                  SET nudged = lease_owner IS NOT NULL,
                      due_at = CASE WHEN lease_owner IS NULL THEN least(due_at, clock_timestamp()) ELSE due_at END
                WHERE stream_id = ANY ($1) AND parked_at IS NULL
                  AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL"#,
            &ids,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("hurry work"))?;
        Ok(())
    }

    /// Makes every cluster that is not gone due within `spread`, so that what drifted is repaired, and what the workers
    /// have parked is tried once more: nobody can ask anew for a removal. What an organiser has put aside stays so.
    /// Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn resync(&self, spread: Duration) -> Result<u64, StoreError> {
        let missing = self.enqueue_missing(spread).await?;
        let done = sqlx::query!(
            r#"WITH idle AS MATERIALIZED (
                   SELECT w.stream_id FROM slipway.work w JOIN slipway.cluster c ON c.id = w.stream_id
                    WHERE c.gone_at IS NULL AND c.state #>> '{parked,kind}' IS DISTINCT FROM 'admin'
                      AND w.lease_owner IS NULL AND w.due_at IS NULL
                    ORDER BY w.stream_id FOR UPDATE OF w
               )
               UPDATE slipway.work w SET due_at = clock_timestamp() + random() * $1::interval, parked_at = NULL
                 FROM idle WHERE w.stream_id = idle.stream_id"#,
            interval(spread),
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("resync"))?;
        Ok(missing + done.rows_affected())
    }

    /// Queues every cluster that should be in the queue and is not, due within `spread`; returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn enqueue_missing(&self, spread: Duration) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            // Some at a time, as each stream's lock is kept to the end of the transaction.
            let made = sqlx::query_scalar!(
                r#"SELECT slipway.enqueue_missing($1, $2) AS "made!""#,
                interval(spread),
                MISSING_AT_ONCE
            )
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::database("queue what is missing"))?;
            all += made.unsigned_abs();
            if made < MISSING_AT_ONCE {
                return Ok(all);
            }
        }
    }
}
