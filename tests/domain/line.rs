//! Where a launch stands in line, and for how long.

use proptest::prelude::{prop_assert, proptest};
use slipway::domain::ClusterId;
use slipway::domain::line::{Line, Place, Throttle};

fn ids(count: u64) -> Vec<ClusterId> {
    (100_000..100_000 + count).filter_map(ClusterId::from_number).collect()
}

fn line(waiting: u64, launching: u32, at_once: u32, per_second: f64, recent: &[f64]) -> Line {
    Line { waiting: ids(waiting), launching, throttle: Throttle { at_once, per_second }, recent: recent.to_vec() }
}

/// What the one at this position is told.
fn seconds(line: &Line, position: usize) -> Option<u32> {
    let place = line.place(line.waiting[position - 1]).expect("it waits");
    assert_eq!(place.position as usize, position);
    place.seconds
}

#[test]
fn whoever_does_not_wait_has_no_place() {
    assert_eq!(line(3, 0, 10, 0.0, &[]).place(ids(4)[3]), None);
}

#[test]
fn nothing_is_estimated_before_anything_was_launched() {
    assert_eq!(seconds(&line(3, 1, 1, 20.0, &[]), 2), None);
}

#[test]
fn the_estimate_is_the_wait_for_a_place_and_then_a_launch() {
    // When ten launches of 30 s are under way, one place becomes free every 3 s.
    let full = line(100, 10, 10, 0.0, &[30.0]);
    assert_eq!([1, 2, 10, 20].map(|position| seconds(&full, position)), [33, 36, 60, 90].map(Some));
    // Places that are free are taken at once.
    let half = line(100, 5, 10, 0.0, &[30.0]);
    assert_eq!([1, 5, 6, 15].map(|position| seconds(&half, position)), [30, 30, 33, 60].map(Some));
}

#[test]
fn the_slower_of_places_and_pace_decides() {
    let paced = line(100, 0, 0, 0.5, &[10.0]);
    assert_eq!([1, 10].map(|position| seconds(&paced, position)), [12, 30].map(Some));
    let both = line(100, 10, 10, 0.5, &[10.0]);
    assert_eq!([1, 10].map(|position| seconds(&both, position)), [12, 30].map(Some));
    let free = line(100, 40, 0, 0.0, &[10.0]);
    assert_eq!(seconds(&free, 100), Some(10));
}

#[test]
fn a_launch_that_hung_does_not_frighten_those_who_wait() {
    assert_eq!(seconds(&line(1, 0, 10, 0.0, &[3.0, 2.0, 300.0, 4.0, 2.5]), 1), Some(3));
}

#[test]
fn the_estimate_is_said_no_more_exactly_than_it_is_known() {
    let said = [
        (None, "You are number 17 in line"),
        (Some(0), "You are number 17 in line, less than a minute"),
        (Some(44), "You are number 17 in line, less than a minute"),
        (Some(45), "You are number 17 in line, about a minute"),
        (Some(90), "You are number 17 in line, about a minute"),
        (Some(91), "You are number 17 in line, about 2 minutes"),
        (Some(121), "You are number 17 in line, about 3 minutes"),
        (Some(600), "You are number 17 in line, about 10 minutes"),
        (Some(601), "You are number 17 in line, about 15 minutes"),
        (Some(3_300), "You are number 17 in line, about 55 minutes"),
        (Some(3_301), "You are number 17 in line, about an hour"),
        (Some(5_401), "You are number 17 in line, about 2 hours"),
        (Some(u32::MAX), "You are number 17 in line, about 1193047 hours"),
    ];
    for (seconds, text) in said {
        assert_eq!(Place { position: 17, seconds }.sentence(), text);
    }
}

proptest! {
    #[test]
    fn who_stands_further_back_never_waits_less(
        launching in 0..60_u32, at_once in 0..60_u32, per_second in 0.0..30.0_f64, launch in 0.1..900.0_f64,
    ) {
        let line = line(50, launching, at_once, per_second, &[launch]);
        let waits: Vec<_> = (1..=50).map(|position| seconds(&line, position)).collect();
        prop_assert!(waits.is_sorted(), "{waits:?}");
        prop_assert!(waits[0] >= Some(launch as u32));
    }
}
