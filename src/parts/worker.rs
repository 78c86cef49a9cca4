//! A worker with its keeper.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::{Base, watched};
use crate::clock::Clock;
use crate::domain::line::Throttle;
use crate::domain::{Profile, Subject};
use crate::error_chain::chain;
use crate::runtime::Runtime;
use crate::service::Service;
use crate::service::admission::Admission;
use crate::service::keeper::{Keeper, KeeperConfig};
use crate::service::pools::Pools;
use crate::service::reconcile::Patience;
use crate::service::worker::{Worker, WorkerConfig};
use crate::store::append::Caps;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Clusters seen to at the same time.
    pub concurrency: usize,
    /// From the admission to the notebook; then the launch has failed.
    pub launch_within: Duration,
    /// Of launches, over all workers together.
    pub throttle: Throttle,
    /// Between two rounds of the keeper.
    pub keep_every: Duration,
    /// Between two looks at every cluster, known to have changed or not.
    pub resync_every: Duration,
    /// How long the others leave alone what a worker is at without hearing of it.
    pub lease: Duration,
    /// What may be launched, and how many of it are kept ready.
    pub profiles: Vec<Profile>,
    /// The most workers of all clusters together, those of the pools among them.
    pub total_workers: u32,
    /// Where to answer whether it is alive and what it counts, if anywhere.
    pub health_listen: Option<SocketAddr>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 32,
            launch_within: Duration::from_secs(300),
            throttle: Throttle { at_once: 50, per_second: 20.0 },
            keep_every: Duration::from_secs(10),
            resync_every: Duration::from_secs(600),
            lease: Duration::from_secs(30),
            profiles: vec![],
            total_workers: u32::MAX,
            health_listen: None,
        }
    }
}

/// Works until told to stop, and gives back what it holds.
///
/// # Errors
/// When it cannot listen where it was told to.
pub async fn run<R: Runtime>(
    base: &Base,
    runtime: Arc<R>,
    options: WorkerOptions,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let name: Subject =
        format!("worker:{}", Uuid::new_v4().simple()).parse().expect("a UUID makes a valid subject");
    let keeper_name: Subject = "keeper".parse().expect("a word is a valid subject");
    let service = Service::new(base.store.clone(), Caps::NONE).counting(Arc::clone(&base.meters));
    let admission = Admission::new(service.clone(), name.clone(), options.throttle);
    let mut config = WorkerConfig::new(name);
    config.concurrency = options.concurrency;
    config.lease = options.lease;
    config.patience = Patience { call: options.lease * 2 / 3, launch: options.launch_within };
    let worker = Worker::new(service.clone(), Arc::clone(&runtime), Clock::system(), config);
    let watching = Arc::clone(&worker);
    let health =
        watched(options.health_listen, service.clone(), None, stop.clone(), move || watching.is_alive()).await?;
    let caps = Caps { total_workers: options.total_workers, ..Caps::NONE };
    let stocking = Service::new(base.store.clone(), caps).counting(Arc::clone(&base.meters));
    let pools = Pools::new(stocking, Clock::system(), keeper_name.clone(), options.keep_every, options.profiles);
    let keeper = Keeper::new(
        service,
        runtime,
        Clock::system(),
        KeeperConfig {
            name: keeper_name,
            every: options.keep_every,
            resync: options.resync_every,
            watching_since: Clock::system().now(),
        },
    );
    // What this worker's machine lost or changed while nobody looked is seen to at once, not in the keeper's time.
    if let Err(error) = base.store.resync(Duration::ZERO).await {
        tracing::warn!(error = %chain(&error), "cannot queue all clusters; the keeper will");
    }
    tokio::join!(
        worker.run(base.bell.clone(), stop.clone()),
        admission.run(base.bell.clone(), stop.clone()),
        keeper.run(stop.clone()),
        pools.run(base.bell.clone(), stop.clone()),
        health
    );
    Ok(())
}
