//! When pods became ready, as one watch of the apiserver tells it, whoever made them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::StreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use slipway::runtime::kubernetes::manifest::WORKERS;
use slipway::runtime::kubernetes::pod::Pod;
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
    if !pod.is_ready() {
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
    if pod.is(WORKERS) {
        pods.workers.push(Instant::now());
    } else {
        pods.notebook.get_or_insert_with(Instant::now);
    }
}
