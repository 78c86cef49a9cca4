//! The runtime of an installation on one machine: its own processes, or a Kubernetes that is there already.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use super::{Place, UpConfig, user};
use crate::clock::Clock;
use crate::domain::Keyring;
use crate::parts::Base;
use crate::parts::worker::{self, WorkerOptions};
use crate::runtime::kubernetes::{KubernetesRuntime, Settings};
use crate::runtime::local::{LocalConfig, LocalRuntime, passed_on, stack};

pub(super) enum AnyRuntime {
    Machine(Arc<LocalRuntime>),
    Kubernetes(Arc<KubernetesRuntime>),
}

/// The runtime that was asked for; `None` when told to stop meanwhile.
///
/// # Errors
/// When it cannot be had.
pub(super) async fn start_runtime(
    config: &UpConfig,
    data_dir: &Path,
    keyring: &Keyring,
    say: &impl Fn(&str),
    stop: watch::Receiver<bool>,
) -> anyhow::Result<Option<AnyRuntime>> {
    match &config.place {
        Place::Kubernetes(connection, tuning) => {
            let settings = Settings::new(keyring.clone(), &config.api.profiles, tuning.clone());
            let runtime = KubernetesRuntime::connect((**connection).clone(), settings, Clock::system()).await;
            let runtime = runtime.context("cannot reach the Kubernetes API server")?;
            Ok(Some(AnyRuntime::Kubernetes(Arc::new(runtime))))
        }
        Place::Machine { stack, clusters_as, worker_memory } => {
            let stack = tokio::select! {
                stack = stack::prepare(data_dir, stack.as_deref(), |line: &str| say(line)) => stack?,
                () = crate::shutdown::stopped(stop) => return Ok(None),
            };
            let mut local = LocalConfig::new(data_dir.join("clusters"), stack, keyring.clone());
            local.run_as = user::for_clusters(clusters_as)?;
            local.environment = passed_on(std::env::vars());
            local.worker_memory.clone_from(worker_memory);
            Ok(Some(AnyRuntime::Machine(Arc::new(LocalRuntime::new(local)?))))
        }
    }
}

impl AnyRuntime {
    pub(super) async fn work(
        &self,
        base: &Base,
        options: WorkerOptions,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Machine(runtime) => worker::run(base, Arc::clone(runtime), options, stop).await,
            Self::Kubernetes(runtime) => worker::run(base, Arc::clone(runtime), options, stop).await,
        }
    }

    /// Ends what would not be there without this program.
    pub(super) async fn end(&self, say: &impl Fn(&str)) -> anyhow::Result<()> {
        match self {
            Self::Machine(runtime) => {
                say("stopping the clusters' processes");
                Ok(runtime.shutdown().await?)
            }
            Self::Kubernetes(_) => {
                say("the clusters go on in Kubernetes; `slipway stop` removes them");
                Ok(())
            }
        }
    }
}
