//! The pools: what each is to have ready, and what it has that nobody has claimed.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::events::parse_id;
use super::{Store, StoreError};
use crate::domain::pool::Unclaimed;
use crate::domain::{ClusterId, ProfileName, Subject};

/// What one pool is to have, and has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stock {
    pub profile: String,
    pub wanted: i32,
    /// That a launch would get now.
    pub ready: i64,
    /// All others that nobody has claimed: to come, to go, or not as they should be.
    pub others: i64,
}

/// Launches of one pool that have failed within the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    pub count: u32,
    pub last: Option<DateTime<Utc>>,
}

impl Store {
    /// Up to `limit` clusters of a pool that are as they should be and that nobody works on, in no order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claimable(&self, pool: &Subject, limit: i64) -> Result<Vec<ClusterId>, StoreError> {
        sqlx::query_scalar!(
            r#"SELECT c.id FROM slipway.cluster c JOIN slipway.work w ON w.stream_id = c.id
                WHERE c.live AND c.owner LIKE 'pool:%' AND c.owner = $1 AND slipway.is_claimable(c, w)
                ORDER BY random() LIMIT $2"#,
            pool.as_str(),
            limit,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("look for a cluster that is ready"))?
        .iter()
        .map(|id| parse_id(id))
        .collect()
    }

    /// All that pools have launched and nobody has claimed, with the pool of each; but what was put aside by hand.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unclaimed(&self) -> Result<Vec<(String, Unclaimed)>, StoreError> {
        sqlx::query!(
            r#"SELECT id, owner, status = 'running' AS "is_ready!", launched_at FROM slipway.cluster
                WHERE live AND owner LIKE 'pool:%' AND state #>> '{parked,kind}' IS DISTINCT FROM 'admin' ORDER BY id"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("list the clusters of the pools"))?
        .into_iter()
        .map(|row| {
            let (id, is_ready) = (parse_id(&row.id)?, row.is_ready);
            Ok((row.owner, Unclaimed { id, is_ready, is_current: false, launched_at: row.launched_at }))
        })
        .collect()
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn pool_failures(&self, pool: &Subject, since: DateTime<Utc>) -> Result<Failures, StoreError> {
        let row = sqlx::query!(
            r#"SELECT count(*) AS "count!", max(ended_at) AS last FROM slipway.cluster
                WHERE owner = $1 AND launched_at > $2::timestamptz - interval '1 day' AND ended_at > $2 AND status = 'failed'"#,
            pool.as_str(),
            since,
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("count what a pool failed to launch"))?;
        Ok(Failures { count: u32::try_from(row.count).unwrap_or(u32::MAX), last: row.last })
    }

    /// From now on these are the pools, and no others, and each is to have so many ready.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_pools(&self, pools: &[(&ProfileName, Subject, u16)]) -> Result<(), StoreError> {
        let profiles: Vec<String> = pools.iter().map(|(profile, ..)| profile.to_string()).collect();
        let owners: Vec<String> = pools.iter().map(|(_, owner, _)| owner.to_string()).collect();
        let wanted: Vec<i32> = pools.iter().map(|(.., wanted)| i32::from(*wanted)).collect();
        sqlx::query!(
            r#"WITH gone AS (DELETE FROM slipway.pool WHERE profile <> ALL ($1))
               INSERT INTO slipway.pool AS p (profile, owner, wanted)
               SELECT * FROM unnest($1::text[], $2::text[], $3::integer[])
               ON CONFLICT (profile) DO UPDATE SET owner = EXCLUDED.owner, wanted = EXCLUDED.wanted, set_at = now()
                WHERE (p.owner, p.wanted) <> (EXCLUDED.owner, EXCLUDED.wanted)"#,
            &profiles,
            &owners,
            &wanted,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("note what the pools are to have"))?;
        Ok(())
    }

    /// What the pools are to have and have, by profile.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stocks(&self) -> Result<Vec<Stock>, StoreError> {
        sqlx::query_as!(
            Stock,
            r#"WITH there AS MATERIALIZED (
                   SELECT c.owner, slipway.is_claimable(c, w) AS ready
                     FROM slipway.cluster c LEFT JOIN slipway.work w ON w.stream_id = c.id
                    WHERE c.live AND c.owner LIKE 'pool:%'
               )
               SELECT p.profile, p.wanted,
                      count(*) FILTER (WHERE t.ready AND t.owner = p.owner) AS "ready!",
                      count(t.owner) FILTER (WHERE NOT (t.ready AND t.owner = p.owner)) AS "others!"
                 FROM slipway.pool p LEFT JOIN there t ON starts_with(t.owner, 'pool:' || p.profile || ':')
                GROUP BY p.profile, p.wanted ORDER BY p.profile"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read what the pools have"))
    }
}
