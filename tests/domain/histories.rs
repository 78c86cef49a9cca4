//! Random histories of random clusters.

use std::collections::{BTreeMap, HashMap};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::{Index, select};
use proptest::test_runner::Config;
use proptest::{prop_assert, prop_assert_eq};
use slipway::domain::cluster::{decide, evolve, replay};
use slipway::domain::desired::{Desired, desired};
use slipway::domain::{
    Access, Claim, Cluster, ClusterId, Command, Door, Endpoint, Event, Launch, Observation, ParkReason, Phase,
    Placed, Prefix, Route, RouteChange, RoutePath, RouteTable, ShareId, Step, StopReason, port,
};

use super::samples::{
    claim, claimed, endpoint, every_reason, every_step, launch, launched_as, put_aside, removal_failed, stock,
    time, workers,
};

const PORTS: [u16; 3] = [8_080, 9_090, 10_100];
const NAMED: [&str; 4] = ["", "app=8501", "app=8501:keep", "app=8501 b=6006"];

fn endpoints() -> impl Strategy<Value = Endpoint> {
    (select(&PORTS[..]), any::<bool>(), select(&NAMED[..])).prop_map(|(first, whole, named)| {
        let mut place = endpoint(first);
        place.named = port::heard(named);
        if !whole {
            place.ports.pop_last();
        }
        place
    })
}

fn steps() -> impl Strategy<Value = Step> {
    select(every_step())
}

fn reasons() -> impl Strategy<Value = StopReason> {
    select(every_reason())
}

fn park_reasons() -> impl Strategy<Value = ParkReason> {
    select(vec![put_aside(), removal_failed()])
}

fn commands() -> impl Strategy<Value = Command> {
    let seen = (vec(steps(), 0..3), proptest::option::weighted(0.7, endpoints()), 0..4_u16);
    prop_oneof![
        3 => (1..12_i64, select(&Access::ALL[..])).prop_map(|(count, access)| {
            Command::Claim(Claim { workers: workers(count), access, ..claim() })
        }),
        1 => (1..12_i64).prop_map(|count| Command::Launch(Launch { workers: workers(count), ..launch() })),
        2 => (1..12_i64).prop_map(|count| Command::Scale { workers: workers(count) }),
        1 => reasons().prop_map(|reason| Command::Stop { reason }),
        6 => seen.prop_map(|(steps, endpoint, workers_ready)| {
            Command::Report(Observation::Present { steps, endpoint, workers_ready })
        }),
        2 => Just(Command::Report(Observation::Absent)),
        2 => Just(Command::Admit),
        1 => select(&Access::ALL[..]).prop_map(|access| Command::SetAccess { access }),
        2 => (0..3_u64, 0..60_u32, 0..60_u32).prop_map(|(share, until, now)| {
            Command::Share { id: ShareId::from_number(share), until: time(until), now: time(now) }
        }),
        1 => (0..3_u64).prop_map(|share| Command::Unshare { id: ShareId::from_number(share) }),
        1 => Just(Command::GiveUp { why: "no room".to_owned() }),
        1 => park_reasons().prop_map(|reason| Command::Park { reason }),
        1 => Just(Command::Requeue { why: None }),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(super::samples::launched()),
        Just(launched_as(stock())),
        Just(claimed()),
        Just(Event::Admitted {}),
        steps().prop_map(|step| Event::StepReached { step }),
        endpoints().prop_map(Event::BecameReady),
        Just(super::samples::launch_failed()),
        (1..9_i64).prop_map(|count| Event::ScaleRequested { workers: workers(count) }),
        any::<u16>().prop_map(|workers| Event::Scaled { workers }),
        reasons().prop_map(|reason| Event::StopRequested { reason }),
        select(&Access::ALL[..]).prop_map(|access| Event::AccessSet { access }),
        (any::<u64>(), 0..60_u32)
            .prop_map(|(share, until)| Event::Shared { id: ShareId::from_number(share), until: time(until) }),
        any::<u64>().prop_map(|share| Event::Unshared { id: ShareId::from_number(share) }),
        park_reasons().prop_map(|reason| Event::Parked { reason }),
        Just(Event::Requeued { why: Some("the node is back".to_owned()) }),
        Just(Event::Removed {}),
    ]
}

