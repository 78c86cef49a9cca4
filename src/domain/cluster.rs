//! One cluster: which commands it accepts, and how events change it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::access::{Access, ShareId, decide_access, decide_share, decide_unshare};
use super::claim::decide_claim;
use super::command::{Command, Launch, Observation};
use super::event::{Endpoint, Event, Limits, Step, StopReason};
use super::ids::{ClusterId, ProfileName, Subject, WorkerCount};
use super::materials::Repository;
use super::park::{ParkReason, decide_park, decide_requeue, unparks};
use super::refusal::Refusal;

/// The state that a cluster's events add up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub id: ClusterId,
    pub owner: Subject,
    pub profile: ProfileName,
    pub workers: WorkerCount,
    pub materials: Vec<Repository>,
    pub limits: Limits,
    pub steps: Vec<Step>,
    pub phase: Phase,
    #[serde(default)]
    pub access: Access,
    /// The shares that were not revoked, and when each ends.
    #[serde(default)]
    pub shares: BTreeMap<ShareId, DateTime<Utc>>,
    /// Its owner has it from a pool.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
    /// Why nobody works on it, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<ParkReason>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Phase {
    /// In line: nothing of it is there yet.
    Waiting,
    Launching,
    Running {
        endpoint: Endpoint,
        workers_ready: u16,
    },
    /// The launch did not succeed; what there is of it is being removed.
    Failed {
        why: String,
    },
    Stopping {
        reason: StopReason,
    },
    Gone {
        ending: Ending,
    },
}

/// How a cluster that is gone came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Ending {
    Failed { why: String },
    Stopped { reason: StopReason },
}

impl Phase {
    /// One word for people, listings and SQL.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Waiting | Self::Launching => "launching",
            Self::Running { .. } => "running",
            Self::Failed { .. } => "failed",
            Self::Stopping { .. } => "stopping",
            Self::Gone { ending: Ending::Failed { .. } } => "failed",
            Self::Gone { ending: Ending::Stopped { .. } } => "stopped",
        }
    }

    /// Where it is reached, while it runs.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Running { endpoint, .. } => Some(endpoint),
            Self::Waiting | Self::Launching | Self::Failed { .. } | Self::Stopping { .. } | Self::Gone { .. } => {
                None
            }
        }
    }

    /// Workers that are connected to its scheduler.
    pub fn workers_ready(&self) -> u16 {
        match self {
            Self::Running { workers_ready, .. } => *workers_ready,
            Self::Waiting | Self::Launching | Self::Failed { .. } | Self::Stopping { .. } | Self::Gone { .. } => 0,
        }
    }

    /// Whether there may be something for a worker to do.
    pub fn is_worked_on(&self) -> bool {
        match self {
            Self::Launching | Self::Running { .. } | Self::Failed { .. } | Self::Stopping { .. } => true,
            Self::Waiting | Self::Gone { .. } => false,
        }
    }

    /// Whether it is wanted: it counts against limits until it is not.
    pub fn is_live(&self) -> bool {
        match self {
            Self::Waiting | Self::Launching | Self::Running { .. } => true,
            Self::Failed { .. } | Self::Stopping { .. } | Self::Gone { .. } => false,
        }
    }
}

