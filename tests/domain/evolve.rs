//! Every event in every phase: what it changes, or that it cannot be.

use slipway::domain::cluster::{evolve, replay};
use slipway::domain::desired::{Desired, desired, is_settled};
use slipway::domain::{Access, Cluster, Ending, Event, Phase, Step, StopReason};

use super::samples::{
    claimed, course, endpoint, every_phase, id, launch, launch_failed, launched, parked, phase, put_aside, ready,
    share, shared, stop_requested, workers,
};

fn after(history: &[Event]) -> Cluster {
    replay(id(), history).expect("a history that can be").expect("it is not empty")
}

fn one_of_each() -> Vec<Event> {
    vec![
        launched(),
        Event::Admitted {},
        claimed(),
        Event::StepReached { step: Step::Prepared },
        ready(),
        launch_failed(),
        Event::ScaleRequested { workers: workers(5) },
        Event::Scaled { workers: 1 },
        stop_requested(),
        Event::AccessSet { access: Access::Class },
        shared(),
        Event::Unshared { id: share() },
        parked(put_aside()),
        Event::Requeued { why: None },
        Event::Removed {},
    ]
}

/// The kinds of event that may follow in each phase. All others are refused.
fn may_follow(phase: Option<&Phase>) -> &'static [&'static str] {
    match phase {
        None => &["LaunchRequested"],
        Some(Phase::Waiting) => &[
            "Admitted",
            "StepReached",
            "BecameReady",
            "LaunchFailed",
            "ScaleRequested",
            "StopRequested",
            "AccessSet",
            "Shared",
            "Unshared",
        ],
        Some(Phase::Launching) => &[
            "StepReached",
            "BecameReady",
            "LaunchFailed",
            "ScaleRequested",
            "StopRequested",
            "AccessSet",
            "Shared",
            "Unshared",
            "Parked",
            "Requeued",
        ],
        Some(Phase::Running { .. }) => &[
            "StepReached",
            "BecameReady",
            "ScaleRequested",
            "Scaled",
            "StopRequested",
            "AccessSet",
            "Shared",
            "Unshared",
            "Parked",
            "Requeued",
        ],
        Some(Phase::Failed { .. } | Phase::Stopping { .. }) => &["Parked", "Requeued", "Removed"],
        Some(Phase::Gone { .. }) => &[],
    }
}

#[test]
fn an_event_that_cannot_follow_is_refused_and_named() {
    let mut histories = every_phase();
    histories.push(("nothing", vec![]));
    for (name, history) in histories {
        let state = replay(id(), &history).expect("a history that can be");
        for event in one_of_each() {
            let allowed = may_follow(state.as_ref().map(|cluster| &cluster.phase)).contains(&event.kind());
            match evolve(id(), state.clone(), &event) {
                Ok(_) => assert!(allowed, "{} must not follow when {name}", event.kind()),
                Err(impossible) => {
                    assert!(!allowed, "{} must follow when {name}", event.kind());
                    let text = impossible.to_string();
                    assert!(text.contains("cluster-678343") && text.contains(event.kind()), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_launched_cluster_is_what_was_asked_for() {
    let cluster = after(&[launched()]);
    let asked = launch();
    assert_eq!((cluster.id, cluster.owner, cluster.profile), (id(), asked.owner, asked.profile));
    assert_eq!(
        (cluster.workers, cluster.materials, cluster.limits),
        (asked.workers, asked.materials, asked.limits)
    );
    assert_eq!((cluster.steps, cluster.phase), (vec![], Phase::Waiting));
}

#[test]
fn moving_starts_the_count_of_workers_anew() {
    let mut history = phase("running with workers");
    assert_eq!(after(&history).phase, Phase::Running { endpoint: endpoint(8080), workers_ready: 2 });
    history.push(Event::BecameReady(endpoint(9090)));
    assert_eq!(after(&history).phase, Phase::Running { endpoint: endpoint(9090), workers_ready: 0 });
}

#[test]
fn steps_are_kept_in_their_order() {
    let steps = [Step::SchedulerStarted, Step::Prepared];
    let mut history = vec![launched()];
    history.extend(steps.iter().map(|step| Event::StepReached { step: step.clone() }));
    assert_eq!(after(&history).steps, steps);
}

#[test]
fn the_end_remembers_how_it_came_to_it() {
    let failed = Phase::Gone { ending: Ending::Failed { why: "no room".to_owned() } };
    assert_eq!(after(&phase("gone after a failure")).phase, failed);
    let stopped = Phase::Gone { ending: Ending::Stopped { reason: StopReason::Owner } };
    assert_eq!(after(&phase("gone after a stop")).phase, stopped);
}

#[test]
fn each_phase_has_its_word() {
    let words = ["launching", "launching", "running", "running", "failed", "stopping", "failed", "stopped"];
    let seen: Vec<_> = every_phase().iter().map(|(_, history)| after(history).phase.status()).collect();
    assert_eq!(seen, words);
}

#[test]
fn a_cluster_is_wanted_exactly_while_it_is_live_and_its_turn_has_come() {
    for (name, history) in every_phase() {
        let cluster = after(&history);
        match desired(&cluster) {
            Desired::Present(blueprint) => {
                assert!(cluster.phase.is_live(), "{name}");
                assert_eq!((blueprint.id, blueprint.workers), (id(), workers(2)));
                assert_eq!(blueprint.materials, [course()]);
            }
            Desired::Absent => assert!(!cluster.phase.is_live() || name == "waiting", "{name}"),
        }
    }
}

#[test]
fn a_scaled_cluster_is_wanted_with_the_new_number() {
    let mut history = phase("running with workers");
    history.push(Event::ScaleRequested { workers: workers(5) });
    let Desired::Present(blueprint) = desired(&after(&history)) else { panic!("it runs") };
    assert_eq!(blueprint.workers, workers(5));
}

#[test]
fn nobody_need_look_again_once_all_workers_are_there_or_all_is_gone_or_while_it_waits() {
    let settled: Vec<_> = every_phase()
        .into_iter()
        .filter(|(_, history)| is_settled(&after(history)))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(settled, ["waiting", "running with workers", "gone after a failure", "gone after a stop"]);
}

#[test]
fn a_state_survives_its_json() {
    for (name, history) in every_phase() {
        let cluster = after(&history);
        let json = serde_json::to_string(&cluster).expect("it has a JSON form");
        assert_eq!(serde_json::from_str::<Cluster>(&json).expect("it can be read"), cluster, "{name}");
    }
}

#[test]
fn an_empty_stream_is_no_cluster() {
    assert_eq!(replay(id(), []), Ok(None));
}
