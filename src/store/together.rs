//! Appends that are under way at the same time share a transaction: one wait for the disk, one message to the server and back.
//!
//! Each of them could go alone, as each touches its own stream and nothing else. One that is refused must not take the
//! others along: what failed together is done again, each by itself, so that everybody gets an answer of their own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use sqlx::PgConnection;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::append::{Decision, Written, is_hindered};
use super::listen::CHANNEL;
use super::planned::Planned;
use crate::domain::event::SCHEMA_VERSION;

/// Transactions at a time: one is made while the other waits for the disk. With more there is less company for whoever comes while all
/// are busy, and each statement is of fewer appends.
const LANES: usize = 2;
/// Appends in a transaction; each holds its stream until all are on disk.
const MOST: usize = 32;

type Outcome = Result<Written, sqlx::Error>;

#[derive(Debug, Clone)]
pub(super) struct Together {
    appending: Planned,
    desk: Arc<Mutex<Desk>>,
}

#[derive(Debug, Default)]
struct Desk {
    waiting: VecDeque<Waiting>,
    busy: usize,
}

#[derive(Debug)]
struct Waiting {
    decision: Arc<Decision>,
    answer: oneshot::Sender<Outcome>,
}

impl Together {
    pub(super) fn new(appending: Planned) -> Self {
        Self { appending, desk: Arc::default() }
    }

    /// Records a decision that touches nothing but its own stream.
    pub(super) async fn write(&self, decision: Arc<Decision>) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let starts = {
            let mut desk = self.desk();
            desk.waiting.push_back(Waiting { decision, answer });
            let starts = desk.busy < LANES;
            desk.busy += usize::from(starts);
            starts
        };
        if starts {
            // A task of its own: whoever asked may stop waiting, and the others do not.
            tokio::spawn(Lane { of: self.clone(), closed: false }.run());
        }
        outcome.await.unwrap_or(Err(sqlx::Error::PoolClosed))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write_all(&self, batch: Vec<Waiting>) {
        let decisions: Vec<&Decision> = batch.iter().map(|waiting| &*waiting.decision).collect();
        match self.appending.run(async |connection| write_together(connection, &decisions).await).await {
            // Nobody may be waiting for it any more.
            Ok(written) => batch.into_iter().zip(written).for_each(|(waiting, written)| waiting.tell(Ok(written))),
            Err(error) if batch.len() == 1 && !is_hindered(&error) => {
                if let Some(waiting) = batch.into_iter().next() {
                    waiting.tell(Err(error));
                }
            }
            // By others than a lane: those who come next need not wait until the last of them is done.
            Err(_) => {
                for waiting in batch {
                    let appending = self.appending.clone();
                    tokio::spawn(async move {
                        let alone = appending
                            .run(async |connection| waiting.decision.write(connection, false).await)
                            .await;
                        waiting.tell(alone);
                    });
                }
            }
        }
    }
}

impl Waiting {
    fn tell(self, outcome: Outcome) {
        drop(self.answer.send(outcome));
    }
}

/// One of those that write, as long as anybody waits.
struct Lane {
    of: Together,
    closed: bool,
}

impl Lane {
    async fn run(mut self) {
        while let Some(batch) = self.next() {
            self.of.write_all(batch).await;
            // Whoever has just been told may have the next to record: it goes along, instead of alone after this one.
            tokio::task::yield_now().await;
        }
    }

    /// Those who wait next. If nobody does, it closes before anybody can think that it has seen them.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut desk = self.of.desk();
        let batch = desk.take();
        if batch.is_empty() {
            desk.busy -= 1;
            self.closed = true;
            return None;
        }
        Some(batch)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if !self.closed {
            self.of.desk().busy -= 1;
        }
    }
}

impl Desk {
    /// Of each stream only the first: it decides whether the others are still right.
    fn take(&mut self) -> Vec<Waiting> {
        let mut batch: Vec<Waiting> = Vec::new();
        let mut later = VecDeque::new();
        while batch.len() < MOST
            && let Some(waiting) = self.waiting.pop_front()
        {
            if waiting.answer.is_closed() {
                continue;
            }
            if batch.iter().any(|other| other.decision.stream == waiting.decision.stream) {
                later.push_back(waiting);
            } else {
                batch.push(waiting);
            }
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        // In one order for all who lock rows of the queue.
        batch.sort_by(|one, other| one.decision.stream.cmp(&other.decision.stream));
        batch
    }
}

/// All of them or none, in their order.
async fn write_together(
    connection: &mut PgConnection,
    decisions: &[&Decision],
) -> Result<Vec<Written>, sqlx::Error> {
    let columns = Columns::of(decisions);
    let rang = decisions.iter().any(|decision| decision.rings);
    let row = sqlx::query!(
        r#"SELECT slipway.append_together(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) AS "recorded_at!",
                  CASE WHEN $17 THEN pg_notify($18, '') END AS rang"#,
        &columns.streams,
        &columns.expected,
        &columns.actors,
        &columns.correlations,
        &columns.causations as &[Option<Uuid>],
        &columns.upto,
        &columns.ids,
        &columns.kinds,
        SCHEMA_VERSION,
        &columns.data,
        &columns.states,
        &columns.statuses,
        &columns.owners,
        &columns.live,
        &columns.workers,
        &columns.wake,
        rang,
        CHANNEL,
    )
    .fetch_one(connection)
    .await?;
    Ok(decisions
        .iter()
        .map(|decision| Written {
            version: decision.expected + decision.ids.len() as i64,
            recorded_at: row.recorded_at,
            rang,
            answered_by: None,
        })
        .collect())
}

/// Decisions as the arrays that a statement takes.
#[derive(Default)]
struct Columns {
    streams: Vec<String>,
    expected: Vec<i64>,
    actors: Vec<String>,
    correlations: Vec<Uuid>,
    causations: Vec<Option<Uuid>>,
    /// Up to where the next three are each one's.
    upto: Vec<i32>,
    ids: Vec<Uuid>,
    kinds: Vec<String>,
    data: Vec<Value>,
    states: Vec<Value>,
    statuses: Vec<String>,
    owners: Vec<String>,
    live: Vec<bool>,
    workers: Vec<i32>,
    wake: Vec<bool>,
}

impl Columns {
    fn of(decisions: &[&Decision]) -> Self {
        let mut columns = Self::default();
        for decision in decisions {
            columns.streams.push(decision.stream.clone());
            columns.expected.push(decision.expected);
            columns.actors.push(decision.actor.clone());
            columns.correlations.push(decision.correlation);
            columns.causations.push(decision.causation);
            columns.ids.extend(&decision.ids);
            columns.upto.push(i32::try_from(columns.ids.len()).unwrap_or(i32::MAX));
            columns.kinds.extend_from_slice(&decision.kinds);
            columns.data.extend_from_slice(&decision.data);
            columns.states.push(decision.state.clone());
            columns.statuses.push(decision.status.to_owned());
            columns.owners.push(decision.owner.clone());
            columns.live.push(decision.live);
            columns.workers.push(decision.workers);
            columns.wake.push(decision.wake);
        }
        columns
    }
}
