//! The pods: one with the notebook and the schedulers, and as many with workers as are wanted.

use serde_json::{Value, json};

use super::namespace::{SECRET, SERVICE_ACCOUNT, amount};
use super::{COMPONENT, INSTANCE, Manifest, Plan, SCHEDULER, WORKERS, labels};
use crate::domain::shape::{Effect, Resources, Toleration};
use crate::domain::{Engine, RoutePath, Shape, port};
use crate::runtime::kubernetes::kind::Kind;
use crate::runtime::kubernetes::settings::Extent;

/// The user and group that the image's processes run as.
const STUDENT: u32 = 1000;
/// The notebook's pod has little to end: kernels end with it in any case.
const SCHEDULER_GRACE_SECONDS: u32 = 10;
/// Kubernetes' own default is five minutes without a notebook.
const NODE_LOST_SECONDS: u32 = 30;

/// A port that the scheduler's pod serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub name: &'static str,
    pub number: u16,
}

/// Of the notebook server.
pub const NOTEBOOK: Port = Port { name: "notebook", number: 8888 };
/// Of Dask's dashboard, and of its scheduler over WebSocket.
pub const DASK_WEB: Port = Port { name: "dask-web", number: 8787 };
/// Of Dask's scheduler, for workers.
pub const DASK: Port = Port { name: "dask", number: 8786 };
/// Of the Spark master's pages.
pub const SPARK_WEB: Port = Port { name: "spark-web", number: 8080 };
/// The variable that names the repositories to fetch.
pub const MATERIALS: &str = "SLIPWAY_MATERIALS";
/// The variable that names the ports the profile opens beside those of the engines.
pub const PORTS: &str = "SLIPWAY_PORTS";
/// Where a worker tells whether it is connected.
const WORKER_HEALTH: u16 = 8790;

/// Those that are reached through the proxy. Inside its namespace every port is open.
pub fn scheduler_ports(shape: &Shape) -> Vec<Port> {
    let mut ports = vec![NOTEBOOK, DASK_WEB];
    if shape.engines.spark {
        ports.push(SPARK_WEB);
    }
    ports
}

pub fn scheduler(plan: &Plan<'_>) -> Manifest {
    let id = plan.id();
    let get = |path: String, port: Port| json!({ "path": path, "port": port.number });
    let health = format!("{}/health", RoutePath::of(id, Engine::DaskDashboard));
    let notebook = format!("{}/api", RoutePath::of(id, Engine::Notebook));
    let mut ports: Vec<Value> = scheduler_ports(plan.shape)
        .iter()
        .map(|Port { name, number }| json!({ "name": name, "containerPort": number, "protocol": "TCP" }))
        .collect();
    ports.push(json!({ "name": DASK.name, "containerPort": DASK.number, "protocol": "TCP" }));
    let container = json!({
        "ports": ports,
        // Then Dask's scheduler answers.
        "startupProbe": { "httpGet": get(health, DASK_WEB), "periodSeconds": 1, "failureThreshold": 600 },
        // A busy server is given time: to be taken for gone would shut the student out.
        "readinessProbe": { "httpGet": get(notebook, NOTEBOOK), "periodSeconds": 1, "timeoutSeconds": 5,
                            "failureThreshold": 10 },
    });
    let pod = json!({ "terminationGracePeriodSeconds": SCHEDULER_GRACE_SECONDS });
    let mut manifest = plan.object(
        Kind::Pod,
        SCHEDULER,
        json!({ "spec": spec(plan, SCHEDULER, plan.shape.scheduler, container, pod) }),
    );
    manifest.body["metadata"]["labels"] = json!(labels(plan, Some(SCHEDULER)));
    manifest
}

pub fn workers(plan: &Plan<'_>) -> Manifest {
    let container = json!({
        "ports": [{ "name": "health", "containerPort": WORKER_HEALTH, "protocol": "TCP" }],
        "readinessProbe": { "httpGet": { "path": "/ready", "port": WORKER_HEALTH }, "periodSeconds": 2,
                            "timeoutSeconds": 5 },
    });
    let pod = json!({ "terminationGracePeriodSeconds": plan.settings.tuning.retire_within.as_secs() });
    let mut manifest = plan.object(
        Kind::ReplicationController,
        WORKERS,
        json!({ "spec": {
            "replicas": plan.blueprint.workers.get(),
            "selector": { INSTANCE: plan.id().to_string(), COMPONENT: WORKERS },
            "template": {
                "metadata": { "labels": labels(plan, Some(WORKERS)) },
                "spec": spec(plan, "worker", plan.shape.worker, container, pod),
            },
        }}),
    );
    manifest.body["metadata"]["labels"] = json!(labels(plan, Some(WORKERS)));
    manifest
}

