//! How much is waiting, and for how long.

use std::time::Duration;

use super::{Store, StoreError, seconds};

/// What waits for workers, and what they gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Launches that wait for their turn, and how long the first of them has waited.
    pub in_line: i64,
    pub in_line_for: Duration,
    /// Clusters that a worker should look at now and none has taken, and for how long the first has been due.
    pub due: i64,
    pub due_for: Duration,
    /// Clusters that a worker holds.
    pub leased: i64,
    /// Clusters given up after too many failures.
    pub parked: i64,
    /// Clusters that are wanted.
    pub live: i64,
    /// Their workers, as asked for.
    pub workers: i64,
}

impl Store {
    /// What waits at this moment. Reads what is not gone, whatever was.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        let row = sqlx::query!(
            r#"WITH present AS MATERIALIZED (
                   SELECT c.live, c.workers_wanted, w.parked_at IS NOT NULL AS parked,
                          CASE WHEN c.status = 'launching' AND slipway.in_line(c.state) THEN c.launched_at END AS in_line,
                          CASE WHEN w.lease_owner IS NULL AND w.due_at <= clock_timestamp() THEN w.due_at END AS due,
                          w.lease_owner IS NOT NULL AS leased
                     FROM slipway.cluster c LEFT JOIN slipway.work w ON w.stream_id = c.id
                    WHERE c.gone_at IS NULL)
               SELECT count(in_line) AS "in_line!", count(due) AS "due!",
                      coalesce(extract(epoch FROM clock_timestamp() - min(in_line)), 0)::double precision AS "in_line_for!",
                      coalesce(extract(epoch FROM clock_timestamp() - min(due)), 0)::double precision AS "due_for!",
                      count(*) FILTER (WHERE leased) AS "leased!", count(*) FILTER (WHERE parked) AS "parked!",
                      count(*) FILTER (WHERE live) AS "live!",
                      coalesce(sum(workers_wanted) FILTER (WHERE live), 0)::bigint AS "workers!"
                 FROM present"#
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("read what waits"))?;
        Ok(Backlog {
            in_line: row.in_line,
            in_line_for: seconds(row.in_line_for),
            due: row.due,
            due_for: seconds(row.due_for),
            leased: row.leased,
            parked: row.parked,
            live: row.live,
            workers: row.workers,
        })
    }
}