/// Which events a command causes in this state: none when it is already so.
///
/// # Errors
/// A [`Refusal`] when the command makes no sense for this state. Reports are never refused:
/// what was seen too late to matter is dropped.
pub fn decide(id: ClusterId, state: Option<&Cluster>, command: &Command) -> Result<Vec<Event>, Refusal> {
    match (command, state) {
        (Command::Launch(launch), None) => decide_launch(launch),
        (Command::Launch(_), Some(_)) => Err(Refusal::Exists(id)),
        (
            Command::Scale { .. }
            | Command::Claim(_)
            | Command::Stop { .. }
            | Command::SetAccess { .. }
            | Command::Share { .. }
            | Command::Unshare { .. }
            | Command::Park { .. }
            | Command::Requeue { .. },
            None,
        ) => Err(Refusal::Unknown(id)),
        (
            Command::Scale { .. } | Command::SetAccess { .. } | Command::Share { .. } | Command::Unshare { .. },
            Some(cluster),
        ) if cluster.is_unclaimed() => Err(Refusal::Unclaimed(id)),
        (Command::Claim(claim), Some(cluster)) => decide_claim(cluster, claim),
        (Command::SetAccess { access }, Some(cluster)) => decide_access(cluster, *access),
        (Command::Share { id, until, now }, Some(cluster)) => decide_share(cluster, *id, *until, *now),
        (Command::Unshare { id }, Some(cluster)) => decide_unshare(cluster, *id),
        (Command::Scale { workers }, Some(cluster)) => decide_scale(cluster, *workers),
        (Command::Stop { reason }, Some(cluster)) => Ok(decide_stop(cluster, reason)),
        (Command::Admit | Command::Report(_) | Command::GiveUp { .. }, None) => Ok(vec![]),
        (Command::Admit, Some(cluster)) => Ok(decide_admit(cluster)),
        (Command::Report(seen), Some(cluster)) => Ok(decide_report(cluster, seen)),
        (Command::GiveUp { why }, Some(cluster)) => Ok(decide_give_up(cluster, why)),
        (Command::Park { reason }, Some(cluster)) => decide_park(cluster, reason),
        (Command::Requeue { why }, Some(cluster)) => decide_requeue(cluster, why.as_deref()),
    }
}

fn decide_launch(launch: &Launch) -> Result<Vec<Event>, Refusal> {
    let Launch { owner, profile, workers, materials, limits, access } = launch.clone();
    if workers > limits.workers {
        return Err(Refusal::TooManyWorkers { asked: workers, most: limits.workers });
    }
    let mut events = vec![Event::LaunchRequested { owner, profile, workers, materials, limits }];
    events.extend((access != Access::default()).then_some(Event::AccessSet { access }));
    Ok(events)
}

fn decide_admit(cluster: &Cluster) -> Vec<Event> {
    match cluster.phase {
        Phase::Waiting => vec![Event::Admitted {}],
        Phase::Launching
        | Phase::Running { .. }
        | Phase::Failed { .. }
        | Phase::Stopping { .. }
        | Phase::Gone { .. } => vec![],
    }
}

fn decide_scale(cluster: &Cluster, workers: WorkerCount) -> Result<Vec<Event>, Refusal> {
    if !cluster.phase.is_live() {
        return Err(Refusal::Stopped(cluster.id));
    }
    if workers > cluster.limits.workers {
        return Err(Refusal::TooManyWorkers { asked: workers, most: cluster.limits.workers });
    }
    if workers == cluster.workers {
        return Ok(vec![]);
    }
    Ok(vec![Event::ScaleRequested { workers }])
}

fn decide_stop(cluster: &Cluster, reason: &StopReason) -> Vec<Event> {
    // Meanwhile it may have got an owner.
    let meant = cluster.is_unclaimed() || !reason.is_a_pools();
    if cluster.phase.is_live() && meant { vec![Event::StopRequested { reason: reason.clone() }] } else { vec![] }
}

fn decide_give_up(cluster: &Cluster, why: &str) -> Vec<Event> {
    let why = why.to_owned();
    match cluster.phase {
        Phase::Waiting | Phase::Launching => vec![Event::LaunchFailed { why }],
        Phase::Running { .. } => vec![Event::StopRequested { reason: StopReason::Failed { why } }],
        Phase::Failed { .. } | Phase::Stopping { .. } | Phase::Gone { .. } => vec![],
    }
}

