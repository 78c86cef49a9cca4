//! What Kubernetes has of slipway's clusters, as the watches tell it and our own writes are answered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::core::{DynamicObject, ObjectMeta};
use tokio::sync::watch;

use super::kind::Kind;
use super::manifest::WORKERS;
use super::pod::Pod;
use crate::domain::ClusterId;

/// One cluster's objects.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub namespace: Option<Arc<DynamicObject>>,
    /// All but the namespace and the pods.
    pub objects: BTreeMap<(Kind, String), Arc<DynamicObject>>,
    pub pods: BTreeMap<String, Arc<Pod>>,
}

impl View {
    pub fn is_empty(&self) -> bool {
        self.namespace.is_none() && self.objects.is_empty() && self.pods.is_empty()
    }

    pub fn object(&self, kind: Kind, name: &str) -> Option<&Arc<DynamicObject>> {
        match kind {
            Kind::Namespace => self.namespace.as_ref(),
            _ => self.objects.get(&(kind, name.to_owned())),
        }
    }

    pub fn is_terminating(&self) -> bool {
        self.namespace.as_ref().is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }
}

/// What a cluster's objects are kept as.
pub enum Seen {
    Object(Kind, DynamicObject),
    Pod(Pod),
}

impl Seen {
    fn kind(&self) -> Kind {
        match self {
            Self::Object(kind, _) => *kind,
            Self::Pod(_) => Kind::Pod,
        }
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Object(_, object) => &object.metadata,
            Self::Pod(pod) => &pod.metadata,
        }
    }

    fn is_worker(&self) -> bool {
        matches!(self, Self::Pod(pod) if pod.is(WORKERS))
    }

    /// The cluster that it belongs to and its own name.
    fn place(&self) -> Option<(ClusterId, String)> {
        let meta = self.meta();
        let name = meta.name.clone()?;
        let namespace = if self.kind() == Kind::Namespace { &name } else { meta.namespace.as_ref()? };
        Some((namespace.parse().ok()?, name))
    }
}

/// Whether something happened that a pass should know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Somebody may be waiting for it.
    Of(ClusterId),
    /// Workers come and go in numbers: told now and then.
    OfWorkers(ClusterId),
    None,
}

impl News {
    fn when(any: bool, of_workers: bool, id: ClusterId) -> Self {
        match (any, of_workers) {
            (false, _) => Self::None,
            (true, false) => Self::Of(id),
            (true, true) => Self::OfWorkers(id),
        }
    }
}

/// The clusters' objects of one Kubernetes.
pub struct Mirror {
    views: Mutex<HashMap<ClusterId, View>>,
    /// The kinds whose first list is complete.
    listed: watch::Sender<HashSet<Kind>>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { views: Mutex::default(), listed: watch::Sender::new(HashSet::new()) }
    }
}

impl Mirror {
    pub fn view(&self, id: ClusterId) -> View {
        self.lock().get(&id).cloned().unwrap_or_default()
    }

    pub fn ids(&self) -> Vec<ClusterId> {
        self.lock().keys().copied().collect()
    }

    pub fn any(&self, is: impl Fn(ClusterId, &View) -> bool) -> bool {
        self.lock().iter().any(|(id, view)| is(*id, view))
    }

    /// Whether it is known of every kind what there is.
    pub fn is_complete(&self) -> bool {
        self.listed.borrow().len() > Kind::WATCHED.len()
    }

    /// Waits until it is.
    pub async fn complete(&self) {
        let mut listed = self.listed.subscribe();
        // The sender is ours, so that it cannot be closed.
        let _ = listed.wait_for(|kinds| kinds.len() > Kind::WATCHED.len()).await;
    }

