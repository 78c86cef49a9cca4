//! The log has what only a newer slipway can read: this one keeps its hands off that cluster, and all else goes on.

use std::collections::BTreeSet;
use std::process::Command as Process;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway::clock::Clock;
use slipway::domain::line::Throttle;
use slipway::domain::{ClusterId, Command, Event, RouteChange, StopReason};
use slipway::service::Service;
use slipway::service::admission::Admission;
use slipway::service::feed::Feed;
use slipway::service::keeper::{Keeper, KeeperConfig};
use slipway::service::routes::Router;
use slipway::store::Store;
use slipway::store::clusters::Whose;
use sqlx::{AssertSqlSafe, PgPool};

use crate::harness::{NO_CAPS, database, eventually, launch, meta, subject, workers};
use crate::house::House;
use crate::simulated::Simulated;

/// As a newer slipway would: an event, and maybe a state, that this one does not know. A worker has to see to it.
async fn levitate(pool: &PgPool, id: ClusterId, state: &str) {
    let append = format!(
        "SELECT slipway.append('{id}', c.version, 'newer', gen_random_uuid(), NULL, ARRAY[gen_random_uuid()],
            ARRAY['Levitated'], 2::smallint, ARRAY['{{}}'::jsonb], {state}, c.status, c.owner, c.live,
            c.workers_wanted, true, 0, 0, 0, 0, NULL, NULL)
           FROM slipway.cluster c WHERE id = '{id}'"
    );
    sqlx::raw_sql(AssertSqlSafe(append)).execute(pool).await.expect("the database takes it");
}

const KNOWN: &str = "c.state";
const UNKNOWN: &str = r#"jsonb_set(c.state, '{phase,name}', '"levitating"')"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_leaves_it_to_a_newer_one_and_sees_to_the_others() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    house.work("one", &runtime, Clock::system());
    let (poisoned, other) = (house.running().await, house.running().await);
    levitate(&house.pool, poisoned, UNKNOWN).await;
    let row = async || -> (i32, Option<String>, Option<DateTime<Utc>>) {
        let row = "SELECT attempt, last_error, parked_at FROM slipway.work WHERE stream_id = $1";
        sqlx::query_as(row).bind(poisoned.to_string()).fetch_one(&house.pool).await.expect("a row")
    };
    let mut tries = BTreeSet::new();
    eventually("ten tries", async || {
        house.hurry().await;
        let tokens = "SELECT lease_token FROM slipway.work WHERE stream_id = $1";
        let tokens = sqlx::query_scalar::<_, i64>(tokens).bind(poisoned.to_string());
        tries.insert(tokens.fetch_one(&house.pool).await.expect("a row"));
        (tries.len() > 10).then_some(())
    })
    .await;
    let (attempt, error, parked) = eventually("its last try to end", async || {
        let row = row().await;
        (row.0 == 0).then_some(row)
    })
    .await;
    assert_eq!((attempt, parked), (0, None), "a newer worker will not find it given up");
    let error = error.expect("the reason");
    assert!(error.contains("type Levitated (schema 2) cannot be read: it is from a newer slipway"), "{error}");
    assert!(runtime.clusters().contains_key(&poisoned), "nobody has touched it");
    house.tell(other, Command::Scale { workers: workers(5) }).await;
    eventually("the other to be scaled", async || (runtime.clusters().get(&other) == Some(&5)).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_judges_the_others_and_sweeps_nothing_away_that_it_cannot_judge() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    house.work("one", &runtime, Clock::system());
    let (poisoned, idle) = (house.running().await, house.running().await);
    let orphan: ClusterId = "cluster-999999999999".parse().expect("an id");
    runtime.world().insert(orphan, 1);
    levitate(&house.pool, poisoned, UNKNOWN).await;
    let store = house.service.store();
    let listed = store.clusters(Whose::Everyones, DateTime::UNIX_EPOCH, 10).await.expect("a list");
    assert_eq!(listed.iter().map(|row| row.cluster.id).collect::<Vec<_>>(), [idle]);
    assert_eq!(store.standings().await.expect("a list").len(), 1);
    let config = KeeperConfig {
        name: subject("keeper"),
        every: Duration::from_secs(1),
        resync: Duration::from_secs(60),
        watching_since: DateTime::UNIX_EPOCH,
    };
    let clock = Clock::from_fn(|| Utc::now() + TimeDelta::hours(2));
    Keeper::new(house.service.clone(), Arc::clone(&runtime), clock, config)
        .round(Some(Duration::ZERO), &mut None)
        .await
        .expect("a round");
    let events = store.stream(idle).await.expect("events");
    let culled = |event: &Event| matches!(event, Event::StopRequested { reason: StopReason::Idle(_) });
    assert!(events.iter().any(|recorded| culled(&recorded.event)));
    assert!(runtime.clusters().contains_key(&poisoned) && !runtime.clusters().contains_key(&orphan));
}