fn decide_report(cluster: &Cluster, seen: &Observation) -> Vec<Event> {
    match (&cluster.phase, seen) {
        (Phase::Waiting | Phase::Launching, Observation::Absent) => vec![],
        (Phase::Waiting | Phase::Launching, Observation::Present { steps, endpoint, workers_ready }) => {
            let mut events = new_steps(cluster, steps);
            if let Some(endpoint) = endpoint {
                events.push(Event::BecameReady(endpoint.clone()));
                events.extend((*workers_ready > 0).then_some(Event::Scaled { workers: *workers_ready }));
            }
            events
        }
        (Phase::Running { workers_ready: known, .. }, Observation::Absent) => {
            (*known > 0).then_some(Event::Scaled { workers: 0 }).into_iter().collect()
        }
        (
            Phase::Running { endpoint: known, workers_ready: known_ready },
            Observation::Present { steps, endpoint, workers_ready },
        ) => {
            let mut events = new_steps(cluster, steps);
            let moved = endpoint.as_ref().filter(|place| *place != known);
            events.extend(moved.map(|place| Event::BecameReady(place.clone())));
            // Moving starts the count anew, see `evolve`.
            let counted = if moved.is_some() { 0 } else { *known_ready };
            events.extend((*workers_ready != counted).then_some(Event::Scaled { workers: *workers_ready }));
            events
        }
        (Phase::Failed { .. } | Phase::Stopping { .. }, Observation::Absent) => vec![Event::Removed {}],
        (Phase::Failed { .. } | Phase::Stopping { .. }, Observation::Present { steps, .. }) => {
            let held = |event: &Event| matches!(event, Event::StepReached { step: Step::Held { .. } });
            new_steps(cluster, steps).into_iter().filter(held).collect()
        }
        (Phase::Gone { .. }, Observation::Absent | Observation::Present { .. }) => vec![],
    }
}

/// What holds a cluster up is told in somebody else's words, which may never be the same twice.
const MOST_HELD: usize = 20;

fn new_steps(cluster: &Cluster, seen: &[Step]) -> Vec<Event> {
    let is_held = |step: &Step| matches!(step, Step::Held { .. });
    let mut held = cluster.steps.iter().filter(|step| is_held(step)).count();
    let mut events: Vec<Event> = Vec::new();
    for step in seen {
        let event = Event::StepReached { step: step.clone() };
        if cluster.steps.contains(step) || events.contains(&event) {
            continue;
        }
        if is_held(step) {
            held += 1;
            if held > MOST_HELD {
                continue;
            }
        }
        events.push(event);
    }
    events
}

/// An event that the state cannot have: the log is corrupt, or from a newer slipway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{id}: {event} cannot follow when the cluster is {phase}")]
pub struct Impossible {
    id: ClusterId,
    event: &'static str,
    phase: &'static str,
}

