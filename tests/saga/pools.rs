//! The pools: filled, claimed from, refilled, made smaller, replaced, and left alone by whoever looks for idle clusters.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc, Weekday};
use slipway::clock::Clock;
use slipway::domain::pool::Period;
use slipway::domain::{Access, ClusterId, Pool, Profile, Shape};
use slipway::service::admission::Admission;
use slipway::service::keeper::{Keeper, KeeperConfig};
use slipway::service::pools::Pools;
use slipway::service::{Executed, Service};
use slipway::store::append::Caps;
use tokio::sync::watch;

use crate::harness::{NO_CAPS, eventually, launch, subject, writer};
use crate::house::House;
use crate::simulated::Simulated;

fn profile(ready: u16) -> Profile {
    let asked = launch("nobody");
    Profile {
        name: asked.profile,
        title: "Dask".to_owned(),
        description: String::new(),
        workers: asked.workers,
        materials: vec![],
        limits: asked.limits,
        access: Access::Class,
        shape: Shape::default(),
        pool: Some(Pool { ready, timezone: chrono_tz::UTC, schedule: vec![] }),
    }
}

struct Given {
    house: House,
    runtime: Arc<Simulated>,
    /// What the pools take for the time.
    now: Arc<Mutex<DateTime<Utc>>>,
}

/// A house with a worker that lets everybody in.
async fn given() -> Given {
    let (house, runtime) = (House::new().await, Simulated::sound());
    let now = Arc::new(Mutex::new("2026-03-02T03:00:00Z".parse().expect("a time")));
    house.work("worker:1", &runtime, Clock::system());
    let admission =
        Admission::new(house.service.clone(), subject("worker:1"), slipway::domain::line::Throttle::FREE);
    let (bell, stop) = (house.bell.subscribe(), house.stop.subscribe());
    tokio::spawn(async move { admission.run(bell, stop).await });
    Given { house, runtime, now }
}

impl Given {
    fn pools(&self, profiles: Vec<Profile>) -> Pools {
        self.pools_within(Caps::NONE, profiles)
    }

    fn pools_within(&self, caps: Caps, profiles: Vec<Profile>) -> Pools {
        let now = Arc::clone(&self.now);
        let clock = Clock::from_fn(move || *now.lock().expect("no panic"));
        let service = Service::new(writer(&self.house.pool), caps);
        Pools::new(service, clock, subject("keeper"), Duration::from_secs(1), profiles)
    }

    async fn round(&self, pools: &Pools) {
        pools.round().await.expect("a round");
        self.house.bell.send_replace(());
    }

    /// What a launch would get, once there is so much.
    async fn kept(&self, profile: &Profile, count: usize) -> BTreeSet<ClusterId> {
        let owner = profile.pool_owner();
        eventually(&format!("{count} to be ready"), async || {
            self.house.bell.send_replace(());
            let ids = self.house.service.store().claimable(&owner, 100).await.expect("an answer");
            (ids.len() == count).then(|| ids.into_iter().collect())
        })
        .await
    }

    async fn click(&self, owner: &str, profile: &Profile) -> Executed {
        let asked = profile.launch(subject(owner), None, None);
        let pool = profile.pool_for(&asked);
        self.house.service.claim_or_launch(asked, pool, subject(owner), None).await.expect("a cluster")
    }

    /// All that pools have launched and nobody has claimed.
    async fn unclaimed(&self) -> usize {
        self.house.service.store().unclaimed().await.expect("an answer").len()
    }

    fn at(&self, time: &str) {
        *self.now.lock().expect("no panic") = time.parse().expect("a time");
    }
}

