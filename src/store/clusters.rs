//! The read model: clusters as they are now, for answers to those who just wrote.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::events::{Position, horizon, parse_id};
use super::{Store, StoreError};
use crate::domain::{Cluster, ClusterId, Door, Phase, Placed, Subject};

/// A cluster and what is known beside its state.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterRow {
    pub cluster: Cluster,
    pub version: i64,
    pub launched_at: DateTime<Utc>,
    pub admitted_at: Option<DateTime<Utc>>,
    pub ready_at: Option<DateTime<Utc>>,
    /// When its owner got it, which a pool had launched.
    pub claimed_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub gone_at: Option<DateTime<Utc>>,
    /// When one of its routes was last used.
    pub last_activity: Option<DateTime<Utc>>,
}

impl ClusterRow {
    /// When its owner asked for it.
    pub fn asked_at(&self) -> DateTime<Utc> {
        self.claimed_at.unwrap_or(self.launched_at)
    }

    /// Since when its lifetime is counted: not while it waits in line, nor before it is anybody's.
    pub fn lives_since(&self) -> Option<DateTime<Utc>> {
        let counts = self.cluster.phase != Phase::Waiting && !self.cluster.is_unclaimed();
        counts.then(|| self.claimed_at.or(self.admitted_at).unwrap_or(self.launched_at))
    }

    /// Since when it counts as idle: its last use, or since its owner could use it.
    pub fn idle_since(&self) -> Option<DateTime<Utc>> {
        (!self.cluster.is_unclaimed()).then(|| self.last_activity.max(self.ready_at).max(self.claimed_at))?
    }
}

/// Whose clusters.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    Everyones,
    Of(&'a Subject),
}

struct Row {
    state: String,
    version: i64,
    launched_at: DateTime<Utc>,
    admitted_at: Option<DateTime<Utc>>,
    ready_at: Option<DateTime<Utc>>,
    claimed_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    gone_at: Option<DateTime<Utc>>,
    last_activity: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for ClusterRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            cluster: decode_state(row.state)?,
            version: row.version,
            launched_at: row.launched_at,
            admitted_at: row.admitted_at,
            ready_at: row.ready_at,
            claimed_at: row.claimed_at,
            ended_at: row.ended_at,
            gone_at: row.gone_at,
            last_activity: row.last_activity,
        })
    }
}

/// Straight from its text, as by way of a `Value` it takes three times as long.
pub(super) fn decode_state(state: String) -> Result<Cluster, StoreError> {
    serde_json::from_str(&state).map_err(|_| StoreError::Stored { what: "cluster state", value: state })
}

/// Those that this build can read: the others, of a newer slipway, keep nobody from seeing to these.
pub(super) fn readable<T>(rows: impl Iterator<Item = Result<T, StoreError>>) -> Vec<T> {
    rows.filter_map(|row| row.inspect_err(|error| tracing::error!(%error, "a cluster is left out")).ok()).collect()
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn cluster(&self, id: ClusterId) -> Result<Option<ClusterRow>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"SELECT state::text AS "state!", version, launched_at, admitted_at, ready_at, claimed_at, ended_at, gone_at,
                      (SELECT max(last_activity) FROM slipway.activity a WHERE a.stream_id = c.id) AS last_activity
                 FROM slipway.cluster c WHERE id = $1"#,
            id.to_string(),
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::database("read a cluster"))?
        .map(ClusterRow::try_from)
        .transpose()
    }

    /// Newest first: those that are not gone, and those that ended after `ended_since`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn clusters(
        &self,
        whose: Whose<'_>,
        ended_since: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<ClusterRow>, StoreError> {
        let owner = match whose {
            Whose::Everyones => None,
            Whose::Of(owner) => Some(owner.as_str()),
        };
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT state::text AS "state!", version, launched_at, admitted_at, ready_at, claimed_at, ended_at, gone_at,
                      (SELECT max(last_activity) FROM slipway.activity a WHERE a.stream_id = c.id) AS last_activity
                 FROM slipway.cluster c
                WHERE ($1::text IS NULL OR owner = $1) AND (gone_at IS NULL OR ended_at >= $2)
                ORDER BY coalesce(claimed_at, launched_at) DESC, id LIMIT $3"#,
            owner,
            ended_since,
            limit,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("list clusters"))?;
        Ok(readable(rows.into_iter().map(ClusterRow::try_from)))
    }

    /// The clusters that are wanted, for the keeper.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn live(&self) -> Result<Vec<ClusterRow>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT state::text AS "state!", version, launched_at, admitted_at, ready_at, claimed_at, ended_at, gone_at,
                      (SELECT max(last_activity) FROM slipway.activity a WHERE a.stream_id = c.id) AS last_activity
                 FROM slipway.cluster c WHERE live AND gone_at IS NULL ORDER BY id"#,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("list live clusters"))?;
        Ok(readable(rows.into_iter().map(ClusterRow::try_from)))
    }

    /// The clusters that have or just had routes and the position to follow the log from, in one
    /// snapshot: what comes after it is either in the clusters' versions or yet to be read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn routed(&self) -> Result<(HashMap<ClusterId, Placed>, Position), StoreError> {
        let doing = StoreError::database;
        let mut tx = self
            .pool
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(doing("begin a snapshot"))?;
        let position = horizon(&mut *tx).await?;
        // Those just gone are needed too: the log is read again from the horizon, and without
        // their versions their last routes would come back for a moment.
        let rows = sqlx::query!(
            r#"SELECT c.id, c.version, c.state::text AS "state!", coalesce(c.routed_at, c.launched_at) AS "since!"
                 FROM slipway.cluster c JOIN slipway.stream s ON s.stream_id = c.id
                WHERE c.gone_at IS NULL OR s.last_tx >= pg_snapshot_xmin(pg_current_snapshot())"#
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(doing("list the routes"))?;
        tx.commit().await.map_err(doing("end a snapshot"))?;
        let routed = readable(rows.into_iter().map(|row| {
            let cluster = decode_state(row.state)?;
            let (endpoint, door) = (cluster.phase.endpoint().cloned(), Door::of(&cluster));
            Ok((parse_id(&row.id)?, Placed { version: row.version, endpoint, door, since: row.since }))
        }));
        Ok((routed.into_iter().collect(), position))
    }
}
