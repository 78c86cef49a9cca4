//! Work that is put aside, given up for now, and taken up again.

use slipway::domain::{Command, Event, ParkReason, Refusal};

use super::samples::{
    Given, every_phase, give_up, id, parked, put_aside, removal_failed, stop_requested, workers,
};

fn park(reason: ParkReason) -> Command {
    Command::Park { reason }
}

fn requeue() -> Command {
    Command::Requeue { why: None }
}

#[test]
fn what_is_worked_on_can_be_put_aside_and_taken_up_again_and_nothing_else_can() {
    for (name, history) in every_phase() {
        for (command, event) in
            [(park(put_aside()), parked(put_aside())), (requeue(), Event::Requeued { why: None })]
        {
            let outcome = Given(history.clone()).when(&command);
            match name {
                "waiting" => outcome.then_refused(&Refusal::InLine(id())),
                "gone after a failure" | "gone after a stop" => outcome.then_refused(&Refusal::Gone(id())),
                _ => outcome.then(&[event]),
            }
        }
    }
    for command in [park(put_aside()), requeue()] {
        Given::nothing().when(&command).then_refused(&Refusal::Unknown(id()));
    }
}

#[test]
fn it_is_recorded_once_and_again_only_for_another_reason() {
    let given = || Given::phase("running").and(parked(put_aside()));
    given().when(&park(put_aside())).then(&[]);
    let other = ParkReason::Admin { why: "for the inspection".to_owned() };
    given().when(&park(other.clone())).then(&[parked(other)]);
}

#[test]
fn only_a_removal_is_given_up_for_now_and_once_until_it_is_asked_for() {
    let given_up = parked(removal_failed());
    for (name, history) in every_phase() {
        let outcome = Given(history).when(&park(removal_failed()));
        let is_removal = ["failed", "stopping"].contains(&name);
        outcome.then(if is_removal { std::slice::from_ref(&given_up) } else { &[] });
    }
    let given_up = || Given::phase("stopping").and(parked(removal_failed()));
    let later = ParkReason::Failed { why: "it failed once more".to_owned() };
    given_up().when(&park(later.clone())).then(&[]);
    given_up().and(Event::Requeued { why: None }).when(&park(later.clone())).then(&[parked(later)]);
    // What somebody has put aside is that for their reason.
    Given::phase("stopping").and(parked(put_aside())).when(&park(removal_failed())).then(&[]);
}

#[test]
fn workers_leave_alone_what_was_put_aside_until_a_command_wants_something_of_it() {
    let aside = |given: &Given| given.state().expect("it is there").is_put_aside();
    let given = || Given::phase("running").and(parked(put_aside()));
    assert!(aside(&given()));
    assert!(aside(&given().and(Event::Scaled { workers: 1 })), "what a worker still saw changes nothing");
    for event in [Event::Requeued { why: None }, Event::ScaleRequested { workers: workers(3) }, stop_requested()] {
        assert!(!aside(&given().and(event.clone())), "{}", event.kind());
    }
    let given_up = Given::phase("stopping").and(parked(removal_failed()));
    assert!(!aside(&given_up), "it is tried again now and then");
    let gone = given_up.and(Event::Removed {}).state().expect("it was there");
    assert_eq!(gone.parked, None);
    let failed = Given::phase("launching").and(parked(put_aside())).when(&give_up("no room")).decided;
    assert_eq!(failed, Ok(vec![Event::LaunchFailed { why: "no room".to_owned() }]));
}
