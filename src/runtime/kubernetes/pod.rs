//! As much of a pod as matters here: watching a class's pods should cost little.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;

use super::manifest::{COMPONENT, SCHEDULER};
use super::reasons::spoken;

#[derive(Debug, Clone, Deserialize)]
pub struct Pod {
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Spec {
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Container {
    #[serde(default)]
    ports: Vec<ContainerPort>,
    #[serde(default)]
    env: Vec<Variable>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Variable {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerPort {
    #[serde(default)]
    name: String,
    container_port: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(rename = "podIP")]
    pod_ip: Option<IpAddr>,
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    #[serde(default)]
    image: String,
    #[serde(default)]
    started: Option<bool>,
    #[serde(default)]
    state: State,
    #[serde(default)]
    last_state: State,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct State {
    waiting: Option<Reason>,
    terminated: Option<Reason>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reason {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    exit_code: Option<i32>,
}

/// Why a pod does not get further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A sentence for whoever waits, with Kubernetes' own reason in it.
    pub why: String,
    pub hope: Hope,
}

/// What time can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hope {
    /// A machine may come, or become free.
    Some,
    /// A registry may be away for a moment.
    Little,
    None,
}

impl Pod {
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn is(&self, component: &str) -> bool {
        self.label(COMPONENT) == Some(component)
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    pub fn created_at(&self) -> Option<DateTime<Utc>> {
        self.metadata.creation_timestamp.as_ref().map(time)
    }

    /// When it should be gone, once somebody has deleted it.
    pub fn gone_by(&self) -> Option<DateTime<Utc>> {
        self.metadata.deletion_timestamp.as_ref().map(time)
    }

    /// It runs no more and will not again: evicted, or its node is lost.
    pub fn is_over(&self) -> bool {
        matches!(self.status.phase.as_str(), "Failed" | "Succeeded")
    }

    pub fn is_ready(&self) -> bool {
        self.gone_by().is_none() && self.condition("Ready").is_some_and(|ready| ready.status == "True")
    }

    /// Its startup probe has succeeded.
    pub fn has_started(&self) -> bool {
        !self.is_over() && self.status.container_statuses.iter().any(|container| container.started == Some(true))
    }

    pub fn address(&self) -> Option<IpAddr> {
        self.status.pod_ip
    }

    /// The ports that it says it serves, by name.
    pub fn ports(&self) -> BTreeMap<&str, u16> {
        let ports = self.spec.containers.iter().flat_map(|container| &container.ports);
        ports.map(|port| (port.name.as_str(), port.container_port)).collect()
    }

    /// The value of one of its containers' variables.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let mut all = self.spec.containers.iter().flat_map(|container| &container.env);
        all.find(|variable| variable.name == name).map(|variable| variable.value.as_str())
    }

    /// Whether anything differs that a pass would act upon or record.
    pub fn differs(&self, other: &Self) -> bool {
        let marks = |pod: &Self| {
            (pod.gone_by(), pod.is_over(), pod.is_ready(), pod.has_started(), pod.lacks_something(), pod.trouble())
        };
        // Workers are not reached one by one.
        let address = |pod: &Self| pod.address().filter(|_| pod.is(SCHEDULER));
        self.uid() != other.uid() || address(self) != address(other) || marks(self) != marks(other)
    }

    /// A container cannot be made, as when a Secret is missing.
    pub fn lacks_something(&self) -> bool {
        let waits = |container: &ContainerStatus| {
            container.state.waiting.as_ref().is_some_and(|waiting| waiting.reason == "CreateContainerConfigError")
        };
        self.status.container_statuses.iter().any(waits)
    }

    fn condition(&self, name: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.r#type == name)
    }

    /// What keeps it from running, or ended it a moment ago.
    pub fn trouble(&self) -> Option<Trouble> {
        if self.is_over() {
            return Some(some(format!("the pod ended: {}", self.how_it_ended())));
        }
        if let Some(placed) = self.condition("PodScheduled").filter(|placed| placed.status == "False") {
            return Some(some(format!("waiting for a machine: {}", spoken(&placed.reason, &placed.message))));
        }
        self.status.container_statuses.iter().find_map(container_trouble)
    }

    /// In the words of whoever ended it, or else by its program's exit code.
    fn how_it_ended(&self) -> String {
        let status = &self.status;
        if !status.reason.is_empty() || !status.message.is_empty() {
            return spoken(&status.reason, &status.message);
        }
        let ended = status.container_statuses.iter().find_map(|container| container.state.terminated.as_ref());
        ended.map_or_else(
            || spoken("", ""),
            |Reason { reason, message, exit_code }| {
                let code = exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
                format!("{}{code}", spoken(reason, message))
            },
        )
    }
}

fn container_trouble(container: &ContainerStatus) -> Option<Trouble> {
    if let Some(Reason { reason, message, .. }) = &container.state.waiting {
        let hope = match reason.as_str() {
            "PodInitializing" | "ContainerCreating" | "" => return None,
            "InvalidImageName" | "ErrImageNeverPull" => Hope::None,
            "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable" => Hope::Little,
            _ => Hope::Some,
        };
        let why = match hope {
            Hope::None | Hope::Little => {
                format!("the image {} cannot be pulled: {}", container.image, spoken(reason, message))
            }
            Hope::Some => format!("the pod cannot run: {}", spoken(reason, message)),
        };
        return Some(Trouble { why, hope });
    }
    let ended = container.last_state.terminated.as_ref().or(container.state.terminated.as_ref())?;
    (ended.reason == "OOMKilled")
        .then(|| some("it ran out of memory and was started again (OOMKilled)".to_owned()))
}

fn some(why: String) -> Trouble {
    Trouble { why, hope: Hope::Some }
}

/// Kubernetes' times are whole seconds.
pub fn time(time: &Time) -> DateTime<Utc> {
    DateTime::from_timestamp(time.0.as_second(), 0).unwrap_or_default()
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
