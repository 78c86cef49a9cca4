//! What is kept ready, when, and how it gets its owner.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc, Weekday};
use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};
use proptest::{prop_assert, prop_assert_eq};
use slipway::domain::pool::{Period, Unclaimed, Upkeep, pause, upkeep};
use slipway::domain::{
    Access, Claim, ClusterId, Command, Door, Event, Keyring, Pool, Profile, Refusal, RouteChange, RouteTable,
    Shape, StopReason,
};

use super::samples::{
    Given, absent, claim, claimed, endpoint, id, launch, launched_as, parked, pool, present, put_aside, ready,
    share, stock, stop_requested, time, workers,
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn clock(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").expect("a time of day")
}

fn period(days: &[Weekday], from: &str, to: &str, ready: u16) -> Period {
    Period { days: days.to_vec(), from: clock(from), to: clock(to), ready }
}

fn profile() -> Profile {
    Profile {
        name: launch().profile,
        title: "Dask".to_owned(),
        description: String::new(),
        workers: launch().workers,
        materials: launch().materials,
        limits: launch().limits,
        access: Access::Class,
        shape: Shape::default(),
        pool: Some(Pool { ready: 2, timezone: chrono_tz::UTC, schedule: vec![] }),
    }
}

/// One that is ready to be claimed.
fn kept() -> Given {
    Given(vec![launched_as(stock()), Event::Admitted {}, ready(), Event::Scaled { workers: 2 }])
}

// --- the schedule

#[test]
fn the_schedule_goes_by_the_clocks_of_the_place_in_summer_and_in_winter() {
    let class = period(&[Weekday::Mon], "08:45", "10:00", 30);
    let pool = Pool { ready: 2, timezone: chrono_tz::Europe::Amsterdam, schedule: vec![class] };
    for (when, wanted) in [
        ("2026-07-06T06:44:59Z", 2),
        ("2026-07-06T06:45:00Z", 30),
        ("2026-07-06T07:59:59Z", 30),
        ("2026-07-06T08:00:00Z", 2),
        ("2026-01-05T06:45:00Z", 2),
        ("2026-01-05T07:45:00Z", 30),
        ("2026-07-07T07:00:00Z", 2),
    ] {
        assert_eq!(pool.wanted(at(when)), wanted, "{when}");
    }
}

#[test]
fn a_period_that_ends_before_it_begins_ends_on_the_next_day() {
    let night = period(&[Weekday::Sun], "22:00", "06:00", 0);
    let pool = Pool { ready: 5, timezone: chrono_tz::UTC, schedule: vec![night] };
    for (when, wanted) in [
        ("2026-01-04T21:59:59Z", 5),
        ("2026-01-04T22:00:00Z", 0),
        ("2026-01-05T05:59:59Z", 0),
        ("2026-01-05T06:00:00Z", 5),
        ("2026-01-05T22:00:00Z", 5),
        ("2026-01-04T05:00:00Z", 5),
    ] {
        assert_eq!(pool.wanted(at(when)), wanted, "{when}");
    }
}

#[test]
fn the_first_period_that_holds_counts() {
    let exam = period(&[Weekday::Mon], "09:00", "10:00", 0);
    let class = period(&[Weekday::Mon], "08:00", "12:00", 20);
    let pool = Pool { ready: 1, timezone: chrono_tz::UTC, schedule: vec![exam, class] };
    assert_eq!(pool.wanted(at("2026-01-05T08:30:00Z")), 20);
    assert_eq!(pool.wanted(at("2026-01-05T09:30:00Z")), 0);
    assert_eq!(pool.wanted(at("2026-01-05T12:00:00Z")), 1);
}

// --- the upkeep

fn there(number: u64, is_ready: bool, is_current: bool, minute: u32) -> Unclaimed {
    let id = ClusterId::from_number(678_000 + number).expect("a number");
    Unclaimed { id, is_ready, is_current, launched_at: time(minute) }
}

#[test]
fn what_is_missing_is_launched_and_what_is_too_much_is_stopped_the_newest_first() {
    let some =
        [there(1, true, true, 1), there(2, false, true, 2), there(3, true, true, 3), there(4, false, true, 4)];
    assert_eq!(upkeep(6, &some, 0, time(30)), Upkeep { launch: 2, stop: vec![] });
    assert_eq!(upkeep(4, &some, 0, time(30)), Upkeep::default());
    let surplus = |number: usize| (some[number - 1].id, StopReason::Surplus);
    assert_eq!(upkeep(2, &some, 0, time(30)), Upkeep { launch: 0, stop: vec![surplus(2), surplus(4)] });
    assert_eq!(upkeep(1, &some, 0, time(30)).stop, vec![surplus(3), surplus(2), surplus(4)]);
}

#[test]
fn what_is_of_an_earlier_profile_goes_at_once_and_what_is_old_when_a_newer_one_is_ready() {
    let earlier = there(1, true, false, 1);
    let (old, older) = (there(2, true, true, 2), there(3, true, true, 1));
    let todo = upkeep(2, &[earlier.clone(), old.clone(), older.clone()], 600, time(30));
    assert_eq!(todo, Upkeep { launch: 2, stop: vec![(earlier.id, StopReason::Outdated)] });
    let (coming, fresh) = (there(4, false, true, 29), there(5, true, true, 29));
    let todo = upkeep(2, &[old.clone(), older.clone(), coming.clone(), fresh.clone()], 600, time(30));
    assert_eq!(todo, Upkeep { launch: 0, stop: vec![(older.id, StopReason::Outdated)] });
    let second = there(4, true, true, 29);
    let todo = upkeep(2, &[old.clone(), second, fresh], 600, time(30));
    assert_eq!(todo.stop, vec![(old.id, StopReason::Outdated)]);
}

#[test]
fn launches_that_fail_again_and_again_are_not_repeated_at_once() {
    let pauses: Vec<i64> = (0..12).map(|failures| pause(failures).num_seconds()).collect();
    assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600]);
}

