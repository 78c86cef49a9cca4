//! Routes that programs have posted: a stream of their own, and what it comes to.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{Store, StoreError};
use crate::domain::{Posted, RoutePath};

/// An event of posted routes: where a reader is. Its hash covers all before it, so that another event of the same version is not taken for
/// it: a server that has lost some gives their versions out once more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// 0 before the first.
    pub version: i64,
    hash: Vec<u8>,
}

/// All posted routes at one time.
#[derive(Debug, Clone)]
pub struct PostedRoutes {
    pub last: Mark,
    /// Each with its last use.
    pub routes: Vec<(Posted, DateTime<Utc>)>,
}

impl Store {
    /// Records all these changes in one transaction; the version of the last one.
    ///
    /// # Errors
    /// When the database does not answer. They may be recorded nevertheless.
    pub async fn post_routes(&self, changes: &[Posted]) -> Result<i64, StoreError> {
        let paths: Vec<String> = changes.iter().map(|change| change.path().to_string()).collect();
        let data: Vec<Option<Value>> = changes
            .iter()
            .map(|change| match change {
                Posted::Put { data, .. } => Some(Value::Object(data.clone())),
                Posted::Removed { .. } => None,
            })
            .collect();
        let query = sqlx::query_scalar!(
            r#"SELECT slipway.post_routes($1, $2) AS "version!""#,
            &paths,
            &data as &[Option<Value>],
        );
        let version = self.appending.run(async |connection| query.fetch_one(connection).await).await;
        let version = version.map_err(StoreError::database("record posted routes"))?;
        self.bell.owe();
        Ok(version)
    }

    /// The events at these versions, in order, as far as there are any.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn posted_marks(&self, versions: &[i64]) -> Result<Vec<Mark>, StoreError> {
        sqlx::query_as!(
            Mark,
            "SELECT version, hash FROM slipway.route_event WHERE version = ANY($1) ORDER BY version",
            versions,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read posted routes"))
    }

    /// Up to `limit` changes after an event, in order, each with its own; `None` if it is not there.
    ///
    /// # Errors
    /// When the database does not answer, or an event is not what this build writes.
    pub async fn posted_after(&self, after: &Mark, limit: i64) -> Result<Option<Vec<(Mark, Posted)>>, StoreError> {
        let rows = sqlx::query!(
            "SELECT version, hash, path, data FROM slipway.route_event WHERE version >= $1 ORDER BY version LIMIT $2",
            after.version,
            limit.saturating_add(1),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read posted routes"))?;
        let mut changes =
            rows.into_iter().map(|row| (Mark { version: row.version, hash: row.hash }, row.path, row.data));
        if after.version > 0 && changes.next().is_none_or(|(first, ..)| first != *after) {
            return Ok(None);
        }
        let changes = changes.map(|(mark, path, data)| Ok((mark, posted(path, data)?)));
        changes.collect::<Result<_, _>>().map(Some)
    }

    /// The routes that are posted now.
    ///
    /// # Errors
    /// As [`posted_after`](Self::posted_after).
    pub async fn posted_routes(&self) -> Result<PostedRoutes, StoreError> {
        // One statement, hence one snapshot of both tables.
        let rows = sqlx::query!(
            r#"SELECT log.version AS "version?", log.hash AS "hash?", r.path AS "path?", r.data AS "data?", r.last_activity AS "last_activity?"
                 FROM (VALUES (true)) AS one
                 LEFT JOIN (SELECT version, hash FROM slipway.route_event ORDER BY version DESC LIMIT 1) AS log ON true
                 LEFT JOIN slipway.posted_route r ON true"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read the posted routes"))?;
        let last = rows.first().and_then(|row| Some(Mark { version: row.version?, hash: row.hash.clone()? }));
        let mut found = PostedRoutes { last: last.unwrap_or_default(), routes: vec![] };
        for row in rows {
            if let (Some(path), Some(at)) = (row.path, row.last_activity) {
                found.routes.push((posted(path, row.data)?, at));
            }
        }
        Ok(found)
    }

