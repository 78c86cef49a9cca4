//! The one door to the log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{Instrument, Span, debug_span, field};

use super::meters::Meters;
use super::shelf::Shelf;
use crate::domain::cluster::{self, Impossible, decide};
use crate::domain::{Cluster, ClusterId, Command, Event, ParkReason, Phase, Refusal};
use crate::spans::SPANS;
use crate::store::append::{Append, Appended, Caps, Meta, RequestKey};
use crate::store::stream::Stream;
use crate::store::{Store, StoreError};

/// How often a decision is made anew because the stream moved on meanwhile.
const TRIES: u32 = 10;

/// Decides commands and records what was decided.
#[derive(Debug, Clone)]
pub struct Service {
    store: Store,
    caps: Caps,
    meters: Arc<Meters>,
    pub(super) shelf: Shelf,
}

/// What a command led to.
#[derive(Debug, Clone)]
pub struct Executed {
    pub cluster: Cluster,
    pub version: i64,
    /// Set when the request had been answered before: the state is then that of the earlier answer's cluster.
    pub repeated: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0} is being changed by too many at once")]
    Busy(ClusterId),
    #[error("a decision contradicts its own state")]
    Decision(#[from] Impossible),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Service {
    pub fn new(store: Store, caps: Caps) -> Self {
        Self { store, caps, meters: Arc::default(), shelf: Shelf::default() }
    }

    /// Counts in these instead of its own.
    #[must_use]
    pub fn counting(self, meters: Arc<Meters>) -> Self {
        Self { meters, ..self }
    }

    /// What was recorded and done by this service, its clones, and whoever counts in the same meters.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn caps(&self) -> Caps {
        self.caps
    }

    /// Decides a command on the newest state and records the events, or nothing if it is already so.
    ///
    /// # Errors
    /// [`ExecuteError::Refused`] when the command makes no sense for the cluster;
    /// [`StoreError::OverLimit`] and [`StoreError::KeyReused`] within [`ExecuteError::Store`].
    pub async fn execute(
        &self,
        id: ClusterId,
        command: &Command,
        meta: &Meta,
        key: Option<&RequestKey>,
    ) -> Result<Executed, ExecuteError> {
        let stream = self.store.load(id).await?;
        self.execute_on(stream, id, command, meta, key).await
    }

    /// The same for a caller who has just read the state: it is read anew only if it was changed meanwhile.
    pub(super) async fn execute_on(
        &self,
        mut stream: Stream,
        id: ClusterId,
        command: &Command,
        meta: &Meta,
        key: Option<&RequestKey>,
    ) -> Result<Executed, ExecuteError> {
        for attempt in 0..TRIES {
            let span = debug_span!(target: SPANS, "append", cluster = %id, correlation = %meta.correlation, events = field::Empty);
            match self.try_once(stream, id, command, meta, key).instrument(span).await {
                Err(ExecuteError::Store(StoreError::Conflict)) => {
                    self.meters.conflicted();
                    let most = 2_u64.pow(attempt.min(6));
                    sleep(Duration::from_millis(rand::random_range(0..=most))).await;
                    stream = self.store.load(id).await?;
                }
                outcome => return outcome,
            }
        }
        Err(ExecuteError::Busy(id))
    }

    async fn try_once(
        &self,
        stream: Stream,
        id: ClusterId,
        command: &Command,
        meta: &Meta,
        key: Option<&RequestKey>,
    ) -> Result<Executed, ExecuteError> {
        let before = stream.cluster;
        let events = decide(id, before.as_ref(), command)?;
        if events.is_empty() {
            let cluster = before.ok_or(Refusal::Unknown(id))?;
            return Ok(Executed { cluster, version: stream.version, repeated: false });
        }
        let mut after = before.clone();
        for event in &events {
            after = Some(cluster::evolve(id, after, event)?);
        }
        let after = after.ok_or(Refusal::Unknown(id))?;
        let append = Append {
            id,
            expected: stream.version,
            events: &events,
            before: before.as_ref(),
            after: &after,
            meta,
            wake: needs_work(command, &events),
            caps: self.caps,
            key,
        };
        let began = Instant::now();
        match self.store.append(append).await? {
            Appended::At { version, recorded_at } => {
                self.meters.appended(&events, began.elapsed());
                Span::current().record("events", field::debug(Kinds(&events)));
                let launching = |cluster: &Cluster| matches!(cluster.phase, Phase::Waiting | Phase::Launching);
                let is_ready = before.as_ref().is_some_and(launching) && after.phase.endpoint().is_some();
                if is_ready && !after.is_unclaimed() {
                    let took = stream.span.and_then(|span| (recorded_at - span.launched_at).to_std().ok());
                    self.meters.became_ready(took.unwrap_or_default());
                    tracing::debug!(target: SPANS, seconds = took.unwrap_or_default().as_secs_f64(), "ready");
                }
                Ok(Executed { cluster: after, version, repeated: false })
            }
            Appended::Repeated { of } => {
                let earlier = self.store.load(of).await?;
                let cluster = earlier.cluster.ok_or(Refusal::Unknown(of))?;
                Ok(Executed { cluster, version: earlier.version, repeated: true })
            }
        }
    }
}

/// Their names.
struct Kinds<'a>(&'a [Event]);

impl fmt::Debug for Kinds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(Event::kind)).finish()
    }
}

/// Whether what this command causes is for a worker to carry out. What a worker reports is not.
fn needs_work(command: &Command, events: &[Event]) -> bool {
    match command {
        // It is as it should be, unless another size was asked for.
        Command::Claim(_) => events.iter().any(|event| matches!(event, Event::ScaleRequested { .. })),
        Command::Admit
        | Command::Scale { .. }
        | Command::Stop { .. }
        | Command::GiveUp { .. }
        | Command::Requeue { .. } => true,
        Command::Park { reason } => match reason {
            // The worker that replays it puts the row of work aside.
            ParkReason::Admin { .. } => true,
            // It has done so already.
            ParkReason::Failed { .. } => false,
        },
        // A launch waits in line.
        Command::Launch(_) | Command::Report(_) => false,
        // Who may enter is for the proxies to know, which read the log.
        Command::SetAccess { .. } | Command::Share { .. } | Command::Unshare { .. } => false,
    }
}
