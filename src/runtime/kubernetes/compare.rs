//! Whether Kubernetes has of each cluster what the log says of it, as a pure function.

use std::collections::BTreeMap;

use super::drift::lack;
use super::kind::Kind;
use super::manifest::{Manifest, Plan, SCHEDULER, WORKERS};
use super::mirror::{Mirror, View};
use super::observe::{endpoint, workers_ready};
use super::settings::Settings;
use crate::domain::desired::desired;
use crate::domain::{Blueprint, Cluster, ClusterId, Desired, Endpoint};

/// One thing that is not as the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub cluster: ClusterId,
    /// Follows on the cluster's name and a colon.
    pub what: String,
}

/// All that differs between the clusters of the log that are not gone and what is there.
pub fn compare(settings: &Settings, clusters: &[Cluster], there: &Mirror) -> Vec<Difference> {
    let mut all: BTreeMap<ClusterId, Option<&Cluster>> = there.ids().into_iter().map(|id| (id, None)).collect();
    all.extend(clusters.iter().map(|cluster| (cluster.id, Some(cluster))));
    let differing = |(id, cluster): (ClusterId, Option<&Cluster>)| {
        let view = there.view(id);
        let wrong = match cluster.map(|cluster| (cluster, desired(cluster))) {
            Some((cluster, Desired::Present(blueprint))) => of_wanted(settings, cluster, &blueprint, &view),
            Some((_, Desired::Absent)) | None => of_unwanted(&view),
        };
        wrong.into_iter().map(move |what| Difference { cluster: id, what })
    };
    all.into_iter().flat_map(differing).collect()
}

fn of_unwanted(view: &View) -> Vec<String> {
    // What is being removed is on the best way.
    let lingers = !view.is_empty() && !view.is_terminating();
    lingers.then(|| "it is there, and the log does not want it".to_owned()).into_iter().collect()
}

fn of_wanted(settings: &Settings, cluster: &Cluster, blueprint: &Blueprint, view: &View) -> Vec<String> {
    if view.namespace.is_none() {
        return vec!["there is no such namespace of this installation".to_owned()];
    }
    if view.is_terminating() {
        return vec!["its namespace is being removed".to_owned()];
    }
    let mut wrong = Vec::new();
    match settings.shapes.get(&blueprint.profile) {
        Some(shape) => {
            let plan = Plan { blueprint, shape, settings };
            wrong.extend(plan.lasting().iter().filter_map(|wanted| of_object(wanted, view)));
        }
        None => wrong.push(format!("there is no profile {} to compare it with", blueprint.profile)),
    }
    let others =
        view.objects.keys().filter(|(kind, name)| *kind == Kind::ReplicationController && name != WORKERS);
    wrong.extend(others.map(|(_, name)| format!("the ReplicationController {name} should not be there")));
    wrong.extend(of_notebook(cluster.phase.endpoint(), view));
    let (recorded, ready) = (cluster.phase.workers_ready(), workers_ready(view));
    if recorded != ready {
        wrong.push(format!("workers ready: {ready}, and the log says {recorded}"));
    }
    wrong
}

fn of_object(wanted: &Manifest, view: &View) -> Option<String> {
    let kind = wanted.kind;
    let named = format!("{} {}", kind.resource().kind, wanted.name);
    match view.object(kind, wanted.name) {
        // Who may list them may read everybody's.
        _ if kind == Kind::Secret => None,
        None => Some(format!("the {named} is missing")),
        Some(known) => Some(format!("the {}: {}", named.trim_end(), lack(known, &wanted.body)?)),
    }
}

fn of_notebook(recorded: Option<&Endpoint>, view: &View) -> Option<String> {
    let pods: Vec<_> = view.pods.values().filter(|pod| pod.is(SCHEDULER) && pod.gone_by().is_none()).collect();
    let [pod] = pods[..] else {
        return Some(format!("{} pods have its notebook, and one should", pods.len()));
    };
    let Some(there) = endpoint(pod) else {
        let why = pod.trouble().map(|trouble| format!(": {}", trouble.why)).unwrap_or_default();
        return Some(format!("its notebook's pod is not ready{why}"));
    };
    let recorded = recorded?;
    if there.address != recorded.address {
        let (there, recorded) = (there.address, recorded.address);
        return Some(format!("its notebook's pod has the address {there}, and the log says {recorded}"));
    }
    (there != *recorded).then(|| "its notebook's pod has other ports than the log says".to_owned())
}

#[cfg(test)]
mod tests;
