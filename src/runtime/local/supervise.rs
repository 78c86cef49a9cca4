//! One task per cluster that keeps it as it was last asked to be, and tells when it changes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::Inner;
use super::cluster::{Children, Cluster};
use super::folder::Material;
use super::look::View;
use super::materials::{Fetch, WAITED_FOR};
use crate::clock::Clock;
use crate::domain::Observation;
use crate::runtime::RuntimeError;

/// A cluster, and what wakes its task.
pub(super) struct Slot {
    pub cluster: Mutex<Cluster>,
    pub wake: Notify,
}

/// How often to look at processes that were started by an earlier slipway.
const LIVENESS: Duration = Duration::from_secs(1);

/// Runs until the cluster or the runtime is gone.
pub(super) async fn supervise(inner: Weak<Inner>, slot: Arc<Slot>) {
    loop {
        let Some(strong) = inner.upgrade() else { return };
        let next = strong.step(&slot).await;
        drop(strong);
        match next {
            Next::Gone => return,
            Next::Woken => slot.wake.notified().await,
            Next::In(wait) => {
                let _ = tokio::time::timeout(wait, slot.wake.notified()).await;
            }
        }
    }
}

enum Next {
    Gone,
    Woken,
    In(Duration),
}

/// The one clock of the runtime that is shown on a wall: deadlines that outlive the process are in it.
pub(super) fn utc_now() -> DateTime<Utc> {
    Clock::system().now()
}

impl Inner {
    /// Makes the cluster as wanted as far as it can be done now, and starts what takes longer.
    pub fn converge(self: &Arc<Self>, slot: &Arc<Slot>, cluster: &mut Cluster) -> Result<(), RuntimeError> {
        if self.is_closed() {
            return Ok(());
        }
        let result = cluster.converge(&self.config, Instant::now(), utc_now());
        self.fetch_materials(slot, cluster);
        let children = result?;
        watch(slot, children);
        Ok(())
    }

    fn fetch_materials(self: &Arc<Self>, slot: &Arc<Slot>, cluster: &mut Cluster) {
        let (Some(wanted), Some(recorded)) = (&cluster.wanted, &cluster.recorded) else { return };
        let done = |repository| recorded.materials.iter().any(|material| &material.repository == repository);
        for (number, repository) in wanted.materials.iter().enumerate() {
            if done(repository) || cluster.fetching.contains_key(repository) {
                continue;
            }
            cluster.materials_until.get_or_insert_with(|| Instant::now() + WAITED_FOR);
            let (config, slot, repository) = (self.config.clone(), slot.clone(), repository.clone());
            let (folder, id, mark) = (cluster.folder.clone(), cluster.id, cluster.fetch_mark.clone());
            let key = repository.clone();
            let task = tokio::spawn(async move {
                let fetch =
                    Fetch { config: &config, folder: &folder, id, repository: &repository, number, mark: &mark };
                let outcome = fetch.run().await;
                tracing::info!(cluster = %id, %repository, ?outcome, "materials");
                record(&slot, Material { repository, outcome }).await;
            });
            cluster.fetching.insert(key, task.abort_handle());
        }
    }

    /// What is there of the cluster now.
    pub async fn look(&self, slot: &Slot) -> Result<Observation, RuntimeError> {
        let view = {
            let mut cluster = slot.cluster.lock().await;
            cluster.sweep(&self.config, Instant::now(), utc_now())?;
            let before = cluster.recorded.as_ref().map(|recorded| recorded.ports);
            let view = View::of(&mut cluster, self.config.address, Instant::now());
            if cluster.recorded.as_ref().map(|recorded| recorded.ports) != before {
                cluster.save()?;
            }
            view
        };
        match view {
            None => Ok(Observation::Absent),
            Some(view) => Ok(view.observe(&self.engines).await),
        }
    }

    async fn step(self: &Arc<Self>, slot: &Arc<Slot>) -> Next {
        {
            let mut cluster = slot.cluster.lock().await;
            if cluster.gone {
                return Next::Gone;
            }
            let problem = self.converge(slot, &mut cluster).err();
            let said = problem.as_ref().map(ToString::to_string);
            if said != cluster.problem {
                if let Some(said) = &said {
                    tracing::warn!(cluster = %cluster.id, problem = said, "not as wanted");
                }
                cluster.problem = said;
                self.hint(cluster.id);
            }
        }
        let seen = self.look(slot).await;
        let mut cluster = slot.cluster.lock().await;
        if let Ok(seen) = seen
            && cluster.last_seen.as_ref() != Some(&seen)
        {
            cluster.last_seen = Some(seen);
            self.hint(cluster.id);
        }
        next(&mut cluster)
    }
}

/// When to look at the cluster again.
fn next(cluster: &mut Cluster) -> Next {
    let now = Instant::now();
    let polling = if is_settled(cluster) {
        cluster.unsettled_since = None;
        None
    } else {
        // Often at first, so that a launch is seen to be ready at once; less so when it takes its time.
        let since = *cluster.unsettled_since.get_or_insert(now);
        Some((now.duration_since(since) / 20).clamp(Duration::from_millis(100), Duration::from_secs(2)))
    };
    let liveness = cluster.has_adopted().then_some(LIVENESS);
    let deadline = cluster.next_deadline(now, utc_now());
    match [polling, liveness, deadline].into_iter().flatten().min() {
        None => Next::Woken,
        Some(wait) => Next::In(wait),
    }
}

fn is_settled(cluster: &Cluster) -> bool {
    match (&cluster.wanted, &cluster.last_seen) {
        (None, _) => true,
        (Some(wanted), Some(Observation::Present { endpoint, workers_ready, .. })) => {
            endpoint.is_some() && *workers_ready == wanted.workers.get()
        }
        (Some(_), Some(Observation::Absent) | None) => false,
    }
}

/// Reaps the children, and has the cluster looked at when one ends.
fn watch(slot: &Arc<Slot>, children: Children) {
    for mut child in children {
        let slot = slot.clone();
        tokio::spawn(async move {
            // However it ended, it is gone.
            let _ = child.wait().await;
            slot.wake.notify_one();
        });
    }
}

async fn record(slot: &Slot, material: Material) {
    let mut cluster = slot.cluster.lock().await;
    cluster.fetching.remove(&material.repository);
    if cluster.gone {
        return;
    }
    if let Some(recorded) = &mut cluster.recorded {
        recorded.materials.push(material);
    }
    if let Err(error) = cluster.save() {
        tracing::warn!(cluster = %cluster.id, %error, "the materials will be looked at again");
    }
    slot.wake.notify_one();
}
