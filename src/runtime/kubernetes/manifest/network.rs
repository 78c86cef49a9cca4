//! Who may talk to whom.

use serde_json::{Value, json};

use super::pods::{Port, scheduler_ports};
use super::{COMPONENT, INSTANCE, Manifest, Plan, SCHEDULER};
use crate::domain::Cidr;
use crate::runtime::kubernetes::kind::Kind;

/// Nobody, in either direction. An object of its own, so that without the other one all is shut.
pub fn nobody(plan: &Plan<'_>) -> Manifest {
    plan.object(
        Kind::NetworkPolicy,
        "nobody",
        json!({ "spec": { "podSelector": {}, "policyTypes": ["Ingress", "Egress"] } }),
    )
}

/// The cluster's pods among themselves; the proxy and the worker to what the scheduler's pod serves; the
/// pods to DNS and the internet.
pub fn neighbours(plan: &Plan<'_>) -> Manifest {
    let own = json!({ "podSelector": {} });
    let mut ingress = vec![json!({ "from": [own] })];
    let door = door(plan);
    if !door.is_empty() {
        let named = plan.shape.ports.values().map(|port| port.port);
        let numbers = scheduler_ports(plan.shape).into_iter().map(|port| port.number).chain(named);
        let ports: Vec<Value> = numbers.map(|number| json!({ "protocol": "TCP", "port": number })).collect();
        ingress.push(json!({ "from": door, "ports": ports }));
    }
    let mut egress = vec![
        json!({ "to": [own] }),
        // Wherever the pods' resolver is: a node's cache is no pod that could be selected.
        json!({ "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }] }),
        json!({ "to": internet() }),
    ];
    let reachable = &plan.settings.tuning.network.reachable;
    if !reachable.is_empty() {
        egress.push(json!({ "to": reachable.iter().map(|range| block(*range)).collect::<Vec<_>>() }));
    }
    plan.object(
        Kind::NetworkPolicy,
        "neighbours",
        json!({ "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        }}),
    )
}

fn door(plan: &Plan<'_>) -> Vec<Value> {
    let network = &plan.settings.tuning.network;
    let namespace = network.door_namespace.iter().map(|name| {
        json!({
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } },
            "podSelector": { "matchExpressions": [
                { "key": COMPONENT, "operator": "In", "values": ["proxy", "worker"] },
                { "key": "app.kubernetes.io/part-of", "operator": "In", "values": [super::MANAGER] },
            ]},
        })
    });
    namespace.chain(network.door_addresses.iter().map(|range| block(*range))).collect()
}

fn block(range: Cidr) -> Value {
    json!({ "ipBlock": { "cidr": range.to_string() } })
}

/// Everything but private, shared and link-local addresses (RFC 1918, 6598, 3927, 4193, 4291), which are
/// those of other pods, services, nodes and the provider's metadata.
fn internet() -> Value {
    json!([
        { "ipBlock": { "cidr": "0.0.0.0/0", "except": [
            "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"
        ]}},
        { "ipBlock": { "cidr": "::/0", "except": ["fc00::/7", "fe80::/10"] } },
    ])
}

/// Gives the scheduler's pod the name that workers know it by, from before it is ready.
pub fn service(plan: &Plan<'_>) -> Manifest {
    let ports: Vec<Value> = scheduler_ports(plan.shape)
        .iter()
        .map(|Port { name, number }| json!({ "name": name, "port": number, "protocol": "TCP", "targetPort": number }))
        .collect();
    plan.object(
        Kind::Service,
        SCHEDULER,
        json!({ "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": { INSTANCE: plan.id().to_string(), COMPONENT: SCHEDULER },
            "ports": ports,
        }}),
    )
}
