//! What is to be seen of a cluster in its objects, as a pure function.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::kind::Kind;
use super::manifest::pods::{DASK_WEB, MATERIALS, NOTEBOOK, PORTS, SPARK_WEB};
use super::manifest::{SCHEDULER, WORKERS};
use super::mirror::View;
use super::pod::{Hope, Pod, Trouble};
use super::reasons::{spoken, will_pass};
use crate::domain::{Endpoint, Engine, Step, port};

/// What was seen, before any engine is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    pub steps: Vec<Step>,
    pub endpoint: Option<Endpoint>,
    pub workers_ready: u16,
    /// Waiting longer cannot help.
    pub hopeless: Option<String>,
}

/// Namespaces are gone within ten seconds or so, if nothing holds them.
const REMOVED_WITHIN_SECONDS: i64 = 60;

/// What the cluster's objects tell at this time.
pub fn observe(view: &View, pull_within: Duration, now: DateTime<Utc>) -> Sight {
    let mut steps = vec![];
    if view.is_terminating() {
        steps.extend(removal_held(view, now));
        return Sight { steps, endpoint: None, workers_ready: 0, hopeless: None };
    }
    steps.extend(view.namespace.is_some().then_some(Step::Prepared));
    let scheduler = view.pods.get(SCHEDULER).filter(|pod| pod.gone_by().is_none());
    let mut hopeless = None;
    if let Some(pod) = scheduler {
        steps.extend(pod.has_started().then_some(Step::SchedulerStarted));
        if let Some(Trouble { why, hope }) = pod.trouble() {
            hopeless = is_hopeless(pod, hope, pull_within, now).then(|| why.clone());
            steps.push(Step::Held { why });
        }
    }
    steps.extend(workers_held(view));
    Sight {
        steps,
        endpoint: scheduler.and_then(|pod| endpoint(pod)),
        workers_ready: workers_ready(view),
        hopeless,
    }
}

fn is_hopeless(pod: &Pod, hope: Hope, pull_within: Duration, now: DateTime<Utc>) -> bool {
    match hope {
        Hope::None => true,
        Hope::Little => pod
            .created_at()
            .and_then(|created| (now - created).to_std().ok())
            .is_some_and(|waited| waited >= pull_within),
        Hope::Some => false,
    }
}

/// Whether the notebook's pod was asked to fetch any.
pub fn has_materials(view: &View) -> bool {
    let asked = view.pods.get(SCHEDULER).and_then(|pod| pod.variable(MATERIALS));
    asked.is_some_and(|materials| !materials.is_empty())
}

/// Whether the notebook's pod was made so short a time ago.
pub fn is_younger(view: &View, age: Duration, now: DateTime<Utc>) -> bool {
    let created = view.pods.get(SCHEDULER).and_then(|pod| pod.created_at());
    created.is_some_and(|created| (now - created).to_std().is_ok_and(|since| since < age))
}

/// The workers that are ready for tasks.
pub fn workers_ready(view: &View) -> u16 {
    let ready = view.pods.values().filter(|pod| pod.is(WORKERS) && pod.is_ready()).count();
    u16::try_from(ready).unwrap_or(u16::MAX)
}

/// Where the pod's engines are, once it is ready.
pub fn endpoint(pod: &Pod) -> Option<Endpoint> {
    let address = pod.address().filter(|_| pod.is_ready())?;
    let served = pod.ports();
    let engines = [
        (Engine::Notebook, NOTEBOOK),
        (Engine::DaskScheduler, DASK_WEB),
        (Engine::DaskDashboard, DASK_WEB),
        (Engine::SparkUi, SPARK_WEB),
    ];
    let ports = engines.into_iter().filter_map(|(engine, port)| Some((engine, *served.get(port.name)?))).collect();
    let named = pod.variable(PORTS).map(port::heard).unwrap_or_default();
    Some(Endpoint { address, ports, named })
}

/// What keeps workers from coming: of their controller, and of the first of them that has trouble.
fn workers_held(view: &View) -> Option<Step> {
    let controller = view.object(Kind::ReplicationController, WORKERS)?;
    let failure = conditions(&controller.data)
        .filter(|condition| text(condition, "type") == "ReplicaFailure")
        .find(|condition| !will_pass(text(condition, "message")));
    let refused = failure.map(|condition| spoken(text(condition, "reason"), text(condition, "message")));
    // One that is told to go ends as it should.
    let staying = || view.pods.values().filter(|pod| pod.is(WORKERS) && pod.gone_by().is_none());
    let troubled = || staying().find_map(|pod| pod.trouble());
    let why = refused.or_else(|| troubled().map(|trouble| trouble.why))?;
    Some(Step::Held { why: format!("not all workers can start: {why}") })
}

/// What keeps a namespace that should be gone: whose finalizers it waits for.
fn removal_held(view: &View, now: DateTime<Utc>) -> Option<Step> {
    let namespace = view.namespace.as_ref()?;
    let asked = super::pod::time(namespace.metadata.deletion_timestamp.as_ref()?);
    if (now - asked).num_seconds() < REMOVED_WITHIN_SECONDS {
        return None;
    }
    let remaining: Vec<&str> = conditions(&namespace.data)
        .filter(|condition| text(condition, "status") == "True")
        .map(|condition| text(condition, "message"))
        .collect();
    let mut why = "its namespace cannot be removed".to_owned();
    for reason in &remaining {
        why = format!("{why}: {}", spoken("", reason));
    }
    let finalizers = namespace.metadata.finalizers.iter().flatten();
    let own: Vec<&str> = finalizers.map(String::as_str).collect();
    if !own.is_empty() {
        why = format!("{why}: it has the finalizers {}", own.join(", "));
    }
    Some(Step::Held { why })
}

fn conditions(data: &Value) -> impl Iterator<Item = &Value> {
    data.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(condition: &'a Value, field: &str) -> &'a str {
    condition.get(field).and_then(Value::as_str).unwrap_or_default()
}
