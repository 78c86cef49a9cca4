//! What is asked for, and what a worker saw. Both go through [`decide`](super::cluster::decide).

use chrono::{DateTime, Utc};

use super::access::{Access, ShareId};
use super::event::{Endpoint, Limits, Step, StopReason};
use super::ids::{ProfileName, Subject, WorkerCount};
use super::materials::Repository;
use super::park::ParkReason;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Launch(Launch),
    /// It is this launch's turn.
    Admit,
    /// Somebody's launch takes what this pool keeps ready.
    Claim(Claim),
    Scale {
        workers: WorkerCount,
    },
    Stop {
        reason: StopReason,
    },
    SetAccess {
        access: Access,
    },
    /// Let whoever has this share's link enter until then.
    Share {
        id: ShareId,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    },
    Unshare {
        id: ShareId,
    },
    /// A worker looked at the cluster and saw this.
    Report(Observation),
    /// A worker will not try any longer.
    GiveUp {
        why: String,
    },
    /// Nobody is to work on it, or the workers no longer do.
    Park {
        reason: ParkReason,
    },
    /// Work on it now, whatever became of earlier tries.
    Requeue {
        why: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    pub owner: Subject,
    pub profile: ProfileName,
    pub workers: WorkerCount,
    pub materials: Vec<Repository>,
    pub limits: Limits,
    pub access: Access,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// As whose it was launched.
    pub pool: Subject,
    pub owner: Subject,
    pub workers: WorkerCount,
    pub access: Access,
}

/// The state of a cluster's parts in the world, as far as it can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    Absent,
    Present {
        steps: Vec<Step>,
        /// Set while the notebook and the scheduler both answer.
        endpoint: Option<Endpoint>,
        workers_ready: u16,
    },
}
