//! Looks at the work queue, and what they bring.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::events::parse_id;
use super::sweep::Sweep;
use super::work::{Lease, interval};
use super::{Store, StoreError};

/// From where somebody looks at the queue, as what was due earlier is taken, or was another's. A look then goes over what was done in
/// the last moments, and not over all that was done since the oldest snapshot that anybody in the database has open. What it passes over
/// all the same is found by a [`Sweep`].
#[derive(Debug)]
pub struct Frontier {
    asked: Option<DateTime<Utc>>,
    unasked: Option<DateTime<Utc>>,
    sweep: Sweep,
}

impl Default for Frontier {
    fn default() -> Self {
        Self { asked: None, unasked: None, sweep: Sweep::new(Instant::now()) }
    }
}

/// What a look at the queue has brought.
#[derive(Debug)]
pub struct Taken {
    pub leases: Vec<Lease>,
    /// How long until something more is due, if nothing is now; `None` as well when nothing is scheduled.
    pub next_due: Option<Duration>,
}

impl Store {
    /// Leases up to `limit` clusters that are due, those first of which somebody wants something. Never one that another holds.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claim(&self, worker: &str, limit: i32, lease: Duration) -> Result<Vec<Lease>, StoreError> {
        Ok(self.take(worker, limit, lease, &mut Frontier::default()).await?.leases)
    }

    /// As [`claim`](Self::claim), from where the same worker's last look has left off; when there is nothing, says when there will be.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take(
        &self,
        worker: &str,
        limit: i32,
        lease: Duration,
        frontier: &mut Frontier,
    ) -> Result<Taken, StoreError> {
        let behind = match frontier.asked {
            Some(asked) => self.look_behind(&mut frontier.sweep, (asked, frontier.unasked)).await?,
            None => None,
        };
        let began = Instant::now();
        let (asked, unasked) =
            behind.map_or((frontier.asked, frontier.unasked), |(asked, unasked)| (Some(asked), unasked));
        let query = sqlx::query!(
            r#"SELECT t.stream_id AS "stream_id?", t.lease_token AS "token?", t.wanted_version AS "wanted_version?",
                      t.attempt AS "attempt?", t.asked_from, t.unasked_from,
                      (extract(epoch FROM t.next_due) * 1000000)::bigint AS "micros?"
                 FROM slipway.take($1, $2, $3, $4, $5) t
                WHERE (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL"#,
            worker,
            limit,
            interval(lease),
            asked,
            unasked,
        );
        let rows = self.working.run(async |connection| query.fetch_all(connection).await).await;
        let rows = rows.map_err(StoreError::database("claim work"))?;
        if behind.is_some() {
            frontier.sweep.rest(began.elapsed(), Instant::now());
        }
        let mut taken = Taken { leases: Vec::with_capacity(rows.len()), next_due: None };
        for row in rows {
            (frontier.asked, frontier.unasked) = (row.asked_from, row.unasked_from);
            let (Some(stream), Some(token), Some(wanted_version), Some(attempt)) =
                (row.stream_id, row.token, row.wanted_version, row.attempt)
            else {
                taken.next_due = row.micros.map(|micros| Duration::from_micros(micros.try_into().unwrap_or(0)));
                continue;
            };
            taken.leases.push(Lease {
                id: parse_id(&stream)?,
                owner: worker.to_owned(),
                token,
                wanted_version,
                attempt,
            });
        }
        Ok(taken)
    }
}
