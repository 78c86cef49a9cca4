//! Every command in every phase.

use slipway::domain::{Command, Event, Phase, Refusal, Step, StopReason};

use super::samples::{
    Given, absent, endpoint, every_phase, every_reason, every_step, give_up, held, id, launch, launch_failed,
    launched, phase, present, ready, workers,
};

const ENDING: [&str; 4] = ["failed", "stopping", "gone after a failure", "gone after a stop"];
const LIVE: [&str; 4] = ["waiting", "launching", "running", "running with workers"];

fn step(step: &Step) -> Event {
    Event::StepReached { step: step.clone() }
}

fn scaled(workers: u16) -> Event {
    Event::Scaled { workers }
}

#[test]
fn the_phases_of_these_tests_are_all_phases() {
    let mut names: Vec<_> = LIVE.into_iter().chain(ENDING).collect();
    let mut all: Vec<_> = every_phase().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    all.sort_unstable();
    assert_eq!(names, all);
    for name in LIVE {
        assert!(Given::phase(name).state().is_some_and(|cluster| cluster.phase.is_live()), "{name}");
    }
    for name in ENDING {
        assert!(Given::phase(name).state().is_some_and(|cluster| !cluster.phase.is_live()), "{name}");
    }
}

#[test]
fn a_launch_starts_a_cluster_with_all_that_was_asked_for() {
    Given::nothing().when(&Command::Launch(launch())).then(&[launched()]);
}

#[test]
fn a_launch_may_ask_for_as_many_workers_as_the_limit_and_no_more() {
    let mut most = launch();
    most.workers = workers(8);
    assert_eq!(Given::nothing().when(&Command::Launch(most)).decided.map(|events| events.len()), Ok(1));
    let mut more = launch();
    more.workers = workers(9);
    let refusal = Refusal::TooManyWorkers { asked: workers(9), most: workers(8) };
    Given::nothing().when(&Command::Launch(more)).then_refused(&refusal);
}

#[test]
fn a_name_is_launched_once_whatever_became_of_it() {
    for (name, history) in every_phase() {
        let outcome = Given(history).when(&Command::Launch(launch()));
        assert_eq!(outcome.decided, Err(Refusal::Exists(id())), "{name}");
    }
}

#[test]
fn people_are_told_when_there_is_no_such_cluster() {
    Given::nothing().when(&Command::Scale { workers: workers(3) }).then_refused(&Refusal::Unknown(id()));
    Given::nothing().when(&Command::Stop { reason: StopReason::Owner }).then_refused(&Refusal::Unknown(id()));
}

#[test]
fn what_a_worker_tells_of_an_unknown_cluster_is_dropped() {
    Given::nothing().when(&absent()).then(&[]);
    Given::nothing().when(&present(&every_step(), Some(endpoint(1)), 1)).then(&[]);
    Given::nothing().when(&give_up("no use")).then(&[]);
}

#[test]
fn a_live_cluster_is_scaled_within_its_limit() {
    for name in LIVE {
        let wanted = Event::ScaleRequested { workers: workers(8) };
        Given::phase(name).when(&Command::Scale { workers: workers(8) }).then(&[wanted]);
        let refusal = Refusal::TooManyWorkers { asked: workers(9), most: workers(8) };
        Given::phase(name).when(&Command::Scale { workers: workers(9) }).then_refused(&refusal);
    }
}

#[test]
fn scaling_to_what_is_wanted_already_records_nothing() {
    for name in LIVE {
        Given::phase(name).when(&Command::Scale { workers: workers(2) }).then(&[]);
    }
    let twice = Given::phase("running").and(Event::ScaleRequested { workers: workers(5) });
    twice.when(&Command::Scale { workers: workers(5) }).then(&[]);
}

#[test]
fn a_cluster_that_ends_cannot_be_scaled() {
    for name in ENDING {
        for count in [1, 2, 9] {
            let command = Command::Scale { workers: workers(count) };
            Given::phase(name).when(&command).then_refused(&Refusal::Stopped(id()));
        }
    }
}

