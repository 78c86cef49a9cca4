//! What can be seen of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::folder::{Folder, Outcome, Ports, Recorded};
use super::part::Part;
use crate::domain::{ClusterId, Endpoint, Engine, Observation, Step};
use crate::runtime::engines::{DaskWorker, Engines};

/// What the cluster's folder tells, before any engine is asked.
pub(super) struct View {
    id: ClusterId,
    address: IpAddr,
    /// Only of processes that live.
    ports: Ports,
    steps: Vec<Step>,
    materials_settled: bool,
    staying: BTreeSet<String>,
}

impl View {
    /// `None` when nothing of the cluster exists here. Remembers ports that are new.
    pub fn of(cluster: &mut Cluster, address: IpAddr, now: Instant) -> Option<Self> {
        let materials_settled = materials_settled(cluster, now);
        let (id, folder) = (cluster.id, &cluster.folder);
        let recorded = cluster.recorded.as_mut()?;
        let ports = ports(folder, recorded);
        recorded.ports = Ports {
            notebook: ports.notebook.or(recorded.ports.notebook),
            comm: ports.comm.or(recorded.ports.comm),
            web: ports.web.or(recorded.ports.web),
        };
        let staying = recorded
            .processes
            .iter()
            .filter(|(part, started)| matches!(part, Part::Worker(_)) && started.leaves_by.is_none())
            .map(|(part, _)| part.to_string())
            .collect();
        Some(Self { id, address, ports, steps: steps(recorded), materials_settled, staying })
    }

    /// Asks the engines.
    pub async fn observe(self, engines: &Engines) -> Observation {
        let (notebook, workers) = tokio::join!(self.notebook_answers(engines), self.workers(engines));
        let mut steps = self.steps.clone();
        steps.extend(workers.is_some().then_some(Step::SchedulerStarted));
        let endpoint = match (notebook, &workers) {
            (true, Some(_)) if self.materials_settled => self.endpoint(),
            _ => None,
        };
        let ours = |worker: &&DaskWorker| !worker.leaving && self.staying.contains(&worker.name);
        let workers_ready = workers.iter().flatten().filter(ours).count();
        Observation::Present { steps, endpoint, workers_ready: u16::try_from(workers_ready).unwrap_or(u16::MAX) }
    }

    fn endpoint(&self) -> Option<Endpoint> {
        let ports = BTreeMap::from([
            (Engine::Notebook, self.ports.notebook?),
            (Engine::DaskScheduler, self.ports.web?),
            (Engine::DaskDashboard, self.ports.web?),
        ]);
        Some(Endpoint { address: self.address, ports, named: [].into() })
    }

    async fn notebook_answers(&self, engines: &Engines) -> bool {
        let Some(port) = self.ports.notebook else { return false };
        engines.notebook(self.id, SocketAddr::new(self.address, port)).await.is_ok()
    }

    async fn workers(&self, engines: &Engines) -> Option<Vec<DaskWorker>> {
        engines.workers(self.id, SocketAddr::new(self.address, self.ports.web?)).await.ok()
    }
}

/// Whether each repository is there or given up, or the launch has waited for them long enough.
fn materials_settled(cluster: &Cluster, now: Instant) -> bool {
    let (Some(wanted), Some(recorded)) = (&cluster.wanted, &cluster.recorded) else { return true };
    let settled = |repository| recorded.materials.iter().any(|material| &material.repository == repository);
    cluster.materials_until.is_some_and(|until| now >= until) || wanted.materials.iter().all(settled)
}

fn steps(recorded: &Recorded) -> Vec<Step> {
    let materials = recorded.materials.iter().map(|material| {
        let repository = material.repository.clone();
        match &material.outcome {
            Outcome::Cloned { commit } => Step::MaterialsCloned { repository, commit: commit.clone() },
            Outcome::Failed { why } => Step::MaterialsFailed { repository, why: why.clone() },
        }
    });
    std::iter::once(Step::Prepared).chain(materials).collect()
}

#[derive(Deserialize)]
struct NotebookPlace {
    port: u16,
}

#[derive(Deserialize)]
struct SchedulerPlace {
    pid: i32,
    comm: u16,
    web: u16,
}

/// The ports that the live processes have told: none yet while they start.
fn ports(folder: &Folder, recorded: &Recorded) -> Ports {
    let pid = |part| recorded.processes.get(&part).filter(|started| started.is_alive())?.id.map(|id| id.pid);
    let notebook = pid(Part::Notebook)
        .and_then(|pid| read::<NotebookPlace>(&folder.notebook_place(pid)))
        .map(|place| place.port);
    let scheduler = pid(Part::Scheduler)
        .and_then(|pid| read::<SchedulerPlace>(&folder.scheduler_place()).filter(|place| place.pid == pid));
    Ports {
        notebook,
        comm: scheduler.as_ref().map(|place| place.comm),
        web: scheduler.as_ref().map(|place| place.web),
    }
}

/// `None` also while the file is being written.
fn read<T: for<'de> Deserialize<'de>>(path: &std::path::Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
