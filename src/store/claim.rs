//! Looks at the work queue, and what they bring.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::events::parse_id;
use super::work::{Lease, interval};
use super::{Store, StoreError};

/// The least time between two looks from the beginning.
const WHOLE: Duration = Duration::from_secs(1);
/// They take this part of the time at most, however much there is to go over.
const SHARE: u32 = 20;

/// From where somebody looks at the queue, as what was due earlier is taken, or was another's. A look then goes over what was done in
/// the last moments, and not over all that was done since the oldest snapshot that anybody in the database has open.
///
/// What became visible late, or was held by somebody who has left it as it was, is found by a look from the beginning: each
/// second, or so seldom that these take a twentieth of the time.
#[derive(Debug)]
pub struct Frontier {
    asked: Option<DateTime<Utc>>,
    unasked: Option<DateTime<Utc>>,
    whole_at: Instant,
}

impl Default for Frontier {
    fn default() -> Self {
        Self { asked: None, unasked: None, whole_at: Instant::now() }
    }
}

impl Frontier {
    /// Where to look now.
    fn from(&self, now: Instant) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        if now < self.whole_at { (self.asked, self.unasked) } else { (None, None) }
    }

    /// A look that began then has ended now.
    fn looked(&mut self, began: Instant, now: Instant) {
        if began >= self.whole_at {
            self.whole_at = now + WHOLE.max((now - began) * SHARE);
        }
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
        let began = Instant::now();
        let (asked, unasked) = frontier.from(began);
        let rows = sqlx::query!(
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
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("claim work"))?;
        frontier.looked(began, Instant::now());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_from_the_beginning_comes_each_second_or_as_seldom_as_it_is_slow() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let known = Some(DateTime::UNIX_EPOCH);
        let mut frontier = Frontier { asked: known, unasked: None, whole_at: start };
        assert_eq!(frontier.from(at(0)), (None, None));
        frontier.looked(at(0), at(3));
        assert_eq!(frontier.from(at(1002)), (known, None));
        frontier.looked(at(900), at(1100));
        assert_eq!(frontier.from(at(1003)), (None, None), "another look changes nothing of that");
        frontier.looked(at(1003), at(1203));
        assert_eq!(frontier.from(at(5202)), (known, None));
        assert_eq!(frontier.from(at(5203)), (None, None));
    }
}
