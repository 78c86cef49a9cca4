//! What the world should look like for a cluster in a given state.

use super::cluster::{Cluster, Phase};
use super::ids::{ClusterId, ProfileName, WorkerCount};
use super::materials::Repository;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    Absent,
    Present(Blueprint),
}

/// All that a runtime needs to know to build or repair a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blueprint {
    pub id: ClusterId,
    pub profile: ProfileName,
    pub workers: WorkerCount,
    /// The most it may be scaled to, which room is kept for.
    pub most_workers: WorkerCount,
    pub materials: Vec<Repository>,
}

pub fn desired(cluster: &Cluster) -> Desired {
    match &cluster.phase {
        Phase::Launching | Phase::Running { .. } => Desired::Present(Blueprint {
            id: cluster.id,
            profile: cluster.profile.clone(),
            workers: cluster.workers,
            most_workers: cluster.limits.workers,
            materials: cluster.materials.clone(),
        }),
        Phase::Waiting | Phase::Failed { .. } | Phase::Stopping { .. } | Phase::Gone { .. } => Desired::Absent,
    }
}

/// Whether the recorded state already says that the world is as desired, so that nobody need look again soon.
pub fn is_settled(cluster: &Cluster) -> bool {
    match &cluster.phase {
        Phase::Running { workers_ready, .. } => *workers_ready == cluster.workers.get(),
        Phase::Waiting | Phase::Gone { .. } => true,
        Phase::Launching | Phase::Failed { .. } | Phase::Stopping { .. } => false,
    }
}
