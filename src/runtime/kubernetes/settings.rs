//! How clusters are run on Kubernetes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::{Cidr, Keyring, Profile, ProfileName, Shape};

/// What the runtime needs to know beside the clusters themselves.
#[derive(Debug, Clone)]
pub struct Settings {
    pub keyring: Keyring,
    /// What the pods of each profile are made of.
    pub shapes: BTreeMap<ProfileName, Shape>,
    pub tuning: Tuning,
}

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Tuning {
    pub network: Network,
    /// Writes to the API server that are under way at the same time.
    pub requests_at_once: usize,
    /// A worker that is removed may take so long to hand over its results and finish what it runs.
    pub retire_within: Duration,
    /// A launch whose image cannot be pulled for so long has failed.
    pub pull_within: Duration,
    pub extent: Extent,
}

/// How much of a cluster is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    #[default]
    Whole,
    /// A namespace and the notebook's pod, shut off from nothing and without workers: for comparisons with what makes no
    /// more. No program offers it.
    Notebook,
}

/// Who may reach the clusters, and what they may reach beside their own pods, DNS and the internet.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// The namespace that the proxy and the worker run in.
    pub door_namespace: Option<String>,
    /// Where they are, if not in pods.
    pub door_addresses: Vec<Cidr>,
    /// Also reachable from the clusters, such as a git server on a private address.
    pub reachable: Vec<Cidr>,
}

impl Settings {
    pub fn new(keyring: Keyring, profiles: &[Profile], tuning: Tuning) -> Self {
        let shapes = profiles.iter().map(|profile| (profile.name.clone(), profile.shape.clone())).collect();
        Self { keyring, shapes, tuning }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            network: Network::default(),
            requests_at_once: 32,
            retire_within: Duration::from_secs(300),
            pull_within: Duration::from_secs(60),
            extent: Extent::Whole,
        }
    }
}