/// Those that a pool launches.
fn is_stock(id: ClusterId) -> bool {
    id.number().is_multiple_of(2)
}

/// Commands to a few clusters, in turn; each begins with a launch.
fn histories() -> impl Strategy<Value = Vec<(ClusterId, Command)>> {
    let ids: Vec<ClusterId> = (678_343..678_347).filter_map(ClusterId::from_number).collect();
    let asked = |id| if is_stock(id) { stock() } else { launch() };
    let launches = ids.clone().into_iter().map(|id| (id, Command::Launch(asked(id)))).collect::<Vec<_>>();
    vec((select(ids), commands()), 0..80).prop_map(move |rest| launches.iter().cloned().chain(rest).collect())
}

/// Cluster, version, event.
type Log = Vec<(ClusterId, i64, Event)>;

/// The log that these commands lead to, and what the clusters are then.
fn log(commands: &[(ClusterId, Command)]) -> (Log, BTreeMap<ClusterId, Cluster>) {
    let mut log = Vec::new();
    let mut clusters: BTreeMap<ClusterId, (i64, Cluster)> = BTreeMap::new();
    for (id, command) in commands {
        let state = clusters.get(id).map(|(_, cluster)| cluster);
        for event in decide(*id, state, command).unwrap_or_default() {
            let (version, state) = clusters.remove(id).map_or((0, None), |(v, cluster)| (v, Some(cluster)));
            let after = evolve(*id, state, &event).expect("what is decided can follow");
            clusters.insert(*id, (version + 1, after));
            log.push((*id, version + 1, event));
        }
    }
    (log, clusters.into_iter().map(|(id, (_, cluster))| (id, cluster)).collect())
}

/// The routes, and the doors of all clusters that are wanted.
type Held = (BTreeMap<RoutePath, Route>, BTreeMap<ClusterId, Door>);

/// What the route table has to be, said without it.
fn expected(clusters: &BTreeMap<ClusterId, Cluster>) -> Held {
    let mut routes = BTreeMap::new();
    for cluster in clusters.values() {
        if let Phase::Running { endpoint, .. } = &cluster.phase {
            routes.extend(endpoint.ports.iter().map(|(engine, port)| {
                let route = Route { target: (endpoint.address, *port).into(), prefix: Prefix::of(*engine) };
                (RoutePath::of(cluster.id, *engine), route)
            }));
            routes.extend(endpoint.named.iter().map(|(name, named)| {
                let route = Route { target: (endpoint.address, named.port).into(), prefix: named.prefix };
                (RoutePath::named(cluster.id, name), route)
            }));
        }
    }
    (routes, clusters.values().filter_map(|cluster| Some((cluster.id, Door::of(cluster)?))).collect())
}

fn held(table: &RouteTable) -> Held {
    (table.iter().collect(), table.doors().map(|(id, door)| (id, door.clone())).collect())
}

/// A table kept by the changes alone, as a proxy does.
fn follow((routes, doors): &mut Held, changes: Vec<RouteChange>) {
    for change in changes {
        match change {
            RouteChange::Put { path, route, .. } => {
                // Nobody may find the route without its door, which is shut while it is nobody's.
                let cluster = path.cluster().expect("of a cluster");
                assert!(is_stock(cluster) || doors.contains_key(&cluster), "{path}");
                routes.insert(path, route);
            }
            RouteChange::Remove { path } => {
                routes.remove(&path);
            }
            RouteChange::Door { cluster, door: Some(door) } => {
                doors.insert(cluster, door);
            }
            RouteChange::Door { cluster, door: None } => {
                doors.remove(&cluster);
            }
        }
    }
}

