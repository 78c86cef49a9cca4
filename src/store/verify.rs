//! Whether the log is what it was, and the read models what it says.

use super::snapshot::wrong_snapshot;
use super::stream::Replayed;
use super::{Store, StoreError};
use crate::domain::ClusterId;

impl Store {
    /// Streams with a broken hash chain, a gap in their versions, an order against the log's, or a head
    /// that is not their last event. Each with what is wrong.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn broken_chains(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query!(
            r#"WITH base AS (
                   SELECT DISTINCT ON (a.stream_id) a.stream_id, a.version, a.hash
                     FROM slipway.archived_stream a
                     JOIN slipway.partition p ON p.first = a.partition AND p.archived_at IS NOT NULL
                    ORDER BY a.stream_id, a.version DESC
               ), chained AS (
                   SELECT e.*, coalesce(lag(e.hash) OVER stream, b.hash, ''::bytea) AS hash_before,
                          coalesce(lag(e.version) OVER stream, b.version, 0) AS version_before,
                          lag(epoch) OVER stream AS epoch_before, lag(tx) OVER stream AS tx_before,
                          lag(pos) OVER stream AS pos_before
                     FROM slipway.event e LEFT JOIN base b USING (stream_id)
                   WINDOW stream AS (PARTITION BY e.stream_id ORDER BY e.version)
               )
               SELECT stream_id AS "stream!", version AS "version!",
                      CASE WHEN version <> version_before + 1 THEN 'an event before it is missing'
                           WHEN (epoch, tx, pos) < (epoch_before, tx_before, pos_before) THEN 'it is out of order'
                           ELSE 'its hash does not match' END AS "wrong!"
                 FROM chained
                WHERE version <> version_before + 1
                   OR (epoch, tx, pos) < (epoch_before, tx_before, pos_before)
                   OR hash <> slipway.event_hash(hash_before, stream_id, version, event_id, type, schema_version, data,
                                                 actor, correlation_id, causation_id, recorded_at)
               UNION ALL
               SELECT s.stream_id, s.version, 'the head of the stream is not its last event'
                 FROM slipway.stream s
                 LEFT JOIN slipway.event e ON e.stream_id = s.stream_id AND e.version = s.version
                 LEFT JOIN base b ON b.stream_id = s.stream_id AND b.version = s.version
                WHERE s.version > 0 AND coalesce(e.hash, b.hash) IS DISTINCT FROM s.last_hash
               UNION ALL
               SELECT e.stream_id, max(e.version), 'there are events beyond the head of the stream'
                 FROM slipway.event e LEFT JOIN slipway.stream s USING (stream_id)
                WHERE e.version > coalesce(s.version, 0) GROUP BY e.stream_id
               ORDER BY 1, 2 LIMIT 100"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("verify the hash chains"))?;
        Ok(rows.into_iter().map(|row| format!("{} version {}: {}", row.stream, row.version, row.wrong)).collect())
    }

    /// What is wrong with the read model of this cluster or with its snapshot, if anything.
    ///
    /// # Errors
    /// When the log does not add up or the database does not answer.
    pub async fn check_read_model(&self, id: ClusterId) -> Result<Option<String>, StoreError> {
        let history = self.history(id).await?;
        let stored = self.cluster(id).await?;
        let wrong = match (history.fold(None)?, stored) {
            (None, None) => None,
            (Some(_), None) => Some("it is missing"),
            (None, Some(_)) => Some("the log has no such cluster"),
            (Some(Replayed { version, .. }), Some(row)) if row.version > version => None, // appended meanwhile
            (Some(Replayed { version, .. }), Some(row)) if row.version < version => Some("it is behind the log"),
            (Some(Replayed { cluster, times, .. }), Some(row)) => (cluster != row.cluster
                || times.launched_at != row.launched_at)
                .then_some("it differs from what the log adds up to"),
        };
        if let Some(wrong) = wrong {
            return Ok(Some(format!("read model of {id}: {wrong}")));
        }
        let mut connection = self.pool.acquire().await.map_err(StoreError::database("read a snapshot"))?;
        let wrong = wrong_snapshot(&mut connection, &history).await?;
        Ok(wrong.map(|wrong| format!("snapshot of {id}: it {wrong}")))
    }

    /// Owners whose usage is not what their clusters add up to.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn wrong_usage(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query_scalar!(
            r#"WITH counted AS (
                   SELECT coalesce(owner, '*') AS owner, count(*)::integer AS clusters, sum(workers_wanted)::integer AS workers
                     FROM slipway.cluster WHERE live GROUP BY GROUPING SETS ((owner), ())
                   HAVING count(*) > 0 AND coalesce(owner, '*') NOT LIKE 'pool:%'
               )
               SELECT owner AS "owner!" FROM counted FULL JOIN slipway.usage u USING (owner)
                WHERE (coalesce(counted.clusters, 0), coalesce(counted.workers, 0))
                   <> (coalesce(u.clusters, 0), coalesce(u.workers, 0)) ORDER BY 1"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("verify usage"))?;
        Ok(rows.into_iter().map(|owner| format!("usage of {owner} is not what its clusters add up to")).collect())
    }
}
