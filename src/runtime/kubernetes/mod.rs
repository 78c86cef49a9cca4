//! Clusters as namespaces of Kubernetes: a pod with the notebook and the schedulers, a replication controller of
//! workers, and what shuts them off from each other.
//!
//! What exists is known from one watch per kind, for all clusters together ([`watch`]); a pass over a cluster that
//! is as it should be asks the API server nothing. Every object has a name that follows from the cluster's; one that is
//! not there is created, any other is written by server-side apply: each write may be made again and by whichever worker.

mod apply;
mod calls;
mod compare;
mod drift;
mod gate;
pub mod inspect;
mod kind;
pub mod manifest;
mod mirror;
mod observe;
pub mod pod;
mod reasons;
pub mod settings;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::calls::{CallError, Calls};
use self::gate::Gate;
use self::kind::Kind;
use self::mirror::{Mirror, Seen};
use self::watch::Hints;
use super::engines::{EngineActivity, EngineError, Engines};
use super::{Pace, Runtime, RuntimeError};
use crate::clock::Clock;
use crate::domain::{Blueprint, ClusterId, Endpoint, Observation, Step};

pub use self::settings::{Settings, Tuning};

/// Pods may be on the other side of a busy network.
const ENGINE_PATIENCE: Duration = Duration::from_secs(3);
/// Of a full house, through a busy API server.
const FIRST_LISTS: Duration = Duration::from_secs(20);

/// Runs clusters on one Kubernetes. Any number of them may, in as many processes.
pub struct KubernetesRuntime {
    inner: Arc<Inner>,
    /// The watches end with their owner.
    _tasks: JoinSet<()>,
}

struct Inner {
    settings: Settings,
    calls: Calls,
    mirror: Arc<Mirror>,
    hints: Arc<Hints>,
    gate: Gate,
    /// Of pods that were removed because they had ended; told with the next observation.
    last_words: Mutex<HashMap<ClusterId, String>>,
    engines: Engines,
    clock: Clock,
}

impl KubernetesRuntime {
    /// Begins to watch what there is at an API server that answers, and waits for the first lists. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When it does not answer, or the connection's settings cannot be used.
    pub async fn connect(config: kube::Config, settings: Settings, clock: Clock) -> Result<Self, kube::Error> {
        let client = calls::client(config)?;
        let version = client.apiserver_version().await?;
        tracing::info!(version = version.git_version, "found Kubernetes");
        let runtime = Self::new(client, settings, clock);
        // Before, no pass could be made. Should it take longer, passes are put off, and nothing else.
        let _ = tokio::time::timeout(FIRST_LISTS, runtime.inner.mirror.complete()).await;
        Ok(runtime)
    }

    fn new(client: kube::Client, settings: Settings, clock: Clock) -> Self {
        let mirror = Arc::new(Mirror::default());
        let hints = Arc::new(Hints::default());
        let mut tasks = watch::watch_all(&client, &manifest::selector(&settings), &mirror, &hints);
        let inner = Arc::new(Inner {
            calls: Calls::new(client, settings.tuning.requests_at_once),
            settings,
            mirror,
            hints,
            gate: Gate::default(),
            last_words: Mutex::default(),
            engines: Engines::new(ENGINE_PATIENCE),
            clock,
        });
        let gatekeeper = inner.clone();
        tasks.spawn(async move {
            loop {
                let free = gatekeeper.gate.open(&gatekeeper.mirror, &gatekeeper.clock).await;
                gatekeeper.hints.give(free);
            }
        });
        Self { inner, _tasks: tasks }
    }
}

impl Runtime for KubernetesRuntime {
    async fn apply(&self, blueprint: &Blueprint) -> Result<(), RuntimeError> {
        self.inner.complete()?;
        self.inner.apply(blueprint).await
    }

    async fn delete(&self, id: ClusterId) -> Result<(), RuntimeError> {
        self.inner.complete()?;
        let view = self.inner.mirror.view(id);
        let Some(namespace) = view.namespace.as_ref().filter(|_| !view.is_terminating()) else {
            return Ok(());
        };
        let uid = namespace.metadata.uid.as_deref().unwrap_or_default();
        let deleted = self.inner.calls.delete(id, Kind::Namespace, &id.to_string(), uid, false).await;
        deleted.map_err(|error| error.of(|| format!("could not remove the namespace {id}")))
    }

