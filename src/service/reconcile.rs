//! One pass over one cluster: look at the log, make the world match, record what is seen.
//!
//! Launch, scale, repair and stop, first try, retry and restart are all this one path.

use std::time::Duration;

use tokio::time::timeout;
use tracing::{Instrument, Span, debug_span, field};
use uuid::Uuid;

use super::execute::{ExecuteError, Service};
use crate::clock::Clock;
use crate::domain::desired::{desired, is_settled};
use crate::domain::{Cluster, ClusterId, Command, Desired, Observation, Phase, Step, Subject};
use crate::error_chain::chain;
use crate::runtime::{Pace, Runtime, RuntimeError};
use crate::spans::SPANS;
use crate::store::append::Meta;
use crate::store::stream::Stream;

/// How long the effects of one pass may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// One call of the runtime; shorter than the lease.
    pub call: Duration,
    /// From the admission to the notebook; then the launch has failed.
    pub launch: Duration,
}

/// What is left to do after a pass that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Settled,
    LookAgain(Duration),
    /// Nobody is to work on it.
    Aside,
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error("{doing} of {id} went wrong")]
    Runtime {
        doing: &'static str,
        id: ClusterId,
        #[source]
        source: RuntimeError,
    },
    #[error("{doing} of {id} took longer than {}s", after.as_secs())]
    Timeout { doing: &'static str, id: ClusterId, after: Duration },
}

impl ReconcileError {
    /// Whether it does not count as a failed try: no cluster can be seen to now, or this one is for a newer worker to
    /// see to, which must not find it given up.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Runtime { source: RuntimeError::Unavailable { .. }, .. } => true,
            Self::Execute(ExecuteError::Store(error)) => error.is_unreadable(),
            Self::Execute(_) | Self::Runtime { .. } | Self::Timeout { .. } => false,
        }
    }
}

/// Makes the world match what the log asks for this cluster, as far as one pass can.
///
/// # Errors
/// When the log or the runtime failed in a way that is worth another try.
pub async fn reconcile<R: Runtime>(
    service: &Service,
    runtime: &R,
    worker: &Subject,
    clock: &Clock,
    patience: Patience,
    id: ClusterId,
) -> Result<Verdict, ReconcileError> {
    let stream = service.store().load(id).await.map_err(ExecuteError::from)?;
    let Some(cluster) = &stream.cluster else {
        return Ok(Verdict::Settled);
    };
    if cluster.is_put_aside() {
        return Ok(Verdict::Aside);
    }
    let meta = meta(worker, &stream);
    Span::current().record("correlation", field::display(meta.correlation));
    let effect = match desired(cluster) {
        // Nothing is left of it, or nothing was begun.
        Desired::Absent if is_settled(cluster) => return Ok(Verdict::Settled),
        Desired::Absent => call("removal", id, patience, runtime.delete(id)).await,
        Desired::Present(blueprint) => call("start", id, patience, runtime.apply(&blueprint)).await,
    };
    let overdue = cluster.phase == Phase::Launching && is_overdue(&stream, clock, patience);
    let outcome = match effect {
        Ok(()) => call("observation", id, patience, runtime.observe(id)).await,
        Err(error) => Err(error),
    };
    let seen = match outcome {
        Ok(seen) => seen,
        Err(error) => {
            return match hopeless(cluster, &error, overdue, patience) {
                Some(why) => give_up(service, id, &meta, why).await,
                None => Err(error),
            };
        }
    };
    let why = missing(&seen);
    let reached = matches!(&seen, Observation::Present { endpoint: Some(_), .. });
    let after = service.execute_on(stream, id, &Command::Report(seen), &meta, None).await?.cluster;
    if overdue && after.phase == Phase::Launching {
        return give_up(service, id, &meta, late(patience, &why)).await;
    }
    Ok(verdict(&after, reached, runtime.pace()))
}

/// What a worker records belongs to the click that started it all.
pub(super) fn meta(worker: &Subject, stream: &Stream) -> Meta {
    Meta {
        actor: worker.clone(),
        correlation: stream.span.map_or_else(Uuid::now_v7, |span| span.correlation),
        causation: stream.span.map(|span| span.last_event),
        visit: None,
    }
}

async fn call<T>(
    doing: &'static str,
    id: ClusterId,
    patience: Patience,
    effect: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, ReconcileError> {
    let span = debug_span!(target: SPANS, "runtime", call = doing);
    match timeout(patience.call, effect.instrument(span)).await {
        Ok(outcome) => outcome.map_err(|source| ReconcileError::Runtime { doing, id, source }),
        Err(_elapsed) => Err(ReconcileError::Timeout { doing, id, after: patience.call }),
    }
}

/// Records that there is no point in going on; the append makes the removal due.
///
/// # Errors
/// When it cannot be recorded.
async fn give_up(service: &Service, id: ClusterId, meta: &Meta, why: String) -> Result<Verdict, ReconcileError> {
    service.execute(id, &Command::GiveUp { why }, meta, None).await?;
    Ok(Verdict::Settled)
}

fn is_overdue(stream: &Stream, clock: &Clock, patience: Patience) -> bool {
    stream.span.is_some_and(|span| {
        let since = span.admitted_at.unwrap_or(span.launched_at);
        (clock.now() - since).to_std().is_ok_and(|waited| waited > patience.launch)
    })
}

/// Why nothing is gained by trying again, if so: what the person who waits is told.
fn hopeless(cluster: &Cluster, error: &ReconcileError, overdue: bool, patience: Patience) -> Option<String> {
    match error {
        ReconcileError::Runtime { source: RuntimeError::Permanent { why }, .. } => {
            cluster.phase.is_live().then(|| why.clone())
        }
        // It could not even be tried; the time without the runtime is not held against the launch.
        ReconcileError::Runtime { source: RuntimeError::Unavailable { .. }, .. } | ReconcileError::Execute(_) => {
            None
        }
        ReconcileError::Runtime { source: RuntimeError::Temporary { .. }, .. }
        | ReconcileError::Timeout { .. } => overdue.then(|| late(patience, &chain(error).to_string())),
    }
}

fn late(patience: Patience, why: &str) -> String {
    format!("not ready after {} seconds: {why}. Try again, or ask the organiser", patience.launch.as_secs())
}

/// What a cluster that is not ready lacks, in the words of whoever holds it up if there are any.
fn missing(seen: &Observation) -> String {
    match seen {
        Observation::Absent => "nothing of it could be started".to_owned(),
        Observation::Present { steps, .. } => steps
            .iter()
            .rev()
            .find_map(|step| if let Step::Held { why } = step { Some(why.clone()) } else { None })
            .unwrap_or_else(|| "its notebook or scheduler does not answer".to_owned()),
    }
}

/// The runtime's hints make the next pass come sooner; these are for hints that got lost.
fn verdict(cluster: &Cluster, reached: bool, pace: Pace) -> Verdict {
    match cluster.phase {
        Phase::Launching => Verdict::LookAgain(pace.launching),
        Phase::Failed { .. } | Phase::Stopping { .. } => Verdict::LookAgain(pace.ending),
        // What the log says of a notebook that cannot be reached is not how it is.
        Phase::Running { .. } if !reached || !is_settled(cluster) => Verdict::LookAgain(pace.running),
        Phase::Waiting | Phase::Running { .. } | Phase::Gone { .. } => Verdict::Settled,
    }
}
