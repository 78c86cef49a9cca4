//! Where a launch stands in line, and for how long.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use slipway::domain::ClusterId;
use slipway::domain::line::{Launching, Line, Place, Stands, Throttle, in_turn};

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

/// Launches of these owners, oldest first; `!` marks those under way, `?` those that were put aside.
fn launching(owners: &[&str]) -> Vec<Launching> {
    let launch = |(id, owner): (ClusterId, &&str)| Launching {
        id,
        owner: owner.trim_end_matches(['!', '?']).to_owned(),
        stock: owner.starts_with("pool:"),
        stands: match owner.chars().last() {
            Some('!') => Stands::Admitted,
            Some('?') => Stands::Aside,
            _ => Stands::InLine,
        },
    };
    ids(owners.len() as u64).into_iter().zip(owners).map(launch).collect()
}

/// Whose launches are admitted, in this order; with the number of each in the order of the clicks.
fn turns(owners: &[&str]) -> Vec<String> {
    let all = launching(owners);
    let number = |id: &ClusterId| all.iter().position(|launch| launch.id == *id).expect("one of them");
    in_turn(&all).iter().map(|id| format!("{}{}", owners[number(id)], number(id))).collect()
}

#[test]
fn whoever_came_first_is_admitted_first() {
    assert_eq!(turns(&["ann", "bob", "cid"]), ["ann0", "bob1", "cid2"]);
}

#[test]
fn one_who_launches_many_lets_the_others_go_between() {
    assert_eq!(
        turns(&["ann", "ann", "ann", "bob", "cid", "bob"]),
        ["ann0", "bob3", "cid4", "ann1", "bob5", "ann2"]
    );
}

#[test]
fn what_is_under_way_was_its_owners_turn() {
    assert_eq!(turns(&["ann!", "ann", "bob", "ann!", "bob"]), ["bob2", "bob4", "ann1"]);
}

#[test]
fn what_was_put_aside_is_nobodys_turn() {
    assert_eq!(turns(&["ann?", "ann", "bob", "ann"]), ["ann1", "bob2", "ann3"]);
}

proptest! {
    #[test]
    fn owners_take_turns_and_nobody_is_left_out(launches in vec((0..5_u8, any::<bool>()), 0..40)) {
        let names: Vec<String> = launches
            .iter()
            .map(|(owner, under_way)| format!("owner{owner}{}", if *under_way { "!" } else { "" }))
            .collect();
        let all = launching(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let line = in_turn(&all);
        let of: HashMap<ClusterId, &Launching> = all.iter().map(|launch| (launch.id, launch)).collect();
        prop_assert_eq!(line.len(), all.iter().filter(|launch| launch.stands == Stands::InLine).count());
        let mut had: HashMap<&str, usize> = HashMap::new();
        for launch in all.iter().filter(|launch| launch.stands == Stands::Admitted) {
            *had.entry(&launch.owner).or_default() += 1;
        }
        let mut before: Option<(usize, ClusterId)> = None;
        for id in &line {
            let had = had.entry(of[id].owner.as_str()).or_default();
            // Ids grow with the time of the click.
            let turn = (*had, *id);
            prop_assert!(before.is_none_or(|before| before < turn));
            before = Some(turn);
            *had += 1;
        }
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

#[test]
fn what_a_pool_is_to_have_ready_comes_after_everybody() {
    let line = turns(&["pool:default:1", "pool:default:1", "anna", "anna", "pool:large:2", "bob"]);
    assert_eq!(line, ["anna2", "bob5", "anna3", "pool:default:10", "pool:large:24", "pool:default:11"]);
}
