//! Leases clusters that are due and reconciles them, many at once, until told to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout, timeout_at};
use tracing::{Instrument, debug_span, field};

use super::execute::{ExecuteError, Service};
use super::meters::PassEnd;
use super::reconcile::{Patience, ReconcileError, Verdict, meta, reconcile};
use crate::clock::Clock;
use crate::domain::{ClusterId, Command, ParkReason, Subject};
use crate::error_chain::chain;
use crate::runtime::Runtime;
use crate::spans::SPANS;
use crate::store::claim::{Frontier, Taken};
use crate::store::work::Lease;
use crate::store::{StoreError, listen};

/// From one round to the next at the least: of much that comes and ends meanwhile, all is claimed and settled together.
pub const ROUND: Duration = Duration::from_millis(5);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its name in leases and as the actor of what it records.
    pub name: Subject,
    /// Clusters seen to at the same time.
    pub concurrency: usize,
    /// How long a lease lasts without a heartbeat, which comes at a third of it.
    pub lease: Duration,
    pub patience: Patience,
    /// After so many failures in a row the work is parked, and a launch fails.
    pub attempts: i32,
    /// How long running passes may still take when told to stop.
    pub drain: Duration,
}

impl WorkerConfig {
    pub fn new(name: Subject) -> Self {
        Self {
            name,
            concurrency: 32,
            lease: Duration::from_secs(30),
            patience: Patience { call: Duration::from_secs(20), launch: Duration::from_secs(300) },
            attempts: 8,
            drain: Duration::from_secs(10),
        }
    }
}

/// A worker over one runtime.
pub struct Worker<R> {
    service: Service,
    runtime: Arc<R>,
    clock: Clock,
    config: WorkerConfig,
    /// When it last went round.
    pulse: watch::Sender<Instant>,
}

/// A pass that has ended, and what it held.
type Ended = (Lease, Result<Verdict, ReconcileError>);

impl<R: Runtime> Worker<R> {
    pub fn new(service: Service, runtime: Arc<R>, clock: Clock, config: WorkerConfig) -> Arc<Self> {
        Arc::new(Self { service, runtime, clock, config, pulse: watch::Sender::new(Instant::now()) })
    }

    /// Whether it still goes round: each round takes a second at most, and a look at the database.
    pub fn is_alive(&self) -> bool {
        self.pulse.borrow().elapsed() < self.config.lease * 2
    }

    /// Works until `stop` is set, then lets running passes end and gives back what it still holds.
    pub async fn run(self: Arc<Self>, mut bell: watch::Receiver<()>, mut stop: watch::Receiver<bool>) {
        let mut passes: JoinSet<Ended> = JoinSet::new();
        let mut held: HashMap<ClusterId, (Lease, AbortHandle)> = HashMap::new();
        let mut frontier = Frontier::default();
        let mut hints = self.runtime.changes();
        let mut beat = interval(self.config.lease / 3);
        while !*stop.borrow() {
            let began = Instant::now();
            self.pulse.send_replace(began);
            bell.borrow_and_update();
            let wait = self.take(&mut frontier, &mut passes, &mut held).await;
            let has_room = held.len() < self.config.concurrency;
            tokio::select! {
                _ = stop.changed() => {}
                () = listen::wait(&mut bell) => {}
                () = sleep(wait) => {}
                Some(id) = hints.recv() => self.hurry(id, &mut hints).await,
                Some(ended) = passes.join_next() => {
                    let mut all = vec![ended];
                    while let Ok(Some(ended)) = timeout_at(began + ROUND, passes.join_next()).await {
                        all.push(ended);
                    }
                    self.settle(all, &mut held).await;
                }
                _ = beat.tick() => self.heartbeat(&mut held).await,
            }
            if has_room {
                sleep_until(began + ROUND).await;
            }
        }
        self.drain(passes, held).await;
    }

