//! The objects that a cluster is made of, as pure functions of its blueprint.
//!
//! Each is what slipway wants of it, no more: what Kubernetes adds, or somebody else, is none of its business.

pub mod namespace;
pub mod network;
pub mod pods;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::kind::Kind;
use super::settings::Settings;
use crate::domain::{Blueprint, ClusterId, Shape};

/// Also the field manager's name.
pub const MANAGER: &str = "slipway";
/// Of the installation that a cluster belongs to.
pub const INSTALLATION: &str = "slipway.dev/installation";
/// The parts of a cluster, see [`COMPONENT`].
pub const SCHEDULER: &str = "scheduler";
pub const WORKERS: &str = "workers";
pub const COMPONENT: &str = "app.kubernetes.io/component";
const INSTANCE: &str = "app.kubernetes.io/instance";

/// One object as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    pub kind: Kind,
    pub name: &'static str,
    pub body: Value,
}

/// What all manifests of one cluster are made from.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub blueprint: &'a Blueprint,
    pub shape: &'a Shape,
    pub settings: &'a Settings,
}

impl Plan<'_> {
    fn id(&self) -> ClusterId {
        self.blueprint.id
    }

    /// All that a pod needs to start and to be shut off from others.
    pub fn shelter(&self) -> Vec<Manifest> {
        vec![
            namespace::service_account(self),
            namespace::secret(self),
            namespace::limits(self),
            network::nobody(self),
            network::neighbours(self),
            network::service(self),
        ]
    }

    /// Everything but the notebook's pod, which is never changed once it is there.
    pub fn lasting(&self) -> Vec<Manifest> {
        let mut all = vec![namespace::namespace(self), namespace::quota(self), pods::workers(self)];
        all.extend(self.shelter());
        all
    }

    /// The object's frame; `more` goes beside its metadata.
    fn object(&self, kind: Kind, name: &'static str, more: Value) -> Manifest {
        let resource = kind.resource();
        let mut body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": { "name": name, "namespace": self.id().to_string(), "labels": labels(self, None) },
        });
        merge(&mut body, more);
        Manifest { kind, name, body }
    }
}

/// The labels of everything of one cluster, and of one component of it.
fn labels(plan: &Plan<'_>, component: Option<&str>) -> BTreeMap<&'static str, String> {
    let mut labels = BTreeMap::from([
        ("app.kubernetes.io/name", "slipway-cluster".to_owned()),
        (INSTANCE, plan.id().to_string()),
        ("app.kubernetes.io/part-of", MANAGER.to_owned()),
        ("app.kubernetes.io/managed-by", MANAGER.to_owned()),
        (INSTALLATION, plan.settings.keyring.installation()),
    ]);
    labels.extend(component.map(|component| (COMPONENT, component.to_owned())));
    labels
}

/// What selects everything of an installation's clusters, and nothing of another's.
pub fn selector(settings: &Settings) -> String {
    format!("app.kubernetes.io/name=slipway-cluster,{INSTALLATION}={}", settings.keyring.installation())
}

/// Puts the fields of one object into another, objects within objects as well.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}
