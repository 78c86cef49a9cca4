//! What changed between two states.

use slipway::domain::difference::{Change, difference};
use slipway::domain::{Access, Event};

use super::samples::{Given, every_phase, parked, put_aside, share, shared, stop_requested, workers};

fn changes(before: &Given, after: &Given) -> Vec<Change> {
    difference(before.state().as_ref(), after.state().as_ref())
}

fn read(before: &Given, after: &Given) -> Vec<String> {
    changes(before, after).iter().map(Change::to_string).collect()
}

#[test]
fn what_is_as_it_was_has_not_changed() {
    for (name, history) in every_phase() {
        assert_eq!(changes(&Given(history.clone()), &Given(history)), [], "{name}");
    }
    assert_eq!(changes(&Given::nothing(), &Given::nothing()), []);
    assert_eq!(changes(&Given::phase("running"), &Given::nothing()), [], "nothing is taken back");
}

#[test]
fn what_was_not_there_came_and_what_is_gone_went() {
    let nothing = Given::nothing;
    assert_eq!(read(&nothing(), &Given::phase("running")), ["came: running, 2 workers"]);
    let gone = || Given::phase("gone after a stop");
    assert_eq!(read(&nothing(), &gone()), ["came: stopped, 2 workers", "went: Stopped by you"]);
    assert_eq!(
        read(&Given::phase("running with workers"), &gone()),
        ["running → stopped", "connected 2 → 0", "went: Stopped by you"]
    );
    assert_eq!(read(&Given::phase("launching"), &Given::phase("gone after a failure")).len(), 2);
}

#[test]
fn status_size_access_shares_and_work_are_compared() {
    let before = || Given::phase("running with workers").and(shared());
    let after = before()
        .and(Event::ScaleRequested { workers: workers(5) })
        .and(Event::Scaled { workers: 3 })
        .and(Event::AccessSet { access: Access::Class })
        .and(Event::Unshared { id: share() })
        .and(parked(put_aside()));
    let told = [
        "workers 2 → 5",
        "connected 2 → 3",
        "access owner → class",
        "no share 1f0c5a9be24d7713",
        "nobody works on it: the node is being repaired",
    ];
    assert_eq!(read(&before(), &after), told);
    let aside = Given::phase("running").and(parked(put_aside()));
    assert_eq!(
        read(&aside, &Given::phase("running").and(stop_requested())),
        ["running → stopping", "it is worked on again"]
    );
    assert_eq!(read(&Given::phase("running"), &Given::phase("running").and(shared())), ["share 1f0c5a9be24d7713"]);
}