/// But those by which a pool gives up what is its own.
fn every_reason_of_owned() -> impl Iterator<Item = StopReason> {
    every_reason().into_iter().filter(|reason| !matches!(reason, StopReason::Surplus | StopReason::Outdated))
}

#[test]
fn a_live_cluster_is_stopped_for_any_reason_and_the_reason_is_kept() {
    for name in LIVE {
        for reason in every_reason_of_owned() {
            let stopped = Event::StopRequested { reason: reason.clone() };
            Given::phase(name).when(&Command::Stop { reason }).then(&[stopped]);
        }
    }
}

#[test]
fn a_cluster_that_ends_keeps_its_first_reason() {
    for name in ENDING {
        for reason in every_reason() {
            Given::phase(name).when(&Command::Stop { reason }).then(&[]);
        }
    }
}

#[test]
fn giving_up_fails_a_launch_stops_what_runs_and_leaves_alone_what_ends() {
    for name in ["waiting", "launching"] {
        Given::phase(name).when(&give_up("no room")).then(&[launch_failed()]);
    }
    for name in ["running", "running with workers"] {
        let reason = StopReason::Failed { why: "lost".to_owned() };
        Given::phase(name).when(&give_up("lost")).then(&[Event::StopRequested { reason }]);
    }
    for name in ENDING {
        Given::phase(name).when(&give_up("lost")).then(&[]);
    }
}

#[test]
fn a_launch_is_admitted_once_and_only_from_the_line() {
    Given::phase("waiting").when(&Command::Admit).then(&[Event::Admitted {}]);
    for name in LIVE.into_iter().chain(ENDING).filter(|name| *name != "waiting") {
        Given::phase(name).when(&Command::Admit).then(&[]);
    }
    Given::nothing().when(&Command::Admit).then(&[]);
}

#[test]
fn a_launch_that_nothing_is_seen_of_goes_on() {
    for name in ["waiting", "launching"] {
        Given::phase(name).when(&absent()).then(&[]);
    }
}

#[test]
fn what_is_seen_to_be_there_no_longer_waits() {
    let first = every_step()[0].clone();
    let event = step(&first);
    Given::phase("waiting").when(&present(&[first], None, 0)).then(std::slice::from_ref(&event));
    let state = Given::phase("waiting").and(event).state().expect("it is there");
    assert_eq!(state.phase, Phase::Launching);
    Given::phase("waiting").when(&present(&[], Some(endpoint(8080)), 0)).then(&[ready()]);
}

#[test]
fn each_step_of_a_launch_is_recorded_once() {
    let steps = every_step();
    let all: Vec<_> = steps.iter().map(step).collect();
    Given::phase("launching").when(&present(&steps, None, 0)).then(&all);
    let seen = Given::phase("launching").and(step(&steps[0])).and(step(&steps[3]));
    seen.when(&present(&steps, None, 0)).then(&[&all[1..3], &all[4..]].concat());
    let twice = [steps[0].clone(), steps[0].clone()];
    Given::phase("launching").when(&present(&twice, None, 0)).then(&all[..1]);
}

#[test]
fn a_launch_ends_when_the_notebook_answers() {
    Given::phase("launching").when(&present(&[], Some(endpoint(8080)), 0)).then(&[ready()]);
    Given::phase("launching").when(&present(&[], Some(endpoint(8080)), 1)).then(&[ready(), scaled(1)]);
    let first = every_step()[0].clone();
    let all = [step(&first), ready(), scaled(2)];
    Given::phase("launching").when(&present(&[first], Some(endpoint(8080)), 2)).then(&all);
}

#[test]
fn workers_before_the_notebook_do_not_make_a_cluster_run() {
    Given::phase("launching").when(&present(&[], None, 2)).then(&[]);
}

#[test]
fn a_running_cluster_that_is_as_known_records_nothing() {
    Given::phase("running").when(&present(&[], Some(endpoint(8080)), 0)).then(&[]);
    Given::phase("running with workers").when(&present(&[], Some(endpoint(8080)), 2)).then(&[]);
}

