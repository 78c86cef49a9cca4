//! Why a cluster is as it is, in plain words, for the operator who has to know.

use chrono::TimeDelta;

use super::cluster::{Cluster, Phase};
use super::event::{Event, IdleEvidence, Limits, Step, StopReason};
use super::park::ParkReason;
use super::story::{self, duration};

/// How the cluster is now.
pub fn now(cluster: &Cluster) -> String {
    match &cluster.phase {
        Phase::Waiting => "waiting in line".to_owned(),
        Phase::Launching => "launching".to_owned(),
        Phase::Running { workers_ready, .. } => {
            let kept = if cluster.is_unclaimed() { ", kept ready for whoever launches next" } else { "" };
            format!("running, {workers_ready} of {} connected{kept}", story::count(cluster.workers.get()))
        }
        Phase::Failed { why } => format!("failed and not removed yet: {why}"),
        Phase::Stopping { .. } => "stopped and not removed yet".to_owned(),
        Phase::Gone { .. } => {
            let why = story::ending(&cluster.phase).unwrap_or_default();
            format!("gone: {}", why.trim_end_matches('.'))
        }
    }
}

/// What has to happen before it is as it should be; nothing when it is.
pub fn waiting_for(cluster: &Cluster) -> Option<String> {
    if let Some(ParkReason::Admin { why }) = &cluster.parked {
        return Some(format!("somebody to requeue, scale or stop it; it was put aside: {why}"));
    }
    match &cluster.phase {
        Phase::Waiting => Some("its turn in line".to_owned()),
        Phase::Launching => Some(match cluster.steps.last() {
            None => "a place for it".to_owned(),
            Some(Step::Held { why }) => why.clone(),
            Some(
                Step::Prepared
                | Step::MaterialsCloned { .. }
                | Step::MaterialsFailed { .. }
                | Step::SchedulerStarted,
            ) => "its notebook and scheduler to answer".to_owned(),
        }),
        Phase::Running { workers_ready, .. } => {
            let (wanted, ready) = (cluster.workers.get(), *workers_ready);
            let to_come = (ready < wanted).then(|| format!("{} to connect", story::count(wanted - ready)));
            to_come.or_else(|| (ready > wanted).then(|| format!("{} to leave", story::count(ready - wanted))))
        }
        Phase::Failed { .. } | Phase::Stopping { .. } => Some("its removal".to_owned()),
        Phase::Gone { .. } => None,
    }
}

/// What an event holds beside its sentence.
pub fn details(event: &Event) -> Vec<String> {
    match event {
        Event::LaunchRequested { profile, materials, limits, .. } => {
            let mut details = vec![format!("profile {profile}, {}", limited(*limits))];
            details.extend(materials.iter().map(|repository| format!("materials {repository}")));
            details
        }
        Event::BecameReady(endpoint) => vec![format!("at {}", endpoint.address)],
        Event::StopRequested { reason: StopReason::Idle(evidence) } => vec![seen(evidence)],
        Event::StopRequested { reason: StopReason::Expired { launched_at, .. } } => {
            vec![format!("counted from {} UTC", launched_at.format("%Y-%m-%d %H:%M:%S"))]
        }
        Event::StopRequested {
            reason:
                StopReason::Owner
                | StopReason::Admin
                | StopReason::Failed { .. }
                | StopReason::Surplus
                | StopReason::Outdated,
        }
        | Event::Admitted {}
        | Event::StepReached { .. }
        | Event::LaunchFailed { .. }
        | Event::ScaleRequested { .. }
        | Event::Scaled { .. }
        | Event::AccessSet { .. }
        | Event::Parked { .. }
        | Event::Requeued { .. }
        | Event::Removed {} => vec![],
        Event::Claimed { owner } => vec![format!("by {owner}; its life and its idle time count from here")],
        Event::Shared { id, .. } | Event::Unshared { id } => vec![format!("share {id}")],
    }
}

/// Whether the event tells of something that went wrong, or did not go on.
pub fn is_trouble(event: &Event) -> bool {
    match event {
        Event::LaunchFailed { .. }
        | Event::StepReached { step: Step::MaterialsFailed { .. } | Step::Held { .. } }
        | Event::StopRequested { reason: StopReason::Failed { .. } }
        | Event::Parked { .. } => true,
        Event::LaunchRequested { .. }
        | Event::Admitted {}
        | Event::Claimed { .. }
        | Event::StepReached { step: Step::Prepared | Step::MaterialsCloned { .. } | Step::SchedulerStarted }
        | Event::BecameReady(_)
        | Event::ScaleRequested { .. }
        | Event::Scaled { .. }
        | Event::StopRequested {
            reason:
                StopReason::Owner
                | StopReason::Admin
                | StopReason::Idle(_)
                | StopReason::Expired { .. }
                | StopReason::Surplus
                | StopReason::Outdated,
        }
        | Event::AccessSet { .. }
        | Event::Shared { .. }
        | Event::Unshared { .. }
        | Event::Requeued { .. }
        | Event::Removed {} => false,
    }
}

/// How long something took, in three digits or two units.
pub fn took(time: TimeDelta) -> String {
    let millis = time.num_milliseconds().max(0);
    let seconds = millis / 1_000;
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{}.{} s", seconds, millis % 1_000 / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn limited(limits: Limits) -> String {
    let or_never =
        |seconds| if seconds == 0 { "never".to_owned() } else { format!("after {}", duration(seconds)) };
    format!(
        "at most {}, stopped when idle {}, stopped in any case {}",
        story::count(limits.workers.get()),
        or_never(limits.idle_seconds),
        or_never(limits.lifetime_seconds)
    )
}

fn seen(evidence: &IdleEvidence) -> String {
    match evidence.tasks_in_flight {
        Some(tasks) => {
            format!("seen then: {} kernels, none at work, and {tasks} tasks in flight", evidence.kernels)
        }
        None => "seen then: nothing ran in it any more".to_owned(),
    }
}
