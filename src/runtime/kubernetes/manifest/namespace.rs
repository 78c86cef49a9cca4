//! A cluster's own room: the namespace, and what bounds whatever is in it.

use k8s_openapi::ByteString;
use serde_json::json;

use super::{Manifest, Plan, labels};
use crate::domain::shape::{Amount, Cpu, Memory, cpu_quantity, memory_quantity};
use crate::runtime::kubernetes::kind::Kind;

/// Every pod in it must meet the Pod Security Standard `restricted`.
pub fn namespace(plan: &Plan<'_>) -> Manifest {
    let mut labels = labels(plan, None);
    labels.extend([
        ("pod-security.kubernetes.io/enforce", "restricted".to_owned()),
        ("pod-security.kubernetes.io/enforce-version", "latest".to_owned()),
    ]);
    let body = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": plan.id().to_string(), "labels": labels },
    });
    Manifest { kind: Kind::Namespace, name: "", body }
}

/// For pods that have no business with Kubernetes: nobody gets a token of it.
pub fn service_account(plan: &Plan<'_>) -> Manifest {
    plan.object(Kind::ServiceAccount, SERVICE_ACCOUNT, json!({ "automountServiceAccountToken": false }))
}

pub const SERVICE_ACCOUNT: &str = "cluster";
pub const SECRET: &str = "cluster";

pub fn secret(plan: &Plan<'_>) -> Manifest {
    let keyring = &plan.settings.keyring;
    plan.object(
        Kind::Secret,
        SECRET,
        json!({ "type": "Opaque", "data": {
            "notebook-token": ByteString(keyring.notebook_token(plan.id()).into_bytes()),
            "engine-key": ByteString(keyring.engine_key(plan.id()).into_bytes()),
        }}),
    )
}

/// For containers that do not say how much they need; none may have more than the largest of ours.
pub fn limits(plan: &Plan<'_>) -> Manifest {
    let (scheduler, worker) = (plan.shape.scheduler, plan.shape.worker);
    let most = Amount {
        cpu: scheduler.limits.cpu.max(worker.limits.cpu),
        memory: scheduler.limits.memory.max(worker.limits.memory),
    };
    plan.object(
        Kind::LimitRange,
        "cluster",
        json!({ "spec": { "limits": [{
            "type": "Container",
            "default": amount(worker.limits),
            "defaultRequest": amount(worker.requests),
            "max": amount(most),
        }]}}),
    )
}

/// Room for the scheduler, all the workers it may have, and some that are on their way out.
pub fn quota(plan: &Plan<'_>) -> Manifest {
    let most = u32::from(plan.blueprint.most_workers.get());
    let pods = most + most.div_ceil(4).max(2);
    let (scheduler, worker) = (plan.shape.scheduler, plan.shape.worker);
    let sum = |one: u32, each: u32| u64::from(one) + u64::from(pods) * u64::from(each);
    let cpu = |one: Cpu, each: Cpu| cpu_quantity(sum(one.millis(), each.millis()));
    let memory = |one: Memory, each: Memory| memory_quantity(sum(one.mebibytes(), each.mebibytes()));
    plan.object(
        Kind::ResourceQuota,
        "cluster",
        json!({ "spec": { "hard": {
            "pods": (pods + 1).to_string(),
            "requests.cpu": cpu(scheduler.requests.cpu, worker.requests.cpu),
            "requests.memory": memory(scheduler.requests.memory, worker.requests.memory),
            "limits.cpu": cpu(scheduler.limits.cpu, worker.limits.cpu),
            "limits.memory": memory(scheduler.limits.memory, worker.limits.memory),
            "persistentvolumeclaims": "0",
            "services.loadbalancers": "0",
            "services.nodeports": "0",
        }}}),
    )
}

pub fn amount(amount: Amount) -> serde_json::Value {
    json!({ "cpu": amount.cpu.to_string(), "memory": amount.memory.to_string() })
}