#[tokio::test]
async fn whoever_waits_behind_it_in_line_is_admitted() {
    let house = House::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let launched = house.service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
        ids.push(launched.cluster.id);
    }
    levitate(&house.pool, ids[0], KNOWN).await;
    let store = house.service.store();
    for (at_once, left) in [(1, vec![ids[0], ids[2]]), (9, vec![ids[0]])] {
        store.set_throttle(Throttle { at_once, per_second: 0.0 }).await.expect("set");
        Admission::new(house.service.clone(), subject("one"), Throttle::FREE).round().await.expect("a round");
        assert_eq!(store.line().await.expect("the line").waiting, left);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_follow_the_log_go_on_past_it() {
    let house = House::new().await;
    let store: Store = house.service.store().clone();
    let [before, poisoned, hidden] = [house.launched().await, house.launched().await, house.launched().await];
    let doors = Arc::<Mutex<BTreeSet<ClusterId>>>::default();
    let (shown, following, bell) = (Arc::clone(&doors), store.clone(), house.bell.subscribe());
    tokio::spawn(async move {
        let apply = |changes: Vec<RouteChange>| {
            let mut doors = shown.lock().expect("no panic");
            for change in changes {
                if let RouteChange::Door { cluster, door } = change {
                    if door.is_some() {
                        doors.insert(cluster)
                    } else {
                        doors.remove(&cluster)
                    };
                }
            }
        };
        Router::default().follow(&following, bell, false, apply, || ()).await.expect("it goes on");
    });
    let has = async |wanted: &[ClusterId]| {
        eventually("these doors", async || {
            house.bell.send_replace(());
            (*doors.lock().expect("no panic") == wanted.iter().copied().collect()).then_some(())
        })
        .await;
    };
    has(&[before, poisoned, hidden]).await;
    let feed = Feed::default();
    let (mut events, feeding, bell) = (feed.subscribe(), store.clone(), house.bell.subscribe());
    tokio::spawn(async move { feed.run(&feeding, bell).await });
    // The feed begins somewhere.
    eventually("the feed to begin", async || {
        house.launched().await;
        tokio::time::timeout(Duration::from_millis(200), events.recv()).await.ok()?.ok()
    })
    .await;
    let stop = async |id| house.tell(id, Command::Stop { reason: StopReason::Owner }).await;
    for row in store.clusters(Whose::Everyones, DateTime::UNIX_EPOCH, 100).await.expect("a list") {
        if ![before, poisoned, hidden].contains(&row.cluster.id) {
            stop(row.cluster.id).await;
        }
    }
    levitate(&house.pool, poisoned, KNOWN).await;
    levitate(&house.pool, hidden, UNKNOWN).await;
    let after = house.launched().await;
    has(&[before, poisoned, after]).await;
    let told = async { while events.recv().await.expect("the feed goes on").cluster != after {} };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("in time");
    stop(before).await;
    has(&[poisoned, after]).await;
}

#[tokio::test]
async fn replay_rebuilds_the_others_and_verify_names_it() {
    let (pool, url) = database().await;
    let service = Service::new(Store::over(pool.clone()), NO_CAPS);
    let launched =
        async || service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    let ids = [launched().await, launched().await, launched().await];
    for id in ids {
        service.execute(id, &Command::Admit, &meta("one"), None).await.expect("admitted");
    }
    levitate(&pool, ids[1], KNOWN).await;
    let rows = async || -> Vec<String> {
        let rows = "SELECT to_jsonb(c)::text FROM slipway.cluster c ORDER BY id";
        sqlx::query_scalar(rows).fetch_all(&pool).await.expect("rows")
    };
    let before = rows().await;
    let wrong = "UPDATE slipway.cluster SET workers_wanted = 7 WHERE id <> $1";
    sqlx::query(wrong).bind(ids[1].to_string()).execute(&pool).await.expect("spoilt");
    let run = |command: &str| {
        let output = Process::new(env!("CARGO_BIN_EXE_slipway")).args([command, "--database-url", &url]).output();
        let output = output.expect("it runs");
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (output.status.success(), told)
    };
    let (well, told) = run("replay");
    assert!(!well && told.contains("of 2 clusters") && told.contains("from a newer slipway"), "{told}");
    assert_eq!(rows().await, before);
    let (well, told) = run("verify");
    assert!(!well && told.contains("Levitated") && told.contains("1 things are wrong among 3 clusters"), "{told}");
}