fn pools() -> impl Strategy<Value = Vec<Unclaimed>> {
    let one = (any::<bool>(), weighted(0.9), 0..50_u32);
    vec(one, 0..12).prop_map(|all| {
        (0..)
            .zip(all)
            .map(|(number, (is_ready, is_current, minute))| there(number, is_ready, is_current, minute))
            .collect()
    })
}

proptest! {
    #[test]
    fn a_pool_that_is_kept_has_what_is_wanted_and_no_round_takes_what_could_be_claimed(
        wanted in 0..12_u16, mut pool in pools(), oldest in 0..2_u32,
    ) {
        let (now, oldest) = (time(50), oldest * 1_500);
        let claimable = |pool: &[Unclaimed]| pool.iter().filter(|it| it.is_ready && it.is_current).count();
        let before = claimable(&pool);
        // Two rounds, and what was launched is ready after each.
        for round in 0..2_u64 {
            let todo = upkeep(wanted, &pool, oldest, now);
            pool.retain(|it| todo.stop.iter().all(|(id, _)| *id != it.id));
            prop_assert!(claimable(&pool) >= before.min(wanted.into()), "nobody waits for the upkeep");
            pool.extend((0..todo.launch).map(|n| there(100 + round * 20 + u64::from(n), true, true, 50)));
            pool.iter_mut().for_each(|it| it.is_ready = true);
        }
        prop_assert_eq!(upkeep(wanted, &pool, oldest, now), Upkeep::default(), "it has come to rest");
        prop_assert_eq!(pool.len(), usize::from(wanted));
        let is_old = |it: &Unclaimed| oldest > 0 && now - it.launched_at >= TimeDelta::seconds(oldest.into());
        prop_assert!(pool.iter().all(|it| it.is_current && !is_old(it)));
    }
}

// --- the claim

#[test]
fn whoever_claims_is_its_owner_and_the_only_one_who_enters() {
    kept().when(&Command::Claim(claim())).then(&[claimed()]);
    assert_eq!(kept().state().as_ref().and_then(Door::of), None, "before nobody does");
    let cluster = kept().and(claimed()).state().expect("it is there");
    let door = Door::of(&cluster).expect("a door");
    assert_eq!((&door.owner, door.access, door.shares.len()), (&launch().owner, Access::Owner, 0));
    assert_eq!(cluster.claimant(), Some(&launch().owner));
}

#[test]
fn another_size_and_the_access_of_the_profile_come_with_the_claim() {
    let asked = Claim { workers: workers(5), access: Access::Class, ..claim() };
    let events =
        [claimed(), Event::ScaleRequested { workers: workers(5) }, Event::AccessSet { access: Access::Class }];
    kept().when(&Command::Claim(asked)).then(&events);
    let more = Claim { workers: workers(9), ..claim() };
    let refusal = Refusal::TooManyWorkers { asked: workers(9), most: workers(8) };
    kept().when(&Command::Claim(more)).then_refused(&refusal);
}

#[test]
fn only_what_is_ready_and_nobodys_is_claimed_and_once() {
    let begun = || Given(vec![launched_as(stock())]);
    let refused = [
        ("in line", begun()),
        ("launching", begun().and(Event::Admitted {})),
        ("without workers", begun().and(Event::Admitted {}).and(ready())),
        ("put aside", kept().and(parked(put_aside()))),
        ("stopping", kept().and(stop_requested())),
        ("claimed", kept().and(claimed())),
        ("somebody's from the beginning", Given::phase("running with workers")),
    ];
    for (name, given) in refused {
        let outcome = given.when(&Command::Claim(claim()));
        assert_eq!(outcome.decided, Err(Refusal::NotClaimable(id())), "{name}");
    }
    let nothing = Given::nothing().when(&Command::Claim(claim()));
    nothing.then_refused(&Refusal::Unknown(id()));
    let of_another = Claim { pool: "pool:default:0000000000000000".parse().expect("a subject"), ..claim() };
    kept().when(&Command::Claim(of_another)).then_refused(&Refusal::NotClaimable(id()));
    let by_nobody = Claim { owner: pool(), ..claim() };
    kept().when(&Command::Claim(by_nobody)).then_refused(&Refusal::NotClaimable(id()));
}

