//! What people read.

use slipway::domain::cluster::replay;
use slipway::domain::story::{duration, ending, sentence};
use slipway::domain::{Access, Event, StopReason};

use super::samples::{
    claimed, every_phase, every_reason, every_step, id, launch_failed, launched, parked, put_aside, ready,
    removal_failed, share, shared, workers,
};

#[test]
fn every_event_reads_as_a_sentence() {
    let read = [
        (launched(), "Launch requested, with 2 workers"),
        (Event::Admitted {}, "It is your turn: the launch begins"),
        (claimed(), "A cluster that was kept ready is yours"),
        (ready(), "Notebook and Dask scheduler are ready"),
        (launch_failed(), "The launch failed: no room"),
        (Event::ScaleRequested { workers: workers(1) }, "Asked for 1 worker"),
        (Event::Scaled { workers: 0 }, "0 workers connected"),
        (Event::Scaled { workers: 1 }, "1 worker connected"),
        (Event::AccessSet { access: Access::Owner }, "Open to its owner only"),
        (Event::AccessSet { access: Access::Class }, "Open to everybody who is signed in here"),
        (Event::AccessSet { access: Access::Public }, "Open to anybody who has its address"),
        (shared(), "Shared by a link until 2026-10-01 09:30 UTC"),
        (Event::Unshared { id: share() }, "A share link opens it no more"),
        (parked(put_aside()), "Put aside by an organiser: the node is being repaired"),
        (parked(removal_failed()), "Given up for now: it could not be removed, 8 times in a row: no answer"),
        (Event::Requeued { why: None }, "Work on it goes on"),
        (Event::Requeued { why: Some("the node is back".to_owned()) }, "Work on it goes on: the node is back"),
        (Event::Removed {}, "Stopped; nothing is left running"),
    ];
    for (event, text) in read {
        assert_eq!(sentence(&event), text);
    }
}

#[test]
fn every_step_reads_as_a_sentence() {
    let read: Vec<_> = every_step().into_iter().map(|step| sentence(&Event::StepReached { step })).collect();
    let texts = [
        "A place for the cluster is prepared",
        "Materials cloned: course at 9fceb02d",
        "Materials could not be cloned: https://example.org/course.git@2026 (there is no branch 2026)",
        "The Dask scheduler answers",
        "Waiting for a machine: 0/3 nodes are available: 3 Insufficient cpu (Unschedulable)",
    ];
    assert_eq!(read, texts);
}

#[test]
fn every_reason_reads_well_while_it_stops() {
    let read: Vec<_> =
        every_reason().into_iter().map(|reason| sentence(&Event::StopRequested { reason })).collect();
    let texts = [
        "Stopping, as you asked",
        "Stopping, as an organiser asked",
        "Stopping: not used since 09:00:00 UTC, and the limit is 1 hour",
        "Stopping: its lifetime of 8 hours was over",
        "Stopping: the machine is gone",
        "Stopping: nobody had claimed it, and fewer are to be kept ready",
        "Stopping: nobody had claimed it, and a newer one takes its place",
    ];
    assert_eq!(read, texts);
}

#[test]
fn every_reason_reads_well_on_a_card() {
    let read = every_reason().into_iter().map(|reason: StopReason| {
        let history = [launched(), Event::StopRequested { reason }];
        let cluster = replay(id(), &history).expect("it can be").expect("it is there");
        ending(&cluster.phase).expect("it has ended")
    });
    let texts = [
        "Stopped by you",
        "Stopped by an organiser",
        "Not used since 09:00:00 UTC, and the limit is 1 hour",
        "Its lifetime of 8 hours was over",
        "The machine is gone",
        "Nobody had claimed it, and fewer are to be kept ready",
        "Nobody had claimed it, and a newer one takes its place",
    ];
    assert_eq!(read.collect::<Vec<_>>(), texts);
}

#[test]
fn only_what_ends_has_an_ending() {
    for (name, history) in every_phase() {
        let cluster = replay(id(), &history).expect("it can be").expect("it is there");
        assert_eq!(ending(&cluster.phase).is_some(), !cluster.phase.is_live(), "{name}");
    }
}

#[test]
fn durations_are_said_in_the_largest_whole_unit() {
    let said = [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (61, "61 seconds"),
        (5_400, "90 minutes"),
        (3_600, "1 hour"),
        (7_200, "2 hours"),
    ];
    for (seconds, text) in said {
        assert_eq!(duration(seconds), text);
    }
}
