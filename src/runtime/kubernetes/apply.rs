//! Makes a cluster's objects what they should be.

use std::sync::PoisonError;

use futures_util::future::join_all;
use kube::core::DynamicObject;
use serde_json::Value;

use super::Inner;
use super::calls::CallError;
use super::drift::lack;
use super::kind::Kind;
use super::manifest::{Manifest, Plan, SCHEDULER, WORKERS, namespace, pods};
use super::mirror::{Seen, View};
use super::pod::Pod;
use super::settings::Extent;
use crate::domain::{Blueprint, ClusterId, Shape};
use crate::runtime::RuntimeError;

/// Past the time by which a pod should be gone, its node is taken to be.
const LOST_AFTER_SECONDS: i64 = 20;

impl Inner {
    /// One write for each object that is not as it should be; none for the others. In an order in which the
    /// notebook's pod comes as soon as it is shut off from others, and the workers last.
    pub(super) async fn apply(&self, blueprint: &Blueprint) -> Result<(), RuntimeError> {
        let id = blueprint.id;
        let view = self.mirror.view(id);
        // Nothing can be put into it; once it is gone, the watch tells, and all is made anew.
        if view.is_terminating() {
            return Ok(());
        }
        let shape = self.shape(blueprint, &view)?;
        let plan = Plan { blueprint, shape, settings: &self.settings };
        let shelter = async {
            self.namespace(&plan, &view).await?;
            if self.settings.tuning.extent == Extent::Notebook {
                return self.scheduler(&plan, &view).await;
            }
            // As read before the namespace was made: then nothing is in it.
            let missing = plan.shelter().into_iter().filter(|manifest| self.is_due(manifest, &view));
            join_all(missing.map(|manifest| self.write(id, manifest, &view)))
                .await
                .into_iter()
                .collect::<Result<(), _>>()?;
            self.scheduler(&plan, &view).await?;
            let quota = namespace::quota(&plan);
            if self.is_due(&quota, &view) {
                self.write(id, quota, &view).await?;
            }
            self.workers(&plan, &view).await?;
            self.sweep(id, &view).await
        };
        match shelter.await {
            // Somebody removes it; once it is gone, the watch tells.
            Err(Failed { error: CallError::Terminating, .. }) => Ok(()),
            Err(Failed { error: error @ CallError::NotFound, what }) => {
                self.mirror.forget(id);
                Err(error.of(|| format!("could not write {what} of {id}")))
            }
            Err(Failed { error, what }) => Err(error.of(|| format!("could not write {what} of {id}"))),
            Ok(()) => Ok(()),
        }
    }

    fn shape(&self, blueprint: &Blueprint, view: &View) -> Result<&Shape, RuntimeError> {
        let profile = &blueprint.profile;
        self.settings.shapes.get(profile).ok_or_else(|| {
            let why =
                format!("the worker knows no profile {profile}; an organiser must put it back into its profiles");
            // What runs goes on running.
            if view.pods.is_empty() {
                RuntimeError::Permanent { why }
            } else {
                RuntimeError::Temporary { doing: why, source: None }
            }
        })
    }

    async fn namespace(&self, plan: &Plan<'_>, view: &View) -> Result<(), Failed> {
        let id = plan.blueprint.id;
        let wanted = namespace::namespace(plan);
        let what = "the namespace";
        if view.namespace.is_some() {
            if self.is_due(&wanted, view) {
                self.write(id, wanted, view).await?;
            }
            return Ok(());
        }
        // Not by server-side apply, which would take over a namespace of somebody else's.
        let made = match self.calls.create(id, &wanted).await {
            Ok(made) => made,
            Err(CallError::Exists) => {
                let found = self.calls.namespace(id).await.map_err(|error| Failed { what, error })?;
                if !self.is_ours(&found) {
                    let message = format!("the namespace {id} belongs to somebody else");
                    let status = kube::core::Status { message, ..Default::default() };
                    return Err(Failed { what, error: CallError::Refused(Box::new(status)) });
                }
                found
            }
            Err(error) => return Err(Failed { what, error }),
        };
        let terminating = made.metadata.deletion_timestamp.is_some();
        self.mirror.put(Seen::Object(Kind::Namespace, made));
        if terminating { Err(Failed { what, error: CallError::Terminating }) } else { Ok(()) }
    }

    /// The pod cannot be changed, only replaced, and its kernels end with it: so only one that is over is.
    async fn scheduler(&self, plan: &Plan<'_>, view: &View) -> Result<(), Failed> {
        let id = plan.blueprint.id;
        match view.pods.get(SCHEDULER) {
            None => self.write(id, pods::scheduler(plan), view).await,
            Some(pod) if pod.is_over() && pod.gone_by().is_none() => {
                self.keep_last_words(id, pod);
                self.remove(id, pod, true).await
            }
            Some(_) => Ok(()),
        }
    }

