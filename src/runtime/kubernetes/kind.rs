//! The kinds of objects that a cluster is made of.

use kube::core::ApiResource;

/// A kind of Kubernetes object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Namespace,
    ServiceAccount,
    Secret,
    LimitRange,
    NetworkPolicy,
    Service,
    ResourceQuota,
    Pod,
    ReplicationController,
}

impl Kind {
    /// Those that are watched as they are. Pods are, too, but only the part of them that matters; Secrets
    /// are not, as the right to watch ours would be the right to read everybody's.
    pub const WATCHED: [Self; 7] = [
        Self::Namespace,
        Self::ServiceAccount,
        Self::LimitRange,
        Self::NetworkPolicy,
        Self::Service,
        Self::ResourceQuota,
        Self::ReplicationController,
    ];

    pub fn resource(self) -> ApiResource {
        let (group, kind, plural) = match self {
            Self::Namespace => ("", "Namespace", "namespaces"),
            Self::ServiceAccount => ("", "ServiceAccount", "serviceaccounts"),
            Self::Secret => ("", "Secret", "secrets"),
            Self::LimitRange => ("", "LimitRange", "limitranges"),
            Self::NetworkPolicy => ("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
            Self::Service => ("", "Service", "services"),
            Self::ResourceQuota => ("", "ResourceQuota", "resourcequotas"),
            Self::Pod => ("", "Pod", "pods"),
            Self::ReplicationController => ("", "ReplicationController", "replicationcontrollers"),
        };
        let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }
}
