//! The fold's version says whether a state that was kept can be gone on from.

use std::path::Path;

use serde_json::{Map, Value};
use slipway::domain::cluster::replay;
use slipway::domain::fold::FOLD;
use slipway::domain::{Access, Event};

use super::samples::{
    every_phase, every_step, id, launched, parked, put_aside, ready, removal_failed, share, shared,
    stop_requested, workers,
};

/// Every event in a life or two, and the state of each phase.
fn states() -> Value {
    let mut full = vec![launched(), Event::Admitted {}];
    full.extend(every_step().into_iter().map(|step| Event::StepReached { step }));
    full.extend([
        ready(),
        Event::Scaled { workers: 2 },
        Event::ScaleRequested { workers: workers(5) },
        Event::AccessSet { access: Access::Class },
        shared(),
        parked(put_aside()),
    ]);
    let mut later = full.clone();
    later.extend([
        Event::Requeued { why: None },
        Event::Unshared { id: share() },
        stop_requested(),
        parked(removal_failed()),
    ]);
    let mut histories = every_phase();
    histories.extend([("full", full), ("later", later)]);
    let states = histories.into_iter().map(|(name, events)| {
        let state = replay(id(), &events).expect("a history that can be");
        (name.to_owned(), serde_json::to_value(state).expect("it has a JSON form"))
    });
    Value::Object(states.collect::<Map<_, _>>())
}

#[test]
fn the_states_of_this_version_of_the_fold_are_what_they_were() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden_fold/{FOLD}.json"));
    let states = serde_json::to_string_pretty(&states()).expect("it has a JSON form") + "\n";
    let golden = std::fs::read_to_string(&path)
        .unwrap_or_else(|_| panic!("{} is missing; it should hold:\n{states}", path.display()));
    assert_eq!(states, golden, "kept states would be taken for what they are not: FOLD has to be one more");
}