    /// Takes note of an object, unless a later state of it is known.
    pub fn put(&self, seen: Seen) -> News {
        let Some((id, name)) = seen.place() else {
            return News::None;
        };
        let is_worker = seen.is_worker();
        let mut views = self.lock();
        let view = views.entry(id).or_default();
        let news = match seen {
            Seen::Pod(pod) => match view.pods.get(&name) {
                Some(known) if is_older(&pod.metadata, &known.metadata) => false,
                known => {
                    let news = known.is_some_and(|known| known.differs(&pod));
                    view.pods.insert(name, Arc::new(pod));
                    news
                }
            },
            Seen::Object(kind, object) => match view.object(kind, &name) {
                Some(known) if is_older(&object.metadata, &known.metadata) => false,
                known => {
                    let news = known.is_some_and(|known| differs(kind, known, &object));
                    let object = Arc::new(object);
                    match kind {
                        Kind::Namespace => view.namespace = Some(object),
                        _ => drop(view.objects.insert((kind, name), object)),
                    }
                    news
                }
            },
        };
        News::when(news, is_worker, id)
    }

    /// Takes note that an object is gone, unless another one of its name is known.
    pub fn remove(&self, seen: &Seen) -> News {
        let Some((id, name)) = seen.place() else {
            return News::None;
        };
        let mut views = self.lock();
        let Some(view) = views.get_mut(&id) else {
            return News::None;
        };
        let same = |known: &ObjectMeta| known.uid == seen.meta().uid;
        let kind = seen.kind();
        let removed = match kind {
            Kind::Namespace => view.namespace.take_if(|known| same(&known.metadata)).is_some(),
            Kind::Pod => {
                let is = view.pods.get(&name).is_some_and(|known| same(&known.metadata));
                is && view.pods.remove(&name).is_some()
            }
            _ => {
                let is = view.object(kind, &name).is_some_and(|known| same(&known.metadata));
                is && view.objects.remove(&(kind, name)).is_some()
            }
        };
        if view.is_empty() {
            views.remove(&id);
        }
        News::when(removed, seen.is_worker(), id)
    }

    /// A whole list of one kind: what it does not name is gone. Every cluster may have news.
    pub fn replace(&self, kind: Kind, all: Vec<Seen>) -> Vec<ClusterId> {
        let listed: HashSet<(ClusterId, String)> = all.iter().filter_map(Seen::place).collect();
        {
            let mut views = self.lock();
            views.retain(|id, view| {
                let keep = |name: &String| listed.contains(&(*id, name.clone()));
                match kind {
                    Kind::Namespace => drop(view.namespace.take_if(|_| !keep(&id.to_string()))),
                    Kind::Pod => view.pods.retain(|name, _| keep(name)),
                    _ => view.objects.retain(|(other, name), _| *other != kind || keep(name)),
                }
                !view.is_empty()
            });
        }
        for seen in all {
            self.put(seen);
        }
        self.listed.send_if_modified(|kinds| kinds.insert(kind));
        self.ids()
    }

    /// Nothing of the cluster is there, whatever was known.
    pub fn forget(&self, id: ClusterId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterId, View>> {
        // Nothing that is done under the lock leaves the map half changed.
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kubernetes promises since 1.35 that versions of one kind are numbers that grow; they did before.
fn is_older(new: &ObjectMeta, known: &ObjectMeta) -> bool {
    let version = |meta: &ObjectMeta| meta.resource_version.as_ref()?.parse::<u64>().ok();
    match (version(new), version(known)) {
        (Some(new), Some(known)) => new < known,
        (None, _) | (_, None) => false,
    }
}

/// Whether anything but bookkeeping differs.
fn differs(kind: Kind, known: &DynamicObject, new: &DynamicObject) -> bool {
    let marks = |object: &DynamicObject| {
        let meta = &object.metadata;
        (meta.uid.clone(), meta.labels.clone(), meta.deletion_timestamp.clone())
    };
    let relevant = |object: &DynamicObject| match kind {
        // How much of it is used is not for us to act upon, nor how many pods there are: those are watched.
        Kind::ResourceQuota => vec![object.data.get("spec").cloned()],
        Kind::ReplicationController => {
            vec![object.data.get("spec").cloned(), object.data.pointer("/status/conditions").cloned()]
        }
        _ => vec![Some(object.data.clone())],
    };
    known.metadata.resource_version != new.metadata.resource_version
        && (marks(known) != marks(new) || relevant(known) != relevant(new))
}
