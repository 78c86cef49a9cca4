//! The JSON of every event, as it will stand in logs for good: `tests/golden/` has one file for each.
//!
//! A new variant needs a new file; a file that is there is never changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slipway::domain::{Access, Endpoint, Engine, Event, IdleEvidence, StopReason, port};

use super::samples::{
    claimed, endpoint, every_reason, every_step, launch_failed, launched, parked, put_aside, ready,
    removal_failed, share, shared, time, workers,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// One of each, by the name of its file.
fn events() -> BTreeMap<String, Event> {
    let mut events = vec![
        ("launch-requested".to_owned(), launched()),
        ("admitted".to_owned(), Event::Admitted {}),
        ("became-ready".to_owned(), ready()),
        ("became-ready-ipv6".to_owned(), {
            let ports = BTreeMap::from([(Engine::Notebook, 8080)]);
            Event::BecameReady(Endpoint {
                address: "fd00::17".parse().expect("an address"),
                ports,
                named: [].into(),
            })
        }),
        ("became-ready-named-ports".to_owned(), {
            let named = port::heard("app=8501 tensorboard=6006:keep");
            Event::BecameReady(Endpoint { named, ..endpoint(8080) })
        }),
        ("claimed".to_owned(), claimed()),
        ("launch-failed".to_owned(), launch_failed()),
        ("scale-requested".to_owned(), Event::ScaleRequested { workers: workers(5) }),
        ("scaled".to_owned(), Event::Scaled { workers: 5 }),
        ("access-set-class".to_owned(), Event::AccessSet { access: Access::Class }),
        ("access-set-owner".to_owned(), Event::AccessSet { access: Access::Owner }),
        ("access-set-public".to_owned(), Event::AccessSet { access: Access::Public }),
        ("share".to_owned(), shared()),
        ("unshared".to_owned(), Event::Unshared { id: share() }),
        ("parked-admin".to_owned(), parked(put_aside())),
        ("parked-failed".to_owned(), parked(removal_failed())),
        ("requeued".to_owned(), Event::Requeued { why: None }),
        ("requeued-why".to_owned(), Event::Requeued { why: Some("the node is back".to_owned()) }),
        ("removed".to_owned(), Event::Removed {}),
        ("stop-requested-idle-not-running".to_owned(), {
            let evidence =
                IdleEvidence { last_activity: time(0), limit_seconds: 3_600, kernels: 0, tasks_in_flight: None };
            Event::StopRequested { reason: StopReason::Idle(evidence) }
        }),
    ];
    events.extend(every_step().into_iter().map(|step| {
        let tag = serde_json::to_value(&step).expect("it has a JSON form")["name"].take();
        (format!("step-reached-{}", tag.as_str().expect("a name")), Event::StepReached { step })
    }));
    events.extend(every_reason().into_iter().map(|reason| {
        let tag = serde_json::to_value(&reason).expect("it has a JSON form")["kind"].take();
        (format!("stop-requested-{}", tag.as_str().expect("a kind")), Event::StopRequested { reason })
    }));
    events.into_iter().map(|(name, event)| (format!("{}.json", name.replace('_', "-")), event)).collect()
}

fn pretty(event: &Event) -> String {
    serde_json::to_string_pretty(event).expect("it has a JSON form") + "\n"
}

#[test]
fn every_event_is_written_as_it_always_was_and_what_was_written_can_be_read() {
    for (name, event) in events() {
        let path = folder().join(&name);
        let golden = std::fs::read_to_string(&path)
            .unwrap_or_else(|_| panic!("{} is missing; it should hold:\n{}", path.display(), pretty(&event)));
        assert_eq!(pretty(&event), golden, "{name}");
        let parsed: Event = serde_json::from_str(&golden).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(parsed, event, "{name}");
    }
}

#[test]
fn there_is_no_golden_file_without_an_event() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort_unstable();
    assert_eq!(files, events().into_keys().collect::<Vec<_>>());
}

#[test]
fn every_kind_of_event_has_a_golden_file() {
    // Exhaustive on purpose: a new variant does not compile until it is counted here.
    let number = |event: &Event| match event {
        Event::LaunchRequested { .. } => 0,
        Event::StepReached { .. } => 1,
        Event::BecameReady(_) => 2,
        Event::LaunchFailed { .. } => 3,
        Event::ScaleRequested { .. } => 4,
        Event::Scaled { .. } => 5,
        Event::StopRequested { .. } => 6,
        Event::Removed {} => 7,
        Event::Admitted {} => 8,
        Event::AccessSet { .. } => 9,
        Event::Shared { .. } => 10,
        Event::Unshared { .. } => 11,
        Event::Parked { .. } => 12,
        Event::Requeued { .. } => 13,
        Event::Claimed { .. } => 14,
    };
    let mut seen: Vec<i32> = events().values().map(number).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..15).collect::<Vec<_>>());
}

#[test]
fn the_name_in_the_json_is_the_kind_in_the_log() {
    for event in events().values() {
        let json = serde_json::to_value(event).expect("it has a JSON form");
        assert_eq!(json["type"], event.kind());
        assert!(json["data"].is_object(), "{json}");
    }
}

#[test]
fn an_event_that_is_none_cannot_be_read() {
    let wrong = [
        r#"{"type":"Exploded","data":{}}"#,
        r#"{"type":"Scaled","data":{}}"#,
        r#"{"type":"Scaled","data":{"workers":-1}}"#,
        r#"{"type":"Scaled","data":{"workers":65536}}"#,
        r#"{"type":"ScaleRequested","data":{"workers":0}}"#,
        r#"{"type":"ScaleRequested","data":{"workers":1001}}"#,
        r#"{"type":"StopRequested","data":{"reason":{"kind":"boredom"}}}"#,
        r#"{"type":"BecameReady","data":{"address":"nowhere","ports":{}}}"#,
        r#"{"type":"AccessSet","data":{"access":"everybody"}}"#,
        r#"{"type":"Unshared","data":{"id":"1F0C5A9BE24D7713"}}"#,
        r#"{"type":"Shared","data":{"id":"1f0c","until":"2026-10-01T09:30:00Z"}}"#,
        r#"{"type":"Shared","data":{"id":"1f0c5a9be24d7713","until":"tomorrow"}}"#,
        r#"{"type":"Parked","data":{"reason":{"kind":"admin"}}}"#,
        r#"{"type":"Parked","data":{"reason":{"kind":"whim","why":"x"}}}"#,
        r#"{"type":"Claimed","data":{}}"#,
        r#"{"data":{}}"#,
    ];
    for json in wrong {
        assert!(serde_json::from_str::<Event>(json).is_err(), "{json}");
    }
}