    async fn workers(&self, plan: &Plan<'_>, view: &View) -> Result<(), Failed> {
        let id = plan.blueprint.id;
        let wanted = pods::workers(plan);
        let Some(known) = view.object(Kind::ReplicationController, WORKERS) else {
            if !self.gate.admits(id, &self.mirror, self.clock.now()) {
                return Ok(());
            }
            return self.write(id, wanted, view).await;
        };
        if differs_in_number_only(known, &wanted) {
            let scaled = self.calls.scale(id, WORKERS, plan.blueprint.workers).await;
            let object = scaled.map_err(|error| Failed { what: "the workers' number", error })?;
            self.mirror.put(Seen::Object(Kind::ReplicationController, object));
            return Ok(());
        }
        if self.is_due(&wanted, view) { self.write(id, wanted, view).await } else { Ok(()) }
    }

    /// Pods of a lost node are never confirmed to be gone, and hold their names and their share of the quota.
    async fn sweep(&self, id: ClusterId, view: &View) -> Result<(), Failed> {
        let now = self.clock.now();
        let lost = |pod: &&std::sync::Arc<Pod>| {
            pod.gone_by().is_some_and(|by| (now - by).num_seconds() >= LOST_AFTER_SECONDS)
        };
        for pod in view.pods.values().filter(lost) {
            tracing::warn!(cluster = %id, pod = pod.name(), "a pod outlives its removal; its node is taken to be lost");
            self.remove(id, pod, true).await?;
        }
        Ok(())
    }

    /// Why a pod ended can be told once it is gone, too.
    fn keep_last_words(&self, id: ClusterId, pod: &Pod) {
        if let Some(trouble) = pod.trouble() {
            self.last_words.lock().unwrap_or_else(PoisonError::into_inner).insert(id, trouble.why);
        }
    }

    async fn remove(&self, id: ClusterId, pod: &Pod, at_once: bool) -> Result<(), Failed> {
        let removed = self.calls.delete(id, Kind::Pod, pod.name(), pod.uid(), at_once).await;
        removed.map_err(|error| Failed { what: "the removal of a pod", error })
    }

    /// The Secret is not watched: it is written whenever pods are to be started that cannot start without it.
    fn is_due(&self, wanted: &Manifest, view: &View) -> bool {
        match wanted.kind {
            Kind::Secret => {
                !view.pods.contains_key(SCHEDULER) || view.pods.values().any(|pod| pod.lacks_something())
            }
            kind => !view.object(kind, wanted.name).is_some_and(|known| is_as_wanted(known, &wanted.body)),
        }
    }

    async fn write(&self, id: ClusterId, manifest: Manifest, view: &View) -> Result<(), Failed> {
        let kind = manifest.kind;
        let failed = |error| Failed { what: what(kind), error };
        let is_new = match kind {
            Kind::Pod => !view.pods.contains_key(manifest.name),
            Kind::Secret => view.namespace.is_none(),
            kind => view.object(kind, manifest.name).is_none(),
        };
        let created = if is_new { self.calls.create(id, &manifest).await } else { Err(CallError::Exists) };
        let object = match created {
            Err(CallError::Exists) => self.calls.apply(id, &manifest).await.map_err(failed)?,
            created => created.map_err(failed)?,
        };
        match kind {
            Kind::Secret => {}
            Kind::Pod => {
                let pod =
                    serde_json::to_value(object).and_then(serde_json::from_value).map_err(kube::Error::SerdeError);
                self.mirror.put(Seen::Pod(pod.map_err(|error| failed(error.into()))?));
            }
            kind => drop(self.mirror.put(Seen::Object(kind, object))),
        }
        Ok(())
    }
}

/// Which write failed, and how.
struct Failed {
    what: &'static str,
    error: CallError,
}

fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "the namespace",
        Kind::ServiceAccount => "the service account",
        Kind::Secret => "the secret",
        Kind::LimitRange => "the limits",
        Kind::NetworkPolicy => "a network policy",
        Kind::Service => "the service",
        Kind::ResourceQuota => "the quota",
        Kind::Pod => "the notebook's pod",
        Kind::ReplicationController => "the workers",
    }
}

/// Whether the object has all that is wanted of it.
fn is_as_wanted(known: &DynamicObject, wanted: &Value) -> bool {
    lack(known, wanted).is_none()
}

/// Whether it lacks nothing but the right number of pods.
fn differs_in_number_only(known: &DynamicObject, wanted: &Manifest) -> bool {
    const REPLICAS: &str = "/spec/replicas";
    let (mut body, number) = (wanted.body.clone(), known.data.pointer(REPLICAS));
    if let (Some(place), Some(number)) = (body.pointer_mut(REPLICAS), number)
        && place != number
    {
        *place = number.clone();
        return is_as_wanted(known, &body);
    }
    false
}
