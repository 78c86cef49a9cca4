//! When pods became ready, as one watch of the apiserver tells it, whoever made them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use serde::Deserialize;
use tokio::sync::oneshot;

/// The pods of one launch.
#[derive(Debug, Default)]
pub struct Pods {
    pub notebook: Option<Instant>,
    /// In the order in which they became ready.
    pub workers: Vec<Instant>,
    /// Those that are counted.
    names: Vec<String>,
}

/// By namespace; KubeSpawner's by user.
pub type Seen = Arc<Mutex<BTreeMap<String, Pods>>>;

#[derive(Debug, Clone, Deserialize)]
struct Pod {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

/// Watches all pods from now on.
pub async fn pods() -> Seen {
    let seen = Seen::default();
    let (listed, ready) = oneshot::channel();
    tokio::spawn(follow(seen.clone(), listed));
    ready.await.expect("the apiserver answers");
    seen
}

async fn follow(seen: Seen, listed: oneshot::Sender<()>) {
    let mut listed = Some(listed);
    let client = Client::try_default().await.expect("KUBECONFIG names a cluster");
    let mut events = pin!(watcher(Api::<Pod>::all(client), Config::default()));
    while let Some(event) = events.next().await {
        match event.expect("the watch goes on") {
            Event::Apply(pod) | Event::InitApply(pod) => note(&seen, &pod),
            Event::InitDone => drop(listed.take().map(|listed| listed.send(()))),
            Event::Init | Event::Delete(_) => {}
        }
    }
}

fn note(seen: &Seen, pod: &Pod) {
    let is_ready = |condition: &Condition| condition.r#type == "Ready" && condition.status == "True";
    if pod.status.phase != "Running" || !pod.status.conditions.iter().any(is_ready) {
        return;
    }
    let label = |key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let namespace = pod.metadata.namespace.as_deref();
    let Some(key) = label("hub.jupyter.org/username").or(namespace) else { return };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let mut seen = seen.lock().unwrap();
    let pods = seen.entry(key.to_owned()).or_default();
    if pods.names.contains(&name) {
        return;
    }
    pods.names.push(name);
    if label("app.kubernetes.io/component") == Some("workers") {
        pods.workers.push(Instant::now());
    } else {
        pods.notebook.get_or_insert_with(Instant::now);
    }
}

impl kube::Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