/// What both kinds of pods have in common. `restricted` asks for all of the security contexts.
fn spec(plan: &Plan<'_>, mode: &str, resources: Resources, container: Value, pod: Value) -> Value {
    let shape = plan.shape;
    let mut container_spec = json!({
        "name": mode,
        "image": shape.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [mode],
        "env": environment(plan, resources),
        "resources": { "requests": amount(resources.requests), "limits": amount(resources.limits) },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        },
        "volumeMounts": [
            { "name": "home", "mountPath": "/home/student" },
            { "name": "tmp", "mountPath": "/tmp" },
            { "name": "secret", "mountPath": "/run/slipway", "readOnly": true },
        ],
    });
    super::merge(&mut container_spec, container);
    let service_account = match plan.settings.tuning.extent {
        Extent::Whole => SERVICE_ACCOUNT,
        Extent::Notebook => "default",
    };
    let mut spec = json!({
        "serviceAccountName": service_account,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": STUDENT,
            "runAsGroup": STUDENT,
            "fsGroup": STUDENT,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [container_spec],
        "volumes": [
            { "name": "home", "emptyDir": {} },
            { "name": "tmp", "emptyDir": {} },
            { "name": "secret", "secret": { "secretName": SECRET, "defaultMode": 0o440 } },
        ],
        "tolerations": tolerations(&shape.tolerations),
    });
    if !shape.node_selector.is_empty() {
        spec["nodeSelector"] = json!(shape.node_selector);
    }
    if let Some(class) = &shape.priority_class {
        spec["priorityClassName"] = json!(class);
    }
    super::merge(&mut spec, pod);
    spec
}

fn environment(plan: &Plan<'_>, resources: Resources) -> Value {
    let mut engines = vec!["dask"];
    engines.extend(plan.shape.engines.ipyparallel.then_some("ipyparallel"));
    engines.extend(plan.shape.engines.spark.then_some("spark"));
    let materials: Vec<String> = plan.blueprint.materials.iter().map(ToString::to_string).collect();
    json!([
        { "name": "SLIPWAY_CLUSTER", "value": plan.id().to_string() },
        { "name": "SLIPWAY_POD_IP", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "status.podIP" } } },
        { "name": "SLIPWAY_SCHEDULER", "value": SCHEDULER },
        { "name": "SLIPWAY_ENGINES", "value": engines.join(",") },
        // Spark's driver, in the scheduler's pod, asks for executors of the workers' size.
        { "name": "SLIPWAY_CPUS", "value": plan.shape.worker.limits.cpu.threads().to_string() },
        { "name": "SLIPWAY_WORKER_MEMORY", "value": plan.shape.worker.limits.memory.bytes().to_string() },
        { "name": "SLIPWAY_MEMORY", "value": resources.limits.memory.bytes().to_string() },
        { "name": MATERIALS, "value": materials.join(" ") },
        { "name": PORTS, "value": port::told(&plan.shape.ports) },
    ])
}

fn tolerations(wanted: &[Toleration]) -> Vec<Value> {
    let lost = |key: &str| {
        json!({ "key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": NODE_LOST_SECONDS })
    };
    let mut all = vec![lost("not-ready"), lost("unreachable")];
    all.extend(wanted.iter().map(|Toleration { key, value, effect }| {
        let mut toleration = match (key, value) {
            (Some(key), Some(value)) => json!({ "key": key, "operator": "Equal", "value": value }),
            (Some(key), None) => json!({ "key": key, "operator": "Exists" }),
            (None, _) => json!({ "operator": "Exists" }),
        };
        if let Some(effect) = effect {
            toleration["effect"] = json!(match effect {
                Effect::NoSchedule => "NoSchedule",
                Effect::PreferNoSchedule => "PreferNoSchedule",
                Effect::NoExecute => "NoExecute",
            });
        }
        toleration
    }));
    all
}