    async fn observe(&self, id: ClusterId) -> Result<Observation, RuntimeError> {
        self.inner.complete()?;
        self.inner.observe(id).await
    }

    async fn list(&self) -> Result<Vec<ClusterId>, RuntimeError> {
        self.inner.complete()?;
        Ok(self.inner.mirror.ids())
    }

    async fn activity(&self, id: ClusterId, endpoint: &Endpoint) -> Result<Option<EngineActivity>, RuntimeError> {
        let token = self.inner.settings.keyring.notebook_token(id);
        match self.inner.engines.activity(endpoint, &token, id).await {
            Ok(activity) => Ok(Some(activity)),
            Err(EngineError::NotRunning { .. }) => Ok(None),
            Err(error) => Err(RuntimeError::temporary(format!("cannot tell what {id} is at"), error)),
        }
    }

    fn changes(&self) -> mpsc::Receiver<ClusterId> {
        self.inner.hints.listen()
    }

    /// The watches tell of every change; what only time changes, such as a node that stays away, can wait.
    fn pace(&self) -> Pace {
        Pace {
            launching: Duration::from_secs(5),
            running: Duration::from_secs(10),
            ending: Duration::from_secs(10),
        }
    }
}

impl Inner {
    fn complete(&self) -> Result<(), RuntimeError> {
        if self.mirror.is_complete() {
            Ok(())
        } else {
            Err(RuntimeError::Unavailable {
                what: "Kubernetes, which is still being asked what there is,",
                source: None,
            })
        }
    }

    async fn observe(&self, id: ClusterId) -> Result<Observation, RuntimeError> {
        let mut view = self.mirror.view(id);
        // That nothing is there is a fact for good, so it is asked where facts are.
        if view.namespace.is_none() {
            match self.calls.namespace(id).await {
                Err(CallError::NotFound) => {
                    self.mirror.forget(id);
                    return Ok(Observation::Absent);
                }
                Err(error) => return Err(error.of(|| format!("could not look at the namespace {id}"))),
                Ok(namespace) if !self.is_ours(&namespace) => return Ok(Observation::Absent),
                Ok(namespace) => {
                    self.mirror.put(Seen::Object(Kind::Namespace, namespace));
                    view = self.mirror.view(id);
                }
            }
        }
        let now = self.clock.now();
        let mut sight = observe::observe(&view, self.settings.tuning.pull_within, now);
        let last_words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        sight.steps.extend(last_words.map(|why| Step::Held { why }));
        if let Some(why) = sight.hopeless {
            return Err(RuntimeError::Permanent { why });
        }
        if let Some(endpoint) = &sight.endpoint {
            let (steps, settled) = self.materials(id, &view, endpoint).await;
            sight.steps.extend(steps);
            let young = observe::is_younger(&view, MATERIALS_HOLD, now);
            if !settled && young {
                sight.endpoint = None;
            }
        }
        Ok(Observation::Present {
            steps: sight.steps,
            endpoint: sight.endpoint,
            workers_ready: sight.workers_ready,
        })
    }

    /// What became of the materials, and whether that is known of all of them.
    async fn materials(&self, id: ClusterId, view: &mirror::View, endpoint: &Endpoint) -> (Vec<Step>, bool) {
        if !observe::has_materials(view) {
            return (vec![], true);
        }
        match self.engines.materials(id, endpoint).await {
            Ok(materials) => (materials.steps, materials.done),
            Err(error) => {
                tracing::debug!(cluster = %id, %error, "cannot tell what became of its materials");
                (vec![], false)
            }
        }
    }

    fn is_ours(&self, namespace: &kube::core::DynamicObject) -> bool {
        let installation = self.settings.keyring.installation();
        let labels = namespace.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(manifest::INSTALLATION)).is_some_and(|label| *label == installation)
    }
}

/// A launch waits so long for its materials; then the student may as well begin.
const MATERIALS_HOLD: Duration = Duration::from_secs(60);