/// The state after one more event.
///
/// # Errors
/// [`Impossible`] when [`decide`] would never have put this event here.
pub fn evolve(id: ClusterId, state: Option<Cluster>, event: &Event) -> Result<Cluster, Impossible> {
    let impossible = |phase| Impossible { id, event: event.kind(), phase };
    let Some(mut cluster) = state else { return begin(id, event).ok_or_else(|| impossible("not launched")) };
    if unparks(event) {
        cluster.parked = None;
    }
    match (&mut cluster.phase, event.clone()) {
        (phase @ &mut Phase::Waiting, Event::Admitted {}) => *phase = Phase::Launching,
        // Whoever got so far was let in, by whatever rules there were.
        (phase @ &mut Phase::Waiting, Event::StepReached { step }) => {
            *phase = Phase::Launching;
            cluster.steps.push(step);
        }
        (Phase::Launching | Phase::Running { .. }, Event::StepReached { step })
        | (Phase::Failed { .. } | Phase::Stopping { .. }, Event::StepReached { step: step @ Step::Held { .. } }) =>
        {
            cluster.steps.push(step);
        }
        (Phase::Waiting | Phase::Launching | Phase::Running { .. }, Event::BecameReady(endpoint)) => {
            cluster.phase = Phase::Running { endpoint, workers_ready: 0 };
        }
        (Phase::Running { .. }, Event::Claimed { owner }) if cluster.owner.is_pool() => {
            (cluster.owner, cluster.claimed) = (owner, true);
        }
        (Phase::Running { workers_ready, .. }, Event::Scaled { workers }) => *workers_ready = workers,
        (Phase::Waiting | Phase::Launching | Phase::Running { .. }, Event::ScaleRequested { workers }) => {
            cluster.workers = workers;
        }
        (Phase::Waiting | Phase::Launching | Phase::Running { .. }, Event::AccessSet { access }) => {
            cluster.access = access;
        }
        (Phase::Waiting | Phase::Launching | Phase::Running { .. }, Event::Shared { id, until }) => {
            cluster.shares.insert(id, until);
        }
        (Phase::Waiting | Phase::Launching | Phase::Running { .. }, Event::Unshared { id }) => {
            cluster.shares.remove(&id);
        }
        (Phase::Waiting | Phase::Launching, Event::LaunchFailed { why }) => cluster.phase = Phase::Failed { why },
        (Phase::Waiting | Phase::Launching | Phase::Running { .. }, Event::StopRequested { reason }) => {
            cluster.phase = Phase::Stopping { reason };
        }
        (Phase::Failed { why }, Event::Removed {}) => {
            cluster.phase = Phase::Gone { ending: Ending::Failed { why: std::mem::take(why) } };
        }
        (Phase::Stopping { reason }, Event::Removed {}) => {
            cluster.phase = Phase::Gone { ending: Ending::Stopped { reason: reason.clone() } };
        }
        (phase, Event::Parked { reason }) if phase.is_worked_on() => cluster.parked = Some(reason),
        (phase, Event::Requeued { .. }) if phase.is_worked_on() => {}
        (
            phase,
            Event::LaunchRequested { .. }
            | Event::Admitted {}
            | Event::Claimed { .. }
            | Event::StepReached { .. }
            | Event::BecameReady(_)
            | Event::LaunchFailed { .. }
            | Event::ScaleRequested { .. }
            | Event::Scaled { .. }
            | Event::StopRequested { .. }
            | Event::AccessSet { .. }
            | Event::Shared { .. }
            | Event::Unshared { .. }
            | Event::Parked { .. }
            | Event::Requeued { .. }
            | Event::Removed {},
        ) => return Err(impossible(phase.status())),
    }
    Ok(cluster)
}

/// What the first event makes.
fn begin(id: ClusterId, event: &Event) -> Option<Cluster> {
    match event.clone() {
        Event::LaunchRequested { owner, profile, workers, materials, limits } => Some(Cluster {
            id,
            owner,
            profile,
            workers,
            materials,
            limits,
            steps: vec![],
            phase: Phase::Waiting,
            access: Access::default(),
            shares: BTreeMap::new(),
            claimed: false,
            parked: None,
        }),
        Event::Admitted {}
        | Event::Claimed { .. }
        | Event::StepReached { .. }
        | Event::BecameReady(_)
        | Event::LaunchFailed { .. }
        | Event::ScaleRequested { .. }
        | Event::Scaled { .. }
        | Event::StopRequested { .. }
        | Event::AccessSet { .. }
        | Event::Shared { .. }
        | Event::Unshared { .. }
        | Event::Parked { .. }
        | Event::Requeued { .. }
        | Event::Removed {} => None,
    }
}

/// The state that a whole stream adds up to; `None` for an empty one.
///
/// # Errors
/// [`Impossible`] at the first event that cannot follow those before it.
pub fn replay<'a>(
    id: ClusterId,
    events: impl IntoIterator<Item = &'a Event>,
) -> Result<Option<Cluster>, Impossible> {
    events.into_iter().try_fold(None, |state, event| evolve(id, state, event).map(Some))
}
