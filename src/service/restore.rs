//! Brings back every live cluster after what ran them was lost, and tells how far that is.
//!
//! The workers do it, as they do every day; the log alone tells them what to make. But the log goes on saying that a
//! cluster runs until somebody has looked. So one is back only when a pass that began after this did has found it so.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::domain::desired::is_settled;
use crate::domain::{Cluster, ClusterId, Ending, Phase, Step, StopReason, Subject, story};
use crate::store::standing::Standing;
use crate::store::{Store, StoreError};

/// All live clusters, on their way back.
pub struct Restore {
    store: Store,
    awaited: BTreeMap<ClusterId, Awaited>,
    failed: Vec<Missing>,
    progress: Progress,
    /// Whether any has been claimed since the beginning.
    taken: bool,
}

/// One that is not back yet.
struct Awaited {
    /// Claims and steps before the beginning.
    claims: i64,
    steps: usize,
    now: Option<Standing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Progress {
    pub clusters: usize,
    pub back: usize,
    /// For good.
    pub failed: usize,
    /// Somebody stopped them, or their time was over.
    pub stopped: usize,
}

/// A cluster that is not back, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub cluster: ClusterId,
    pub owner: Subject,
    pub status: &'static str,
    pub workers_ready: u16,
    pub workers_wanted: u16,
    pub why: String,
}

impl Restore {
    /// Makes every live cluster due now, whatever became of earlier tries.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(store: Store) -> Result<Self, StoreError> {
        let before = store.standings().await?;
        let steps: HashMap<ClusterId, usize> =
            before.iter().map(|standing| (standing.cluster.id, standing.cluster.steps.len())).collect();
        let due = store.make_live_due().await?;
        let awaited =
            |(id, claims)| (id, Awaited { claims, steps: steps.get(&id).copied().unwrap_or_default(), now: None });
        let progress = Progress { clusters: due.len(), ..Progress::default() };
        Ok(Self { store, awaited: due.into_iter().map(awaited).collect(), failed: vec![], progress, taken: false })
    }

    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether no more is to come.
    pub fn is_over(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Whether any worker has begun.
    pub fn is_taken(&self) -> bool {
        self.taken
    }

    /// Takes note of what has happened since.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn look(&mut self) -> Result<(), StoreError> {
        let standings = self.store.standings().await?;
        let mut now: HashMap<ClusterId, Standing> =
            standings.into_iter().map(|standing| (standing.cluster.id, standing)).collect();
        for (id, mut awaited) in std::mem::take(&mut self.awaited) {
            let Some(standing) = now.remove(&id) else {
                // What is gone stands nowhere.
                if let Some(row) = self.store.cluster(id).await? {
                    self.ended(&row.cluster);
                }
                continue;
            };
            self.taken |= standing.claims > awaited.claims;
            if !standing.cluster.phase.is_live() {
                self.ended(&standing.cluster);
            } else if awaited.is_back(&standing) {
                self.progress.back += 1;
            } else {
                awaited.now = Some(standing);
                self.awaited.insert(id, awaited);
            }
        }
        Ok(())
    }

    /// Those that failed, and those that may still come.
    pub fn missing(&self) -> Vec<Missing> {
        let awaited = self.awaited.values();
        let awaited = awaited.filter_map(|one| one.now.as_ref().map(|now| missing(&now.cluster, one.why(now))));
        self.failed.iter().cloned().chain(awaited).collect()
    }

    fn ended(&mut self, cluster: &Cluster) {
        if has_failed(&cluster.phase) {
            let why = story::ending(&cluster.phase).unwrap_or_default();
            self.failed.push(missing(cluster, why));
            self.progress.failed += 1;
        } else {
            self.progress.stopped += 1;
        }
    }
}

impl Awaited {
    fn is_back(&self, now: &Standing) -> bool {
        let runs = matches!(now.cluster.phase, Phase::Running { .. });
        runs && is_settled(&now.cluster) && now.claims > self.claims && now.is_seen_to()
    }

    fn why(&self, now: &Standing) -> String {
        if now.claims <= self.claims {
            return "no worker has seen to it yet".to_owned();
        }
        let new_steps = now.cluster.steps.iter().skip(self.steps).rev();
        let held =
            || new_steps.filter_map(|step| if let Step::Held { why } = step { Some(why) } else { None }).next();
        let why = now.last_error.as_ref().or_else(held);
        why.cloned().unwrap_or_else(|| "it is being started".to_owned())
    }
}

fn has_failed(phase: &Phase) -> bool {
    match phase {
        Phase::Failed { .. }
        | Phase::Stopping { reason: StopReason::Failed { .. } }
        | Phase::Gone { ending: Ending::Failed { .. } | Ending::Stopped { reason: StopReason::Failed { .. } } } => {
            true
        }
        Phase::Waiting
        | Phase::Launching
        | Phase::Running { .. }
        | Phase::Stopping { .. }
        | Phase::Gone { ending: Ending::Stopped { .. } } => false,
    }
}

fn missing(cluster: &Cluster, why: String) -> Missing {
    Missing {
        cluster: cluster.id,
        owner: cluster.owner.clone(),
        status: cluster.phase.status(),
        workers_ready: cluster.phase.workers_ready(),
        workers_wanted: cluster.workers.get(),
        why,
    }
}
