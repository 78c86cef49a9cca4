//! When each route was last used: a measurement that the proxies flush in batches.

use chrono::{DateTime, Utc};

use super::{Store, StoreError};
use crate::domain::RoutePath;

impl Store {
    /// Merges as a maximum, so that any number of proxies may report in any order. Paths of no cluster
    /// are passed over.
    ///
    /// # Errors
    /// When the database does not answer; report the same again later.
    pub async fn record_activity(&self, seen: &[(RoutePath, DateTime<Utc>)]) -> Result<(), StoreError> {
        let (mut paths, mut streams, mut times) = (vec![], vec![], vec![]);
        for (path, time) in seen {
            if let Some(id) = path.cluster() {
                paths.push(path.to_string());
                streams.push(id.to_string());
                times.push(*time);
            }
        }
        sqlx::query!(
            r#"INSERT INTO slipway.activity AS a (path, stream_id, last_activity)
               SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[]) ORDER BY 1
               ON CONFLICT (path) DO UPDATE SET last_activity = EXCLUDED.last_activity
                WHERE a.last_activity < EXCLUDED.last_activity"#,
            &paths,
            &streams,
            &times,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("record activity"))?;
        Ok(())
    }

    /// The last uses after a time, of clusters that are not gone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn activity(&self, since: DateTime<Utc>) -> Result<Vec<(String, DateTime<Utc>)>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT a.path, a.last_activity FROM slipway.activity a
                 JOIN slipway.cluster c ON c.id = a.stream_id
                WHERE c.gone_at IS NULL AND a.last_activity > $1"#,
            since,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read activity"))?;
        Ok(rows.into_iter().map(|row| (row.path, row.last_activity)).collect())
    }

    /// Forgets the activity of clusters that are gone, and answered requests older than a week.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tidy(&self) -> Result<(), StoreError> {
        sqlx::query!(
            r#"DELETE FROM slipway.activity a USING slipway.cluster c
                WHERE c.id = a.stream_id AND c.gone_at < now() - interval '1 day'"#
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("forget old activity"))?;
        sqlx::query!(r#"DELETE FROM slipway.request WHERE created_at < now() - interval '7 days'"#)
            .execute(&self.pool)
            .await
            .map_err(StoreError::database("forget old requests"))?;
        Ok(())
    }
}
