//! Clusters that nobody works on: put aside by hand, or given up by the workers for now.

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, Phase};
use super::event::Event;
use super::refusal::Refusal;

/// Why nobody works on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ParkReason {
    /// Somebody has put it aside, until it is asked for anew.
    Admin { why: String },
    /// Its removal failed again and again; now and then it is tried once more.
    Failed { why: String },
}

impl ParkReason {
    pub fn why(&self) -> &str {
        match self {
            Self::Admin { why } | Self::Failed { why } => why,
        }
    }
}

impl Cluster {
    /// Whether workers have to leave it as it is.
    pub fn is_put_aside(&self) -> bool {
        match self.parked {
            Some(ParkReason::Admin { .. }) => true,
            Some(ParkReason::Failed { .. }) | None => false,
        }
    }
}

pub(super) fn decide_park(cluster: &Cluster, reason: &ParkReason) -> Result<Vec<Event>, Refusal> {
    let is_new = match reason {
        ParkReason::Admin { .. } => {
            may_be_worked_on(cluster)?;
            cluster.parked.as_ref() != Some(reason)
        }
        // Once is enough, however often it fails after that. What is wanted is given up for good instead.
        ParkReason::Failed { .. } => {
            cluster.parked.is_none() && cluster.phase.is_worked_on() && !cluster.phase.is_live()
        }
    };
    Ok(is_new.then(|| Event::Parked { reason: reason.clone() }).into_iter().collect())
}

/// Recorded also when the log knows of no reason: the queue may have given up without having got to say so.
pub(super) fn decide_requeue(cluster: &Cluster, why: Option<&str>) -> Result<Vec<Event>, Refusal> {
    may_be_worked_on(cluster)?;
    Ok(vec![Event::Requeued { why: why.map(str::to_owned) }])
}

fn may_be_worked_on(cluster: &Cluster) -> Result<(), Refusal> {
    match cluster.phase {
        Phase::Launching | Phase::Running { .. } | Phase::Failed { .. } | Phase::Stopping { .. } => Ok(()),
        Phase::Waiting => Err(Refusal::InLine(cluster.id)),
        Phase::Gone { .. } => Err(Refusal::Gone(cluster.id)),
    }
}

/// Whether the event makes its cluster due, or ends it: nothing is parked after that.
pub(super) fn unparks(event: &Event) -> bool {
    match event {
        Event::ScaleRequested { .. }
        | Event::StopRequested { .. }
        | Event::LaunchFailed { .. }
        | Event::Requeued { .. }
        | Event::Removed {} => true,
        Event::LaunchRequested { .. }
        | Event::Admitted {}
        | Event::Claimed { .. }
        | Event::StepReached { .. }
        | Event::BecameReady(_)
        | Event::Scaled { .. }
        | Event::AccessSet { .. }
        | Event::Shared { .. }
        | Event::Unshared { .. }
        | Event::Parked { .. } => false,
    }
}
