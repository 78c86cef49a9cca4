//! One pass over one cluster: look at the log, make the world match, record what is seen.
//!
//! Launch, scale, repair and stop, first try, retry and restart are all this one path.

use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use super::execute::{ExecuteError, Service};
use crate::clock::Clock;
use crate::domain::desired::{desired, is_settled};
use crate::domain::{Cluster, ClusterId, Command, Desired, Observation, Phase, Subject};
use crate::runtime::{Runtime, RuntimeError};
use crate::store::events::{Meta, Stream};

/// How long the effects of one pass may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// One call of the runtime; shorter than the lease.
    pub call: Duration,
    /// From the click to the notebook; then the launch has failed.
    pub launch: Duration,
}

/// What is left to do after a pass that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Settled,
    LookAgain(Duration),
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
    let meta = meta(worker, &stream);
    let effect = match desired(cluster) {
        Desired::Absent if matches!(cluster.phase, Phase::Gone { .. }) => return Ok(Verdict::Settled),
        Desired::Absent => call("removal", id, patience, runtime.delete(id)).await,
        Desired::Present(blueprint) => call("start", id, patience, runtime.apply(&blueprint)).await,
    };
    match effect {
        Ok(()) => {}
        Err(ReconcileError::Runtime { source: RuntimeError::Permanent { why }, .. })
            if cluster.phase.is_live() =>
        {
            return give_up(service, id, &meta, why).await;
        }
        Err(error) => return Err(error),
    }
    let seen = call("observation", id, patience, runtime.observe(id)).await?;
    let overdue = overdue(cluster, &stream, &seen, clock, patience);
    let after = service.execute(id, &Command::Report(seen), &meta, None).await?.cluster;
    match overdue {
        Some(why) if after.phase == Phase::Launching => give_up(service, id, &meta, why).await,
        _ => Ok(verdict(&after)),
    }
}

/// What a worker records belongs to the click that started it all.
fn meta(worker: &Subject, stream: &Stream) -> Meta {
    Meta {
        actor: worker.clone(),
        correlation: stream.span.map_or_else(Uuid::now_v7, |span| span.correlation),
        causation: stream.span.map(|span| span.last_event),
    }
}

async fn call<T>(
    doing: &'static str,
    id: ClusterId,
    patience: Patience,
    effect: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, ReconcileError> {
    match timeout(patience.call, effect).await {
        Ok(outcome) => outcome.map_err(|source| ReconcileError::Runtime { doing, id, source }),
        Err(_elapsed) => Err(ReconcileError::Timeout { doing, id, after: patience.call }),
    }
}

/// Records that there is no point in going on; the append makes the removal due.
///
/// # Errors
/// When it cannot be recorded.
pub async fn give_up(
    service: &Service,
    id: ClusterId,
    meta: &Meta,
    why: String,
) -> Result<Verdict, ReconcileError> {
    service.execute(id, &Command::GiveUp { why }, meta, None).await?;
    Ok(Verdict::Settled)
}

fn overdue(
    cluster: &Cluster,
    stream: &Stream,
    seen: &Observation,
    clock: &Clock,
    patience: Patience,
) -> Option<String> {
    let launched_at = stream.span?.launched_at;
    let waited = (clock.now() - launched_at).to_std().unwrap_or_default();
    if cluster.phase != Phase::Launching || waited <= patience.launch {
        return None;
    }
    let missing = match seen {
        Observation::Absent => "nothing of it could be started",
        Observation::Present { .. } => "its notebook or scheduler does not answer",
    };
    Some(format!(
        "not ready after {} seconds: {missing}. Try again, or ask the organiser",
        patience.launch.as_secs()
    ))
}

/// The runtime's hints make the next pass come sooner; these are for hints that got lost.
fn verdict(cluster: &Cluster) -> Verdict {
    if is_settled(cluster) {
        return Verdict::Settled;
    }
    match cluster.phase {
        Phase::Launching => Verdict::LookAgain(Duration::from_millis(500)),
        Phase::Failed { .. } | Phase::Stopping { .. } => Verdict::LookAgain(Duration::from_millis(300)),
        Phase::Running { .. } => Verdict::LookAgain(Duration::from_secs(1)),
        Phase::Gone { .. } => Verdict::Settled,
    }
}
