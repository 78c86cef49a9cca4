//! The organiser's questions, answered by the audit view.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Store, StoreError};

/// One row of `slipway.launches`.
#[derive(Debug, Clone, Serialize)]
pub struct LaunchRow {
    pub cluster: String,
    pub requested_by: String,
    pub owner: String,
    /// Who that is, if it is known.
    pub person: Option<String>,
    /// From where it was asked for, if that is known.
    pub address: Option<String>,
    pub profile: String,
    pub workers_requested: i32,
    pub requested_at: DateTime<Utc>,
    pub seconds_in_line: Option<f64>,
    pub seconds_to_ready: Option<f64>,
    pub outcome: String,
    pub ended_at: Option<DateTime<Utc>>,
    pub ended_by: Option<String>,
    pub stop_reason: Option<String>,
    pub failure: Option<String>,
    pub workers_peak: i32,
    pub worker_hours: f64,
}

impl Store {
    /// Launches since a time, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn launches(&self, since: DateTime<Utc>, limit: i64) -> Result<Vec<LaunchRow>, StoreError> {
        sqlx::query_as!(
            LaunchRow,
            r#"SELECT cluster AS "cluster!", requested_by AS "requested_by!", owner AS "owner!", person, host(address) AS address,
                      profile AS "profile!", workers_requested AS "workers_requested!",
                      requested_at AS "requested_at!", seconds_in_line, seconds_to_ready, outcome AS "outcome!", ended_at, ended_by,
                      stop_reason, failure, workers_peak AS "workers_peak!", worker_hours AS "worker_hours!"
                 FROM slipway.launches WHERE requested_at >= $1 ORDER BY requested_at LIMIT $2"#,
            since,
            limit,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read the launches"))
    }
}
