//! Options of whatever runs clusters on Kubernetes.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::clock::Clock;
use crate::domain::Cidr;
use crate::domain::{Keyring, Profile};
use crate::runtime::kubernetes::settings::Network;
use crate::runtime::kubernetes::{KubernetesRuntime, Settings, Tuning};

/// Which Kubernetes, and how clusters are run on it. Found as kubectl finds it: by KUBECONFIG, `~/.kube/config`, or the
/// service account of the pod that this runs in.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesOptions {
    /// Context of the kubeconfig to use instead of its current one
    #[arg(long = "kube-context", env = "SLIPWAY_KUBE_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Namespace of the proxy's and the worker's pods, which clusters let in [default: that of this pod]
    #[arg(long, env = "SLIPWAY_DOOR_NAMESPACE", value_name = "NAMESPACE")]
    door_namespace: Option<String>,
    /// Addresses that clusters let in, where the proxy and the worker are no pods; may be repeated
    #[arg(long, env = "SLIPWAY_DOOR_ADDRESS", value_delimiter = ',', value_name = "RANGE")]
    door_address: Vec<Cidr>,
    /// Private addresses that clusters may reach, such as a git server's; may be repeated
    #[arg(long, env = "SLIPWAY_REACHABLE", value_delimiter = ',', value_name = "RANGE")]
    reachable: Vec<Cidr>,
    /// Requests to the API server that are under way at the same time
    #[arg(long, env = "SLIPWAY_REQUESTS_AT_ONCE", default_value = "32", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    requests_at_once: u16,
    /// A worker that is removed may take so long to hand over its results and finish what it runs
    #[arg(long, env = "SLIPWAY_RETIRE_WITHIN", default_value = "5m", value_name = "TIME", value_parser = humantime::parse_duration)]
    retire_within: Duration,
    /// A launch whose image cannot be pulled for so long has failed
    #[arg(long, env = "SLIPWAY_PULL_WITHIN", default_value = "1m", value_name = "TIME", value_parser = humantime::parse_duration)]
    pull_within: Duration,
}

impl KubernetesOptions {
    /// How to connect to the Kubernetes that is found, and how clusters are run on it.
    ///
    /// # Errors
    /// When none is found.
    pub async fn find(&self) -> anyhow::Result<(Config, Tuning)> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let (config, own_namespace) = match Kubeconfig::read() {
            Ok(kubeconfig) => {
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                (config.context("the kubeconfig cannot be used")?, None)
            }
            Err(no_kubeconfig) => {
                let config = Config::incluster().map_err(|_| no_kubeconfig).context(
                    "no Kubernetes was found: set KUBECONFIG, or run this in a pod with a service account",
                )?;
                let namespace = config.default_namespace.clone();
                (config, Some(namespace))
            }
        };
        let network = Network {
            door_namespace: self.door_namespace.clone().or(own_namespace),
            door_addresses: self.door_address.clone(),
            reachable: self.reachable.clone(),
        };
        let tuning = Tuning {
            network,
            requests_at_once: self.requests_at_once.into(),
            retire_within: self.retire_within,
            pull_within: self.pull_within,
            ..Tuning::default()
        };
        Ok((config, tuning))
    }

    /// A runtime on the Kubernetes that is found.
    ///
    /// # Errors
    /// When none is, or it does not answer.
    pub async fn runtime(&self, keyring: Keyring, profiles: &[Profile]) -> anyhow::Result<KubernetesRuntime> {
        let (config, tuning) = self.find().await?;
        let settings = Settings::new(keyring, profiles, tuning);
        let runtime = KubernetesRuntime::connect(config, settings, Clock::system()).await;
        runtime.context("cannot reach the Kubernetes API server")
    }
}