    /// Merges uses of posted routes as a maximum; those used since that time by anyone.
    ///
    /// # Errors
    /// When the database does not answer; report the same again later.
    pub async fn share_posted_activity(
        &self,
        seen: &[(RoutePath, DateTime<Utc>)],
        since: DateTime<Utc>,
    ) -> Result<Vec<(String, DateTime<Utc>)>, StoreError> {
        let (paths, times): (Vec<_>, Vec<_>) = seen.iter().map(|(path, at)| (path.to_string(), *at)).unzip();
        sqlx::query!(
            r#"UPDATE slipway.posted_route r SET last_activity = s.at
                 FROM unnest($1::text[], $2::timestamptz[]) AS s (path, at)
                WHERE r.path = s.path AND r.last_activity < s.at"#,
            &paths,
            &times,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("record activity of posted routes"))?;
        let rows = sqlx::query!(
            r#"SELECT path, last_activity FROM slipway.posted_route WHERE last_activity >= $1"#,
            since,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read activity of posted routes"))?;
        Ok(rows.into_iter().map(|row| (row.path, row.last_activity)).collect())
    }

    /// Writes the posted routes anew from their events, while nothing is posted. When they were used is kept where it
    /// is known. Returns how many there are.
    ///
    /// # Errors
    /// When the database does not answer; nothing is changed then.
    pub async fn rebuild_posted(&self) -> Result<i64, StoreError> {
        let doing = StoreError::database;
        let mut tx = self.pool.begin().await.map_err(doing("begin a rebuild"))?;
        let count = rebuild_posted(&mut tx).await?;
        tx.commit().await.map_err(doing("commit a rebuild"))?;
        Ok(count)
    }

    /// Posted routes that are not what their events say.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn wrong_posts(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query_scalar!(
            r#"WITH said AS (
                   SELECT DISTINCT ON (path) path, version, data FROM slipway.route_event ORDER BY path, version DESC
               )
               SELECT path AS "path!" FROM (SELECT * FROM said WHERE data IS NOT NULL) AS said
                 FULL JOIN slipway.posted_route r USING (path)
                WHERE (said.version, said.data) IS DISTINCT FROM (r.version, r.data) ORDER BY 1 LIMIT 100"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("verify the posted routes"))?;
        Ok(rows.into_iter().map(|path| format!("posted route {path} is not what its events say")).collect())
    }

    /// What is wrong with the stream of posted routes: gaps, and hashes that do not match.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn broken_posts(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query_scalar!(
            r#"SELECT version FROM (
                   SELECT *, lag(hash, 1, ''::bytea) OVER stream AS hash_before,
                          lag(version, 1, 0::bigint) OVER stream AS version_before
                     FROM slipway.route_event WINDOW stream AS (ORDER BY version)
               ) AS chained
                WHERE version <> version_before + 1
                   OR hash <> slipway.route_event_hash(hash_before, version, type, path, data, recorded_at)
                ORDER BY version LIMIT 100"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("verify the posted routes"))?;
        Ok(rows
            .into_iter()
            .map(|version| {
                format!("posted routes, version {version}: its hash does not match, or one before it is missing")
            })
            .collect())
    }
}

/// Nothing is posted from here on until the transaction ends.
pub(super) async fn lock_posted(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('slipway.route_event', 0))")
        .execute(connection)
        .await
        .map_err(StoreError::database("lock the posted routes"))?;
    Ok(())
}

pub(super) async fn rebuild_posted(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let doing = StoreError::database;
    lock_posted(connection).await?;
    sqlx::query!(
        r#"DELETE FROM slipway.posted_route r WHERE NOT EXISTS
               (SELECT FROM slipway.route_event e WHERE e.path = r.path)"#
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("remove unknown routes"))?;
    sqlx::query_scalar!(
        r#"WITH said AS (
                   SELECT DISTINCT ON (path) path, version, data, recorded_at
                     FROM slipway.route_event ORDER BY path, version DESC
               ), removed AS (
                   DELETE FROM slipway.posted_route r USING said WHERE r.path = said.path AND said.data IS NULL
               ), written AS (
                   INSERT INTO slipway.posted_route AS r (path, version, data, last_activity)
                   SELECT path, version, data, recorded_at FROM said WHERE data IS NOT NULL
                   ON CONFLICT (path) DO UPDATE SET version = EXCLUDED.version, data = EXCLUDED.data,
                       last_activity = greatest(r.last_activity, EXCLUDED.last_activity)
                   RETURNING 1
               )
               SELECT count(*) AS "count!" FROM written"#
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(doing("write the posted routes"))
}

fn posted(path: String, data: Option<Value>) -> Result<Posted, StoreError> {
    let stored = |what, value: String| StoreError::Stored { what, value };
    let path: RoutePath = path.parse().map_err(|_| stored("route", path))?;
    match data {
        None => Ok(Posted::Removed { path }),
        Some(Value::Object(data)) => Ok(Posted::Put { path, data }),
        Some(other) => Err(stored("data of a route", other.to_string())),
    }
}
