//! What an operator is told of a cluster.

use chrono::TimeDelta;
use slipway::domain::explanation::{details, is_trouble, now, took, waiting_for};
use slipway::domain::{Event, Step};

use super::samples::{
    Given, claimed, every_phase, every_reason, every_step, held, launch_failed, launched, parked, put_aside,
    ready, removal_failed, shared, workers,
};

#[test]
fn every_phase_says_how_it_is_and_what_it_waits_for() {
    let told = [
        ("waiting", "waiting in line", Some("its turn in line")),
        ("launching", "launching", Some("a place for it")),
        ("running", "running, 0 of 2 workers connected", Some("2 workers to connect")),
        ("running with workers", "running, 2 of 2 workers connected", None),
        ("failed", "failed and not removed yet: no room", Some("its removal")),
        ("stopping", "stopped and not removed yet", Some("its removal")),
        ("gone after a failure", "gone: No room", None),
        ("gone after a stop", "gone: Stopped by you", None),
    ];
    assert_eq!(told.len(), every_phase().len());
    for (name, is, waits) in told {
        let cluster = Given::phase(name).state().expect("it is there");
        assert_eq!((now(&cluster).as_str(), waiting_for(&cluster).as_deref()), (is, waits), "{name}");
    }
}

#[test]
fn what_holds_it_up_is_waited_for_in_the_words_of_whoever_does() {
    let waits = |given: Given| waiting_for(&given.state().expect("it is there"));
    let launching = |step| waits(Given::phase("launching").and(Event::StepReached { step }));
    assert_eq!(launching(Step::Prepared).as_deref(), Some("its notebook and scheduler to answer"));
    assert!(launching(held()).expect("a reason").starts_with("waiting for a machine: 0/3 nodes"));
    let fewer = Given::phase("running with workers").and(Event::ScaleRequested { workers: workers(1) });
    assert_eq!(waits(fewer).as_deref(), Some("1 worker to leave"));
    let aside = "somebody to requeue, scale or stop it; it was put aside: the node is being repaired";
    assert_eq!(waits(Given::phase("running with workers").and(parked(put_aside()))).as_deref(), Some(aside));
    assert_eq!(waits(Given::phase("stopping").and(parked(removal_failed()))).as_deref(), Some("its removal"));
}

#[test]
fn what_an_event_holds_is_told() {
    let limits =
        "profile default, at most 8 workers, stopped when idle after 1 hour, stopped in any case after 8 hours";
    assert_eq!(details(&launched()), [limits, "materials https://example.org/course.git@2026"]);
    assert_eq!(details(&ready()), ["at 10.20.1.17"]);
    assert_eq!(details(&shared()), ["share 1f0c5a9be24d7713"]);
    let reasons: Vec<_> =
        every_reason().into_iter().map(|reason| details(&Event::StopRequested { reason }).join(", ")).collect();
    let told = [
        "",
        "",
        "seen then: 1 kernels, none at work, and 0 tasks in flight",
        "counted from 2026-10-01 09:00:00 UTC",
        "",
        "",
        "",
    ];
    assert_eq!(details(&claimed()), ["by browser:1f0c; its life and its idle time count from here"]);
    assert_eq!(reasons, told);
}

#[test]
fn what_went_wrong_is_marked() {
    let steps = every_step().into_iter().map(|step| is_trouble(&Event::StepReached { step }));
    assert_eq!(steps.collect::<Vec<_>>(), [false, false, true, false, true]);
    let reasons = every_reason().into_iter().map(|reason| is_trouble(&Event::StopRequested { reason }));
    assert_eq!(reasons.collect::<Vec<_>>(), [false, false, false, false, true, false, false]);
    assert!(is_trouble(&launch_failed()) && is_trouble(&parked(removal_failed())));
    assert!(!is_trouble(&ready()) && !is_trouble(&Event::Requeued { why: None }));
}

#[test]
fn durations_are_as_exact_as_they_are_short() {
    let told = [
        (-5, "0 ms"),
        (11, "11 ms"),
        (1_950, "1.9 s"),
        (59_999, "59.9 s"),
        (303_000, "5 min 3 s"),
        (7_500_000, "2 h 5 min"),
        (183_600_000, "2 d 3 h"),
    ];
    for (millis, text) in told {
        assert_eq!(took(TimeDelta::milliseconds(millis)), text);
    }
}