#[test]
fn what_is_nobodys_can_be_stopped_but_not_changed() {
    let changes = [
        Command::Scale { workers: workers(3) },
        Command::SetAccess { access: Access::Public },
        Command::Share { id: share(), until: time(30), now: time(0) },
        Command::Unshare { id: share() },
    ];
    for change in changes {
        kept().when(&change).then_refused(&Refusal::Unclaimed(id()));
    }
    for reason in [StopReason::Admin, StopReason::Surplus, StopReason::Outdated] {
        kept().when(&Command::Stop { reason: reason.clone() }).then(&[Event::StopRequested { reason }]);
    }
    kept().when(&absent()).then(&[Event::Scaled { workers: 0 }]);
    kept().when(&present(&[], Some(endpoint(8080)), 2)).then(&[]);
}

#[test]
fn a_pool_takes_nothing_from_whoever_was_faster() {
    for reason in [StopReason::Surplus, StopReason::Outdated] {
        kept().and(claimed()).when(&Command::Stop { reason: reason.clone() }).then(&[]);
        Given::phase("running").when(&Command::Stop { reason }).then(&[]);
    }
}

#[test]
fn routes_lead_to_what_is_kept_ready_and_their_door_is_shut_until_the_claim() {
    let mut table = RouteTable::default();
    let mut doors = Vec::new();
    for (version, event) in (1..).zip(kept().and(claimed()).0) {
        let changes = table.apply(id(), version, &event, time(0));
        doors.extend(changes.into_iter().filter_map(|change| match change {
            RouteChange::Door { door, .. } => Some((version, door.map(|door| (door.owner, door.claimed)))),
            RouteChange::Put { .. } | RouteChange::Remove { .. } => None,
        }));
    }
    assert_eq!(doors, [(5, Some((launch().owner, true)))]);
    assert!(table.iter().count() > 0);
}

#[test]
fn the_pass_is_a_new_one_and_nobody_can_be_a_pool() {
    let keyring = Keyring::new(vec![1; 32]).expect("32 bytes");
    let owner = launch().owner;
    let (before, after) = (keyring.pass(id(), None), keyring.pass(id(), Some(&owner)));
    assert!(keyring.verify_pass(id(), Some(&owner), &after) && keyring.verify_pass(id(), None, &before));
    assert!(!keyring.verify_pass(id(), Some(&owner), &before) && !keyring.verify_pass(id(), None, &after));
    assert_ne!(after, keyring.pass(id(), Some(&"browser:other".parse().expect("a subject"))));
    assert_eq!(keyring.verify_cookie(&keyring.sign_cookie(&pool())), None);
}

// --- the recipe

#[test]
fn a_launch_is_served_by_the_pool_of_its_profile_unless_it_wants_other_materials() {
    let profile = profile();
    assert_eq!(profile.stock().owner, profile.pool_owner());
    assert_eq!(profile.stock().access, Access::Owner, "nobody but its owner enters at first");
    let asked = |workers, materials| profile.pool_for(&profile.launch(launch().owner, workers, materials));
    assert_eq!(asked(None, None), Some(profile.pool_owner()));
    assert_eq!(asked(Some(workers(7)), Some(profile.materials.clone())), Some(profile.pool_owner()));
    assert_eq!(asked(None, Some(vec![])), None);
    let without = Profile { pool: None, ..profile.clone() };
    assert_eq!(without.pool_for(&without.launch(launch().owner, None, None)), None);
}

#[test]
fn whatever_changes_what_a_launch_gets_makes_another_pool() {
    let profile = profile();
    let image = Shape { image: "localhost/other:1".to_owned(), ..Shape::default() };
    let mut limits = profile.limits;
    limits.idle_seconds += 1;
    let others = [
        Profile { workers: workers(3), ..profile.clone() },
        Profile { materials: vec![], ..profile.clone() },
        Profile { limits, ..profile.clone() },
        Profile { shape: image, ..profile.clone() },
        Profile { name: "other".parse().expect("a name"), ..profile.clone() },
    ];
    for other in others {
        assert_ne!(other.pool_owner(), profile.pool_owner(), "{other:?}");
        assert!(other.pool_owner().is_pool());
    }
    let same = Profile { title: "Other".to_owned(), access: Access::Public, pool: None, ..profile.clone() };
    assert_eq!(same.pool_owner(), profile.pool_owner());
    let longest = Profile { name: "a".repeat(40).parse().expect("a name"), ..profile };
    let owner = longest.pool_owner();
    assert_eq!(owner.as_str().parse(), Ok(owner), "it can be read again");
}
