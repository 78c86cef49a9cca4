//! A cluster that is ready before anybody asks for it, and how it gets its owner.

use super::access::Access;
use super::cluster::{Cluster, Phase};
use super::command::Claim;
use super::desired::is_settled;
use super::event::Event;
use super::ids::Subject;
use super::refusal::Refusal;

impl Cluster {
    /// A pool's: nobody is its owner yet, and nobody enters it.
    pub fn is_unclaimed(&self) -> bool {
        self.owner.is_pool()
    }

    /// Who has claimed it.
    pub fn claimant(&self) -> Option<&Subject> {
        self.claimed.then_some(&self.owner)
    }
}

pub(super) fn decide_claim(cluster: &Cluster, claim: &Claim) -> Result<Vec<Event>, Refusal> {
    let Claim { pool, owner, workers, access } = claim.clone();
    let is_running = matches!(cluster.phase, Phase::Running { .. });
    let is_ready = is_running && is_settled(cluster) && cluster.parked.is_none();
    if cluster.owner != pool || !pool.is_pool() || owner.is_pool() || !is_ready {
        return Err(Refusal::NotClaimable(cluster.id));
    }
    if workers > cluster.limits.workers {
        return Err(Refusal::TooManyWorkers { asked: workers, most: cluster.limits.workers });
    }
    let mut events = vec![Event::Claimed { owner }];
    events.extend((workers != cluster.workers).then_some(Event::ScaleRequested { workers }));
    events.extend((access != Access::default()).then_some(Event::AccessSet { access }));
    Ok(events)
}