#[test]
fn workers_that_come_and_go_are_counted() {
    Given::phase("running").when(&present(&[], Some(endpoint(8080)), 2)).then(&[scaled(2)]);
    Given::phase("running with workers").when(&present(&[], Some(endpoint(8080)), 1)).then(&[scaled(1)]);
    Given::phase("running with workers").when(&present(&[], None, 1)).then(&[scaled(1)]);
}

#[test]
fn a_notebook_that_does_not_answer_for_a_moment_stays_where_it_was() {
    Given::phase("running with workers").when(&present(&[], None, 2)).then(&[]);
}

#[test]
fn a_running_cluster_that_vanished_has_no_workers() {
    Given::phase("running with workers").when(&absent()).then(&[scaled(0)]);
    Given::phase("running").when(&absent()).then(&[]);
}

#[test]
fn a_notebook_that_moved_is_recorded_and_its_workers_counted_anew() {
    let moved = Event::BecameReady(endpoint(9090));
    let running = || Given::phase("running with workers");
    running().when(&present(&[], Some(endpoint(9090)), 2)).then(&[moved.clone(), scaled(2)]);
    running().when(&present(&[], Some(endpoint(9090)), 0)).then(&[moved]);
}

#[test]
fn a_step_seen_late_is_recorded_while_it_runs() {
    let late = every_step()[3].clone();
    let event = step(&late);
    Given::phase("running").when(&present(&[late], Some(endpoint(8080)), 0)).then(&[event]);
}

#[test]
fn a_cluster_that_ends_is_gone_when_nothing_is_seen_of_it() {
    for name in ["failed", "stopping"] {
        Given::phase(name).when(&absent()).then(&[Event::Removed {}]);
    }
}

#[test]
fn a_late_ready_after_a_stop_is_dropped() {
    let steps: Vec<_> = every_step().into_iter().filter(|step| *step != held()).collect();
    for name in ENDING {
        Given::phase(name).when(&present(&steps, Some(endpoint(8080)), 2)).then(&[]);
    }
}

#[test]
fn a_cluster_that_is_gone_is_gone_once() {
    for name in ["gone after a failure", "gone after a stop"] {
        Given::phase(name).when(&absent()).then(&[]);
    }
}

#[test]
fn refusals_say_what_to_do() {
    let texts = [
        (Refusal::Exists(id()), "cluster-678343 already exists"),
        (Refusal::Unknown(id()), "there is no cluster-678343"),
        (Refusal::Stopped(id()), "cluster-678343 has been stopped; launch a new cluster"),
        (
            Refusal::TooManyWorkers { asked: workers(9), most: workers(8) },
            "9 workers are more than the 8 that this cluster may have; ask for 8 or fewer",
        ),
    ];
    for (refusal, text) in texts {
        assert_eq!(refusal.to_string(), text);
    }
}

#[test]
fn deciding_twice_on_the_same_state_is_the_same() {
    for (name, history) in every_phase() {
        let command = present(&every_step(), Some(endpoint(8080)), 3);
        let once = Given(history.clone()).when(&command).decided;
        assert_eq!(once, Given(history).when(&command).decided, "{name}");
    }
    assert_eq!(phase("waiting").len(), 1);
}

#[test]
fn what_holds_up_a_removal_is_told_once_and_nothing_else_of_a_cluster_that_ends() {
    for name in ["failed", "stopping"] {
        let seen = present(&[Step::SchedulerStarted, held()], None, 0);
        Given::phase(name).when(&seen).then(&[step(&held())]);
        Given::phase(name).and(step(&held())).when(&seen).then(&[]);
    }
}

#[test]
fn reasons_that_are_never_the_same_twice_do_not_fill_the_log() {
    let reason = |number: usize| Step::Held { why: format!("{number} nodes are available") };
    let all: Vec<Step> = (0..50).map(reason).collect();
    let first: Vec<Event> = all.iter().take(20).map(step).collect();
    Given::phase("launching").when(&present(&all, None, 0)).then(&first);
    let full = first.into_iter().fold(Given::phase("launching"), Given::and);
    full.when(&present(&[reason(99)], None, 0)).then(&[]);
}
