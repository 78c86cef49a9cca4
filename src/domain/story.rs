//! Events in plain words, for the person who waits.

use super::access::Access;
use super::cluster::{Ending, Phase};
use super::event::{Event, IdleEvidence, Step, StopReason};
use super::park::ParkReason;

/// One sentence for one event.
pub fn sentence(event: &Event) -> String {
    match event {
        Event::LaunchRequested { workers, .. } => format!("Launch requested, with {}", count(workers.get())),
        Event::Admitted {} => "It is your turn: the launch begins".to_owned(),
        Event::Claimed { .. } => "A cluster that was kept ready is yours".to_owned(),
        Event::StepReached { step } => step_sentence(step),
        Event::BecameReady(_) => "Notebook and Dask scheduler are ready".to_owned(),
        Event::LaunchFailed { why } => format!("The launch failed: {why}"),
        Event::ScaleRequested { workers } => format!("Asked for {}", count(workers.get())),
        Event::Scaled { workers } => format!("{} connected", count(*workers)),
        Event::StopRequested { reason } => stopping(reason),
        Event::AccessSet { access } => open_to(*access).to_owned(),
        Event::Shared { until, .. } => format!("Shared by a link until {} UTC", until.format("%Y-%m-%d %H:%M")),
        Event::Unshared { .. } => "A share link opens it no more".to_owned(),
        Event::Parked { reason: ParkReason::Admin { why } } => format!("Put aside by an organiser: {why}"),
        Event::Parked { reason: ParkReason::Failed { why } } => format!("Given up for now: {why}"),
        Event::Requeued { why: Some(why) } => format!("Work on it goes on: {why}"),
        Event::Requeued { why: None } => "Work on it goes on".to_owned(),
        Event::Removed {} => "Stopped; nothing is left running".to_owned(),
    }
}

/// Why a cluster failed or was stopped, if it was: a sentence that can stand alone.
pub fn ending(phase: &Phase) -> Option<String> {
    match phase {
        Phase::Waiting | Phase::Launching | Phase::Running { .. } => None,
        Phase::Failed { why } | Phase::Gone { ending: Ending::Failed { why } } => Some(capitalised(why)),
        Phase::Stopping { reason } | Phase::Gone { ending: Ending::Stopped { reason } } => Some(match reason {
            StopReason::Owner => "Stopped by you".to_owned(),
            StopReason::Admin => "Stopped by an organiser".to_owned(),
            StopReason::Idle(_)
            | StopReason::Expired { .. }
            | StopReason::Failed { .. }
            | StopReason::Surplus
            | StopReason::Outdated => capitalised(&stop_reason(reason)),
        }),
    }
}

fn step_sentence(step: &Step) -> String {
    match step {
        Step::Prepared => "A place for the cluster is prepared".to_owned(),
        Step::MaterialsCloned { repository, commit } => {
            format!("Materials cloned: {} at {}", repository.folder(), commit.chars().take(8).collect::<String>())
        }
        Step::MaterialsFailed { repository, why } => {
            format!("Materials could not be cloned: {repository} ({why})")
        }
        Step::SchedulerStarted => "The Dask scheduler answers".to_owned(),
        Step::Held { why } => capitalised(why),
    }
}

fn open_to(access: Access) -> &'static str {
    match access {
        Access::Owner => "Open to its owner only",
        Access::Class => "Open to everybody who is signed in here",
        Access::Public => "Open to anybody who has its address",
    }
}

fn stopping(reason: &StopReason) -> String {
    match reason {
        StopReason::Owner | StopReason::Admin => format!("Stopping, as {}", stop_reason(reason)),
        StopReason::Idle(_)
        | StopReason::Expired { .. }
        | StopReason::Failed { .. }
        | StopReason::Surplus
        | StopReason::Outdated => {
            format!("Stopping: {}", stop_reason(reason))
        }
    }
}

fn stop_reason(reason: &StopReason) -> String {
    match reason {
        StopReason::Owner => "you asked".to_owned(),
        StopReason::Admin => "an organiser asked".to_owned(),
        StopReason::Idle(IdleEvidence { last_activity, limit_seconds, .. }) => format!(
            "not used since {} UTC, and the limit is {}",
            last_activity.format("%H:%M:%S"),
            duration(*limit_seconds)
        ),
        StopReason::Expired { lifetime_seconds, .. } => {
            format!("its lifetime of {} was over", duration(*lifetime_seconds))
        }
        StopReason::Failed { why } => why.clone(),
        StopReason::Surplus => "nobody had claimed it, and fewer are to be kept ready".to_owned(),
        StopReason::Outdated => "nobody had claimed it, and a newer one takes its place".to_owned(),
    }
}

pub(super) fn count(workers: u16) -> String {
    if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") }
}

/// A duration as people say it: `90 minutes` rather than `5400 seconds`.
pub fn duration(seconds: u32) -> String {
    let (number, unit) = match seconds {
        s if s % 3600 == 0 && s > 0 => (s / 3600, "hour"),
        s if s % 60 == 0 && s > 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") }
}

/// With a capital letter in front, as a sentence starts.
pub fn capitalised(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