#[tokio::test]
async fn a_click_gets_a_cluster_that_runs_and_another_one_takes_its_place() {
    let given = given().await;
    let profile = profile(2);
    let pools = given.pools(vec![profile.clone()]);
    given.round(&pools).await;
    let kept = given.kept(&profile, 2).await;
    given.round(&pools).await;
    assert_eq!(given.unclaimed().await, 2, "it has what it is to have");

    let calls = given.runtime.calls();
    let cluster = given.click("anna", &profile).await.cluster;
    assert!(kept.contains(&cluster.id) && cluster.phase.endpoint().is_some(), "at once");
    assert_eq!((cluster.owner, cluster.access), (subject("anna"), Access::Class));
    given.house.becomes(cluster.id, "running").await;
    assert_eq!(given.runtime.calls(), calls, "the world is as it was");
    given.round(&pools).await;
    let refilled = given.kept(&profile, 2).await;
    assert!(!refilled.contains(&cluster.id) && refilled.is_superset(&(&kept - &BTreeSet::from([cluster.id]))));

    // Whoever was on duty has ended between a claim and the launch of another.
    given.click("bob", &profile).await;
    given.click("cid", &profile).await;
    let cold = given.click("dan", &profile).await.cluster;
    assert!(!cold.claimed && cold.phase.endpoint().is_none(), "nothing was ready");
    let next = given.pools(vec![profile.clone()]);
    given.round(&next).await;
    given.round(&given.pools(vec![profile.clone()])).await;
    given.kept(&profile, 2).await;
    assert_eq!(given.unclaimed().await, 2);
    given.house.stop.send_replace(true);
}

#[tokio::test]
async fn the_pool_is_as_large_as_the_hour_asks_for() {
    let given = given().await;
    let at = |text| NaiveTime::parse_from_str(text, "%H:%M").expect("a time of day");
    let class = Period { days: vec![Weekday::Mon], from: at("08:45"), to: at("10:00"), ready: 4 };
    let pool = Pool { ready: 1, timezone: chrono_tz::UTC, schedule: vec![class] };
    let profile = Profile { pool: Some(pool), ..profile(0) };
    let pools = given.pools(vec![profile.clone()]);
    given.round(&pools).await;
    given.kept(&profile, 1).await;
    given.at("2026-03-02T08:45:00Z");
    given.round(&pools).await;
    let class = given.kept(&profile, 4).await;
    let wanted = async || given.house.service.store().stocks().await.expect("an answer").remove(0).wanted;
    assert_eq!(wanted().await, 4);
    let mine = given.click("anna", &profile).await.cluster.id;
    given.at("2026-03-02T10:00:00Z");
    given.round(&pools).await;
    given.kept(&profile, 1).await;
    assert_eq!(wanted().await, 1);
    given.house.becomes(mine, "running").await;
    for id in class {
        if id != mine && given.house.kinds(id).await.contains(&"StopRequested") {
            given.house.becomes(id, "stopped").await;
        }
    }
    // Without a pool there is none.
    given.round(&given.pools(vec![Profile { pool: None, ..profile }])).await;
    assert_eq!(given.unclaimed().await, 0);
    given.house.becomes(mine, "running").await;
    given.house.stop.send_replace(true);
}

#[tokio::test]
async fn what_was_launched_by_an_earlier_profile_is_replaced_and_what_is_old_once_a_newer_one_is_ready() {
    let given = given().await;
    let earlier = profile(2);
    given.at(&Utc::now().to_rfc3339());
    given.round(&given.pools(vec![earlier.clone()])).await;
    let of_earlier = given.kept(&earlier, 2).await;
    let shape = Shape { image: "localhost/other:1".to_owned(), ..Shape::default() };
    let profile = Profile { shape, ..earlier.clone() };
    let pools = given.pools(vec![profile.clone()]);
    given.round(&pools).await;
    assert!(!given.click("anna", &profile).await.cluster.claimed, "not by the recipe that it asked for");
    let kept = given.kept(&profile, 2).await;
    assert!(kept.is_disjoint(&of_earlier));
    for id in of_earlier {
        given.house.becomes(id, "stopped").await;
    }
    // A day later they are as old as any cluster may be.
    given.at(&(Utc::now() + TimeDelta::hours(24)).to_rfc3339());
    given.round(&pools).await;
    let both = given.kept(&profile, 4).await;
    assert!(both.is_superset(&kept), "the old ones serve on");
    given.house.stop.send_replace(true);
}