    /// Claims as much as there is room for; returns when to look again at the latest.
    async fn take(
        self: &Arc<Self>,
        frontier: &mut Frontier,
        passes: &mut JoinSet<Ended>,
        held: &mut HashMap<ClusterId, (Lease, AbortHandle)>,
    ) -> Duration {
        let room = self.config.concurrency.saturating_sub(held.len());
        if room == 0 {
            return listen::POLL;
        }
        let WorkerConfig { name, lease, .. } = &self.config;
        let claimed = self.service.store().take(name.as_str(), room as i32, *lease, frontier).await;
        let Taken { leases, next_due } = match claimed {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "cannot claim work; trying again");
                return listen::POLL;
            }
        };
        let found = !leases.is_empty();
        for lease in leases {
            let (worker, mine) = (Arc::clone(self), lease.clone());
            let (id, token, attempt) = (lease.id, lease.token, lease.attempt);
            let span =
                debug_span!(target: SPANS, "pass", cluster = %id, correlation = field::Empty, token, attempt);
            let pass = async move {
                let outcome = worker.pass(mine.id).await;
                (mine, outcome)
            };
            let handle = passes.spawn(pass.instrument(span));
            // A lease of ours that ran out before its heartbeat may come back to us: the older pass has lost it.
            if let Some((_, older)) = held.insert(lease.id, (lease, handle)) {
                older.abort();
            }
        }
        if found {
            return Duration::ZERO;
        }
        next_due.map_or(listen::POLL, |due| due.clamp(Duration::from_millis(5), listen::POLL))
    }

    async fn pass(&self, id: ClusterId) -> Result<Verdict, ReconcileError> {
        let Self { service, runtime, clock, config, .. } = self;
        reconcile(service, &**runtime, &config.name, clock, config.patience, id).await
    }

    async fn hurry(&self, first: ClusterId, hints: &mut mpsc::Receiver<ClusterId>) {
        let mut ids = vec![first];
        while let Ok(id) = hints.try_recv() {
            ids.push(id);
        }
        if let Err(error) = self.service.store().touch(&ids).await {
            tracing::warn!(error = %chain(&error), "cannot hurry work; it will be seen to in time");
        }
    }

    /// Writes down how passes ended, of those whose leases are still ours.
    async fn settle(
        &self,
        ended: Vec<Result<Ended, tokio::task::JoinError>>,
        held: &mut HashMap<ClusterId, (Lease, AbortHandle)>,
    ) {
        let mut settled = Vec::new();
        for ended in ended {
            let (lease, outcome) = match ended {
                Ok(ended) => ended,
                Err(error) if error.is_cancelled() => continue, // its lease was lost
                Err(error) => {
                    // The lease is left to run out, and the next holder counts one more attempt.
                    tracing::error!(%error, "a pass panicked");
                    held.retain(|_, (_, handle)| !handle.is_finished());
                    continue;
                }
            };
            if held.get(&lease.id).is_some_and(|(current, _)| current.token == lease.token) {
                held.remove(&lease.id);
            }
            let store = self.service.store();
            let (end, written) = match outcome {
                Ok(Verdict::Settled) => {
                    settled.push(lease);
                    continue;
                }
                Ok(Verdict::LookAgain(delay)) => (PassEnd::LookAgain, store.look_again(&lease, delay).await),
                Ok(Verdict::Aside) => (PassEnd::PutAside, store.put_aside(&lease).await),
                Err(error) if error.is_unavailable() => {
                    (PassEnd::Unavailable, self.postponed(&lease, &error).await)
                }
                Err(error) => (PassEnd::Failed, self.failed(&lease, &error).await),
            };
            self.note(end, &lease, written);
        }
        self.finish(&settled).await;
    }

    /// Together, in one round trip.
    async fn finish(&self, settled: &[Lease]) {
        if settled.is_empty() {
            return;
        }
        match self.service.store().finish_all(settled).await {
            Ok(finished) => {
                settled
                    .iter()
                    .for_each(|lease| self.note(PassEnd::Settled, lease, Ok(finished.contains(&lease.id))));
            }
            Err(error) => {
                // Such as a deadlock, in which one alone cannot be.
                tracing::warn!(error = %chain(&error), "cannot settle work together; trying one by one");
                for lease in settled {
                    self.note(PassEnd::Settled, lease, self.service.store().finish(lease).await);
                }
            }
        }
    }

    fn note(&self, end: PassEnd, lease: &Lease, written: Result<bool, StoreError>) {
        match written {
            Ok(true) => self.service.meters().passed(end),
            Ok(false) => {
                self.service.meters().passed(PassEnd::LeaseLost);
                tracing::warn!(cluster = %lease.id, "lost the lease during a pass; another worker has it")
            }
            Err(error) => {
                tracing::warn!(cluster = %lease.id, error = %chain(&error), "cannot settle work; the lease will run out")
            }
        }
    }

    /// Nothing is wrong with the cluster: this is not one of its attempts.
    async fn postponed(&self, lease: &Lease, error: &ReconcileError) -> Result<bool, StoreError> {
        let error = chain(error).to_string();
        tracing::warn!(cluster = %lease.id, %error, "a pass could not be made; trying again");
        self.service.store().postpone(lease, &error, unavailable_pause()).await
    }

    async fn failed(&self, lease: &Lease, error: &ReconcileError) -> Result<bool, StoreError> {
        let error = chain(error).to_string();
        let last = lease.attempt >= self.config.attempts;
        tracing::warn!(cluster = %lease.id, attempt = lease.attempt, last, %error, "a pass failed");
        let fenced = self.service.store().fail(lease, &error, backoff(lease.attempt), last).await?;
        if last
            && fenced
            && let Err(error) = self.give_up(lease, &error).await
        {
            tracing::error!(cluster = %lease.id, error = %chain(&error), "cannot record that it failed");
        }
        Ok(fenced)
    }

    /// Records that the row of work was parked, and why. What is wanted has failed then; of what is not, something
    /// may be left.
    async fn give_up(&self, lease: &Lease, error: &str) -> Result<(), ExecuteError> {
        let stream = self.service.store().load(lease.id).await?;
        let Some(cluster) = &stream.cluster else { return Ok(()) };
        let tried = |what| format!("it could not be {what}, {} times in a row: {error}", lease.attempt);
        let command = if cluster.phase.is_live() {
            Command::GiveUp { why: tried("set up") }
        } else {
            Command::Park { reason: ParkReason::Failed { why: tried("removed") } }
        };
        let meta = meta(&self.config.name, &stream);
        self.service.execute_on(stream, lease.id, &command, &meta, None).await.map(drop)
    }

    /// Prolongs all leases; a pass whose lease was lost is stopped.
    async fn heartbeat(&self, held: &mut HashMap<ClusterId, (Lease, AbortHandle)>) {
        if held.is_empty() {
            return;
        }
        let leases: Vec<Lease> = held.values().map(|(lease, _)| lease.clone()).collect();
        match self.service.store().heartbeat(&leases, self.config.lease).await {
            Ok(kept) => held.retain(|id, (_, handle)| {
                let keep = kept.contains(id) || handle.is_finished();
                if !keep {
                    self.service.meters().passed(PassEnd::LeaseLost);
                    tracing::warn!(cluster = %id, "lost a lease; its pass is stopped");
                    handle.abort();
                }
                keep
            }),
            Err(error) => tracing::warn!(error = %chain(&error), "cannot prolong leases"),
        }
    }

    async fn drain(&self, mut passes: JoinSet<Ended>, mut held: HashMap<ClusterId, (Lease, AbortHandle)>) {
        let ending = async {
            while let Some(ended) = passes.join_next().await {
                self.settle(vec![ended], &mut held).await;
            }
        };
        if timeout(self.config.drain, ending).await.is_err() {
            passes.shutdown().await;
        }
        for (lease, _) in held.into_values() {
            // A successor may take it at once instead of after the lease.
            if let Err(error) = self.service.store().look_again(&lease, Duration::ZERO).await {
                tracing::warn!(cluster = %lease.id, %error, "cannot give a lease back; it will run out");
            }
        }
    }
}

/// Spread out, so that all clusters do not come back at once. The runtime's hints come first where it knows better.
fn unavailable_pause() -> Duration {
    Duration::from_secs_f64(rand::random_range(3.0..8.0))
}

/// Two seconds, then twice as long each time up to five minutes, give or take a fifth.
fn backoff(attempt: i32) -> Duration {
    let seconds = 2_f64.powi(attempt.clamp(1, 9)).min(300.0);
    Duration::from_secs_f64(seconds * rand::random_range(0.8..1.2))
}