proptest! {
    // What fails is printed, and becomes a test of its own rather than a file of seeds.
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn what_is_decided_can_follow_and_every_prefix_replays_to_the_state_it_had(commands in vec(commands(), 0..60)) {
        let id = super::samples::id();
        let mut events: Vec<Event> = Vec::new();
        let mut states: Vec<Option<Cluster>> = vec![None];
        for command in &commands {
            for event in decide(id, states.last().and_then(Option::as_ref), command).unwrap_or_default() {
                let before = states.last().cloned().flatten();
                states.push(Some(evolve(id, before, &event).expect("what is decided can follow")));
                events.push(event);
            }
        }
        for (length, state) in states.iter().enumerate() {
            prop_assert_eq!(&replay(id, &events[..length]).expect("a prefix can be"), state);
        }
    }

    #[test]
    fn a_state_that_was_kept_as_json_goes_on_to_the_same(commands in vec(commands(), 0..60), at in any::<Index>()) {
        let id = super::samples::id();
        let commands: Vec<_> = [Command::Launch(launch())].into_iter().chain(commands).map(|one| (id, one)).collect();
        let events: Vec<Event> = log(&commands).0.into_iter().map(|(_, _, event)| event).collect();
        let (first, rest) = events.split_at(1 + at.index(events.len()));
        let kept = serde_json::to_value(replay(id, first).expect("a prefix can be")).expect("it has a JSON form");
        let kept: Option<Cluster> = serde_json::from_value(kept).expect("it can be read");
        let resumed = rest.iter().try_fold(kept, |state, event| evolve(id, state, event).map(Some));
        let resumed = resumed.expect("the rest can follow");
        prop_assert_eq!(resumed, replay(id, &events).expect("all of it can be"));
    }

    #[test]
    fn a_cluster_is_unwanted_exactly_when_it_is_not_live_or_waits(commands in histories()) {
        for cluster in log(&commands).1.values() {
            let wanted = cluster.phase.is_live() && cluster.phase != Phase::Waiting;
            prop_assert_eq!(desired(cluster) == Desired::Absent, !wanted);
        }
    }

    #[test]
    fn a_cluster_never_wants_more_workers_than_its_limit(commands in histories()) {
        for cluster in log(&commands).1.values() {
            prop_assert!(cluster.workers <= cluster.limits.workers);
        }
    }

    #[test]
    fn the_same_report_twice_is_recorded_once(commands in vec(commands(), 0..30), report in commands()) {
        let id = super::samples::id();
        let (log, clusters) = log(&commands.into_iter().map(|command| (id, command)).collect::<Vec<_>>());
        if let (Some(cluster), Command::Report(_)) = (clusters.get(&id), &report) {
            let first = decide(id, Some(cluster), &report).expect("reports are never refused");
            let history = log.iter().map(|(_, _, event)| event).chain(&first);
            let after = replay(id, history).expect("what is decided can follow");
            prop_assert_eq!(decide(id, after.as_ref(), &report), Ok(vec![]));
        }
    }

    #[test]
    fn no_sequence_of_events_panics(events in vec(any_event(), 0..12)) {
        let id = super::samples::id();
        let mut state = None;
        for event in &events {
            match evolve(id, state.clone(), event) {
                Ok(cluster) => state = Some(cluster),
                Err(impossible) => prop_assert!(impossible.to_string().contains(event.kind())),
            }
        }
        let _ = replay(id, &events);
    }

    #[test]
    fn every_event_survives_its_json(event in any_event()) {
        let json = serde_json::to_string(&event).expect("it has a JSON form");
        prop_assert_eq!(serde_json::from_str::<Event>(&json).expect("it can be read"), event);
    }

    #[test]
    fn the_table_holds_exactly_the_routes_of_what_runs(commands in histories()) {
        let (log, clusters) = log(&commands);
        let (mut table, mut kept) = (RouteTable::default(), Held::default());
        for (id, version, event) in &log {
            follow(&mut kept, table.apply(*id, *version, event, time(0)));
        }
        prop_assert_eq!(held(&table), expected(&clusters));
        prop_assert_eq!(&kept, &held(&table));
    }

    #[test]
    fn events_that_come_twice_change_nothing(commands in histories(), again in 0..1_000_usize) {
        let (log, clusters) = log(&commands);
        let mut table = RouteTable::default();
        for (id, version, event) in &log {
            table.apply(*id, *version, event, time(0));
            prop_assert_eq!(table.apply(*id, *version, event, time(1)), vec![]);
        }
        for (id, version, event) in &log[again % (log.len() + 1)..] {
            prop_assert_eq!(table.apply(*id, *version, event, time(1)), vec![]);
        }
        prop_assert_eq!(held(&table), expected(&clusters));
    }

    #[test]
    fn a_table_that_starts_later_and_reads_too_much_is_the_same(
        commands in histories(), known in 0..1_000_usize, from in 0..1_000_usize,
    ) {
        let (log, clusters) = log(&commands);
        let known = known % (log.len() + 1);
        let from = from % (known + 1);
        let mut states: BTreeMap<ClusterId, (i64, Option<Cluster>)> = BTreeMap::new();
        for (id, version, event) in &log[..known] {
            let before = states.remove(id).and_then(|(_, state)| state);
            states.insert(*id, (*version, Some(evolve(*id, before, event).expect("it can follow"))));
        }
        let (mut table, mut kept) = (RouteTable::default(), Held::default());
        for (id, (version, state)) in &states {
            let endpoint = state.as_ref().and_then(|cluster| match &cluster.phase {
                Phase::Running { endpoint, .. } => Some(endpoint.clone()),
                Phase::Waiting | Phase::Launching | Phase::Failed { .. } | Phase::Stopping { .. } | Phase::Gone { .. } => None,
            });
            let door = state.as_ref().and_then(Door::of);
            follow(&mut kept, table.start_at(*id, Placed { version: *version, endpoint, door, since: time(0) }));
        }
        for (id, version, event) in &log[from..known] {
            prop_assert_eq!(table.apply(*id, *version, event, time(1)), vec![]);
        }
        for (id, version, event) in &log[known..] {
            follow(&mut kept, table.apply(*id, *version, event, time(1)));
        }
        prop_assert_eq!(held(&table), expected(&clusters));
        prop_assert_eq!(&kept, &held(&table));
    }

    #[test]
    fn a_table_that_starts_anew_tells_the_difference_and_goes_on_from_there(
        commands in histories(), known in 0..1_000_usize, others in histories(),
    ) {
        // First the table of another log: as after a restore, or when the log could not be read for long.
        let ((log, clusters), (before, _)) = (log(&commands), self::log(&others));
        let (mut table, mut kept) = (RouteTable::default(), Held::default());
        for (id, version, event) in &before {
            follow(&mut kept, table.apply(*id, *version, event, time(0)));
        }
        let known = known % (log.len() + 1);
        let mut source = RouteTable::default();
        for (id, version, event) in &log[..known] {
            source.apply(*id, *version, event, time(1));
        }
        let placed: HashMap<_, _> = source.placed().map(|(id, placed)| (id, placed.clone())).collect();
        follow(&mut kept, table.restart_at(placed.clone()));
        prop_assert_eq!(&kept, &held(&source));
        prop_assert_eq!(&held(&table), &held(&source));
        prop_assert_eq!(table.restart_at(placed), vec![], "a second time there is no difference");

        let all: HashMap<_, _> = {
            let mut versions = BTreeMap::new();
            for (id, version, _) in &log[..known] {
                versions.insert(*id, *version);
            }
            let placed: BTreeMap<_, _> = source.placed().map(|(id, placed)| (id, placed.clone())).collect();
            let at = |id, version| placed.get(&id).cloned().unwrap_or(Placed { version, endpoint: None, door: None, since: time(1) });
            versions.into_iter().map(|(id, version)| (id, at(id, version))).collect()
        };
        follow(&mut kept, table.restart_at(all));
        for (id, version, event) in &log {
            follow(&mut kept, table.apply(*id, *version, event, time(2)));
        }
        prop_assert_eq!(held(&table), expected(&clusters));
        prop_assert_eq!(&kept, &held(&table));
    }
}