#[tokio::test]
async fn nobodys_cluster_is_never_idle_and_its_life_begins_with_the_claim() {
    let given = given().await;
    let profile = profile(1);
    given.round(&given.pools(vec![profile.clone()])).await;
    given.kept(&profile, 1).await;
    let keep = async |after: TimeDelta| {
        let config = KeeperConfig {
            name: subject("keeper"),
            every: Duration::from_secs(1),
            resync: Duration::from_secs(60),
            watching_since: DateTime::UNIX_EPOCH,
        };
        let clock = Clock::from_fn(move || Utc::now() + after);
        let keeper = Keeper::new(given.house.service.clone(), Arc::clone(&given.runtime), clock, config);
        keeper.round(None, &mut None).await.expect("a round");
    };
    // It has been there for three days.
    let old = "UPDATE slipway.cluster SET launched_at = launched_at - interval '3 days',
                      admitted_at = admitted_at - interval '3 days', ready_at = ready_at - interval '3 days'";
    sqlx::raw_sql(old).execute(&given.house.pool).await.expect("moved");
    keep(TimeDelta::zero()).await;
    given.kept(&profile, 1).await;
    let id = given.click("anna", &profile).await.cluster.id;
    keep(TimeDelta::minutes(59)).await;
    given.house.becomes(id, "running").await;
    let row = given.house.service.store().cluster(id).await.expect("an answer").expect("a row");
    assert_eq!((row.lives_since(), row.idle_since()), (row.claimed_at, row.claimed_at));
    keep(TimeDelta::minutes(61)).await;
    given.house.becomes(id, "stopped").await;
    given.house.stop.send_replace(true);
}

#[tokio::test]
async fn what_cannot_be_launched_is_not_tried_without_end() {
    let given = given().await;
    let profile = profile(2);
    given.runtime.refuses.store(true, Ordering::SeqCst);
    given.at(&Utc::now().to_rfc3339());
    let pools = given.pools(vec![profile.clone()]);
    given.round(&pools).await;
    eventually("both to fail", async || {
        given.house.bell.send_replace(());
        (given.unclaimed().await == 0).then_some(())
    })
    .await;
    given.at(&Utc::now().to_rfc3339());
    given.round(&pools).await;
    assert_eq!(given.unclaimed().await, 0, "not at once");
    given.runtime.refuses.store(false, Ordering::SeqCst);
    given.at(&(Utc::now() + TimeDelta::minutes(1)).to_rfc3339());
    given.round(&pools).await;
    given.kept(&profile, 2).await;
    given.house.stop.send_replace(true);
}

#[tokio::test]
async fn a_pool_takes_no_more_workers_than_there_may_be() {
    let given = given().await;
    let profile = profile(5);
    let pools = given.pools_within(Caps { total_workers: 6, ..NO_CAPS }, vec![profile.clone()]);
    given.round(&pools).await;
    given.kept(&profile, 3).await;
    given.round(&pools).await;
    assert_eq!(given.unclaimed().await, 3);
    given.house.stop.send_replace(true);
}

#[tokio::test]
async fn one_process_at_a_time_keeps_the_pools_and_refills_as_soon_as_it_hears() {
    let given = given().await;
    let profile = profile(2);
    let (stop, bell) = (watch::Sender::new(false), watch::Sender::new(()));
    let keepers: Vec<_> = (0..3)
        .map(|_| {
            let pools = given.pools(vec![profile.clone()]);
            let (bell, stop) = (bell.subscribe(), stop.subscribe());
            tokio::spawn(async move { pools.run(bell, stop).await })
        })
        .collect();
    given.kept(&profile, 2).await;
    for n in 0..4 {
        given.click(&format!("owner:{n}"), &profile).await;
        bell.send_replace(());
        given.kept(&profile, 2).await;
    }
    assert_eq!(given.unclaimed().await, 2, "nobody has launched beside another");
    stop.send_replace(true);
    for keeper in keepers {
        keeper.await.expect("it ends");
    }
    let holders: i64 = sqlx::query_scalar("SELECT count(*) FROM slipway.leader WHERE duty = 'pools'")
        .fetch_one(&given.house.pool)
        .await
        .expect("a count");
    assert_eq!(holders, 0);
    given.house.stop.send_replace(true);
}
