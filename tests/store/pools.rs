//! Clusters that are kept ready: each is claimed once, whoever asks at the same time.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use slipway::domain::line::Throttle;
use slipway::domain::{Access, Claim, ClusterId, Command, Launch, Observation, ParkReason, StopReason, Subject};
use slipway::service::admission::Admission;
use slipway::service::{ExecuteError, Executed, Service};
use slipway::store::append::{Caps, RequestKey};
use slipway::store::{Limit, Store, StoreError};
use sqlx::{AssertSqlSafe, PgPool};

use crate::audit::{ready, rows};
use crate::harness::{NO_CAPS, as_role, database, launch, meta, subject, workers, writer};

fn pool() -> Subject {
    Subject::of_pool(&launch("nobody").profile, [7; 8])
}

fn stock() -> Launch {
    Launch { owner: pool(), ..launch("nobody") }
}

struct Given {
    pool: PgPool,
    service: Service,
}

/// So many clusters that are ready and nobody's.
async fn given(caps: Caps, kept: usize) -> (Given, Vec<ClusterId>) {
    let (pool, _) = database().await;
    let given = Given { service: Service::new(writer(&pool), caps), pool };
    let mut ids = Vec::new();
    for _ in 0..kept {
        let launched = given.service.launch(stock(), subject("keeper"), None).await;
        let id = launched.expect("a launch").cluster.id;
        given.tell(id, Command::Admit).await;
        given.tell(id, ready(2)).await;
        ids.push(id);
    }
    given.settle().await;
    (given, ids)
}

impl Given {
    async fn tell(&self, id: ClusterId, command: Command) {
        self.service.execute(id, &command, &meta("worker:1"), None).await.expect("recorded");
    }

    /// A worker has looked at all that is due, and has found it as it should be.
    async fn settle(&self) {
        let store = self.service.store();
        for lease in store.claim("worker:1", 1_000, Duration::from_secs(60)).await.expect("a claim") {
            assert!(store.finish(&lease).await.expect("an answer"));
        }
    }

    async fn click(&self, owner: &str, key: Option<&RequestKey>) -> Result<Executed, ExecuteError> {
        self.service.claim_or_launch(launch(owner), Some(pool()), subject(owner), key).await
    }

    async fn claimed(&self, owner: &str) -> ClusterId {
        let done = self.click(owner, None).await.expect("a cluster");
        assert!(done.cluster.claimed && done.cluster.owner == subject(owner));
        done.cluster.id
    }

    async fn is_left(&self) -> BTreeSet<ClusterId> {
        self.service.store().claimable(&pool(), 1_000).await.expect("an answer").into_iter().collect()
    }

    async fn usage(&self) -> Vec<String> {
        let usage =
            "SELECT concat_ws(' ', owner, clusters, workers) FROM slipway.usage WHERE clusters > 0 ORDER BY owner";
        sqlx::query_scalar(usage).fetch_all(&self.pool).await.expect("rows")
    }

    async fn is_sound(&self) {
        let store = Store::over(self.pool.clone());
        assert_eq!(store.broken_chains().await.expect("a check"), Vec::<String>::new());
        assert_eq!(store.wrong_usage().await.expect("a check"), Vec::<String>::new());
        let before = (rows(&self.pool, "cluster").await, rows(&self.pool, "usage WHERE clusters > 0").await);
        sqlx::raw_sql("TRUNCATE slipway.cluster, slipway.usage").execute(&self.pool).await.expect("dropped");
        store.rebuild(&store.streams_after("", 1_000).await.expect("streams")).await.expect("a replay");
        store.finish_rebuild().await.expect("a count");
        assert_eq!((rows(&self.pool, "cluster").await, rows(&self.pool, "usage").await), before);
    }
}

fn key(print: u8) -> RequestKey {
    RequestKey { key: "click".to_owned(), fingerprint: [print; 32] }
}

#[tokio::test]
async fn many_who_click_at_once_get_one_each_and_the_others_are_launched() {
    let (given, kept) = given(NO_CAPS, 20).await;
    // Two processes of the API, which know nothing of each other.
    let other = Given { service: Service::new(writer(&given.pool), NO_CAPS), pool: given.pool.clone() };
    let clicks = (0..30).map(|n| {
        let (given, owner) = (if n % 2 == 0 { &given } else { &other }, format!("owner:{n}"));
        async move { (owner.clone(), given.click(&owner, None).await.expect("a cluster").cluster) }
    });
    let got = join_all(clicks).await;
    assert!(got.iter().all(|(owner, cluster)| cluster.owner == subject(owner)));
    let ids: BTreeSet<ClusterId> = got.iter().map(|(_, cluster)| cluster.id).collect();
    assert_eq!(ids.len(), 30, "nobody shares one");
    let claimed: BTreeSet<ClusterId> = got.iter().filter(|(_, it)| it.claimed).map(|(_, it)| it.id).collect();
    assert_eq!(claimed, kept.into_iter().collect(), "each was claimed");
    let mut usage: Vec<String> = (0..30).map(|n| format!("owner:{n} 1 2")).collect();
    usage.push("* 30 60".to_owned());
    usage.sort_unstable();
    let mut counted = given.usage().await;
    counted.sort_unstable();
    assert_eq!(counted, usage);
    given.is_sound().await;
}

#[tokio::test]
async fn an_owners_limit_holds_and_what_was_refused_stays_in_the_pool() {
    let (given, kept) = given(Caps { clusters_per_owner: 2, ..NO_CAPS }, 5).await;
    let got = join_all((0..4).map(|_| given.click("anna", None))).await;
    let refused = got.iter().filter(|outcome| {
        matches!(outcome, Err(ExecuteError::Store(StoreError::OverLimit(Limit::ClustersPerOwner))))
    });
    assert_eq!(refused.count(), 2, "{got:?}");
    assert_eq!(given.is_left().await.len(), kept.len() - 2);
    assert_eq!(given.usage().await, ["* 5 10", "anna 2 4"], "what a pool has counts with everyone's");
    for cluster in got.into_iter().flatten() {
        given.tell(cluster.cluster.id, Command::Stop { reason: StopReason::Owner }).await;
    }
    assert_eq!(given.usage().await, ["* 3 6"]);
    given.is_sound().await;
}

#[tokio::test]
async fn the_limit_of_all_workers_counts_the_pool_and_a_claim_only_by_what_it_adds() {
    let (given, _) = given(Caps { total_workers: 6, ..NO_CAPS }, 3).await;
    let cold = given.service.launch(launch("anna"), subject("anna"), None).await;
    assert!(matches!(cold, Err(ExecuteError::Store(StoreError::OverLimit(Limit::TotalWorkers)))), "{cold:?}");
    given.claimed("anna").await;
    let more = Launch { workers: workers(3), ..launch("bob") };
    let more = given.service.claim_or_launch(more, Some(pool()), subject("bob"), None).await;
    assert!(matches!(more, Err(ExecuteError::Store(StoreError::OverLimit(Limit::TotalWorkers)))), "{more:?}");
    let fewer = Launch { workers: workers(1), ..launch("bob") };
    let fewer = given.service.claim_or_launch(fewer, Some(pool()), subject("bob"), None).await.expect("a claim");
    assert_eq!((fewer.cluster.claimed, fewer.cluster.workers), (true, workers(1)));
    assert_eq!(given.usage().await, ["* 3 5", "anna 1 2", "bob 1 1"]);
    let due = given.service.store().claim("worker:1", 10, Duration::from_secs(60)).await.expect("a claim");
    assert_eq!(
        due.iter().map(|lease| lease.id).collect::<Vec<_>>(),
        [fewer.cluster.id],
        "it alone is to be changed"
    );
    given.is_sound().await;
}

#[tokio::test]
async fn one_click_is_one_cluster_however_often_it_is_sent() {
    let (given, kept) = given(NO_CAPS, 5).await;
    let print = key(1);
    let got = join_all((0..6).map(|_| given.click("anna", Some(&print)))).await;
    let ids: BTreeSet<ClusterId> = got.into_iter().map(|outcome| outcome.expect("an answer").cluster.id).collect();
    assert_eq!((ids.len(), given.is_left().await.len()), (1, kept.len() - 1));
    let reused = given.click("anna", Some(&key(2))).await;
    assert!(matches!(reused, Err(ExecuteError::Store(StoreError::KeyReused))), "{reused:?}");
    // Also when the pool is empty by now, and the repetition would be launched.
    for n in 0..4 {
        given.claimed(&format!("owner:{n}")).await;
    }
    let again = given.click("anna", Some(&print)).await.expect("an answer");
    assert_eq!((ids.contains(&again.cluster.id), again.repeated), (true, true));
    given.is_sound().await;
}

#[tokio::test]
async fn only_what_is_as_it_should_be_is_claimed() {
    let (given, kept) = given(NO_CAPS, 5).await;
    let seen = Observation::Absent;
    given.tell(kept[0], Command::Report(seen)).await; // its workers are gone
    given.tell(kept[1], Command::Requeue { why: None }).await; // somebody looks at it
    let aside = ParkReason::Admin { why: "the node is being repaired".to_owned() };
    given.tell(kept[2], Command::Park { reason: aside }).await;
    given.tell(kept[3], Command::Stop { reason: StopReason::Surplus }).await;
    assert_eq!(given.is_left().await, BTreeSet::from([kept[4]]));
    assert_eq!(given.claimed("anna").await, kept[4]);
    let cold = given.click("bob", None).await.expect("a launch").cluster;
    assert!(!cold.claimed && !kept.contains(&cold.id));
    // Whoever knows of it otherwise does not get it either.
    let Launch { owner, workers, access, .. } = launch("bob");
    let claim = Command::Claim(Claim { pool: pool(), owner, workers, access });
    for id in [kept[0], kept[2], kept[3], kept[4]] {
        given.service.execute(id, &claim, &meta("bob"), None).await.expect_err("refused");
    }
}

#[tokio::test]
async fn what_a_pool_launches_waits_behind_people_and_takes_no_place_from_them() {
    let (pool, _) = database().await;
    let given = Given { service: Service::new(writer(&pool), NO_CAPS), pool };
    let store = given.service.store();
    store.set_throttle(Throttle { at_once: 8, per_second: 0.0 }).await.expect("set");
    let launched = async |asked: Launch| {
        given.service.launch(asked, subject("keeper"), None).await.expect("a launch").cluster.id
    };
    let mut of_pool = Vec::new();
    for _ in 0..4 {
        of_pool.push(launched(stock()).await);
    }
    let admission = Admission::new(given.service.clone(), subject("worker:1"), Throttle::FREE);
    let in_line = async || store.line().await.expect("the line").waiting;
    admission.round().await.expect("a round");
    assert_eq!(in_line().await, of_pool[2..], "a quarter of the places");

    let mut people = Vec::new();
    for n in 0..9 {
        people.push(launched(launch(&format!("owner:{n}"))).await);
    }
    assert_eq!(in_line().await, [&people[..], &of_pool[2..]].concat());
    admission.round().await.expect("a round");
    assert_eq!(in_line().await, [&people[8..], &of_pool[2..]].concat(), "all places are theirs");
    let line = store.line().await.expect("the line");
    assert_eq!(line.launching, 8, "what a pool launches is not in their way");
    given.tell(of_pool[0], ready(2)).await;
    admission.round().await.expect("a round");
    assert_eq!(in_line().await, [&people[8..], &of_pool[2..]].concat(), "not while anybody waits");
}

#[tokio::test]
async fn a_pool_leaves_those_who_come_next_what_may_begin_in_a_second() {
    let (pool, _) = database().await;
    let given = Given { service: Service::new(writer(&pool), NO_CAPS), pool };
    let store = given.service.store();
    let pace = Throttle { at_once: 0, per_second: 5.0 };
    store.set_throttle(pace).await.expect("set");
    for _ in 0..10 {
        given.service.launch(stock(), subject("keeper"), None).await.expect("a launch");
    }
    let later = "UPDATE slipway.admission SET filled_at = filled_at - interval '1 hour'";
    sqlx::raw_sql(later).execute(&given.pool).await.expect("moved");
    let admission = Admission::new(given.service.clone(), subject("worker:1"), Throttle::FREE);
    admission.round().await.expect("a round");
    assert_eq!(store.line().await.expect("the line").waiting.len(), 9);
    let left: f64 =
        sqlx::query_scalar("SELECT tokens FROM slipway.admission").fetch_one(&given.pool).await.expect("a row");
    assert!(left >= 4.0, "{left} of 5");
}

#[tokio::test]
async fn the_organiser_sees_the_claim_as_a_launch_and_the_time_before_as_the_pools() {
    let (given, kept) = given(NO_CAPS, 2).await;
    let asked = Launch { workers: workers(4), access: Access::Class, ..launch("anna") };
    let done = given.service.claim_or_launch(asked, Some(pool()), subject("anna"), None).await.expect("a claim");
    let id = done.cluster.id;
    given.tell(id, ready(4)).await;
    given.tell(id, Command::Stop { reason: StopReason::Owner }).await;
    // Two hours with two workers in the pool, one with two and one with four of hers.
    let times = ["09:00", "09:00", "10:00", "10:00", "12:00", "12:00", "12:00", "13:00", "14:00"];
    for (version, time) in (1..).zip(times) {
        let sql = format!(
            "ALTER TABLE slipway.event DISABLE TRIGGER event_is_immutable;
             UPDATE slipway.event SET recorded_at = '2026-03-02 {time}Z' WHERE stream_id = '{id}' AND version = {version}"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&given.pool).await.expect("a time set");
    }
    let auditor = as_role(&given.pool, "slipway_auditor");
    let ask = async |sql: &'static str| -> Vec<String> {
        sqlx::query_scalar(sql).bind(id.to_string()).fetch_all(&auditor).await.expect(sql)
    };
    let told = ask(
        "SELECT concat_ws(' ', requested_by, owner, workers_requested, to_char(requested_at AT TIME ZONE 'UTC', 'HH24:MI'),
                          seconds_to_ready, seconds_in_line, outcome, workers_peak, worker_hours,
                          to_char(pooled_at AT TIME ZONE 'UTC', 'HH24:MI'))
           FROM slipway.launches WHERE cluster = $1",
    );
    assert_eq!(told.await, ["anna anna 4 12:00 0 stopped 4 6 09:00"]);
    let hours = ask(
        "SELECT concat_ws(' ', owner, worker_hours) FROM slipway.worker_hours WHERE day = '2026-03-02' AND $1 <> ''
          ORDER BY owner",
    );
    assert_eq!(hours.await, ["anna 6".to_owned(), format!("{} 4", pool())]);
    let changes = ask("SELECT concat_ws(' ', owner, change, actor, workers_before, workers_after)
                         FROM slipway.changes WHERE cluster = $1 ORDER BY changed_at, change");
    assert_eq!(changes.await, ["anna scaled anna 2 4", "anna stopped worker:1 4 0"]);
    let unclaimed = ask(
        "SELECT DISTINCT concat_ws(' ', owner, requested_by, outcome) FROM slipway.launches WHERE cluster <> $1",
    );
    assert_eq!(unclaimed.await, [format!("{} keeper running", pool())]);
    assert_eq!(kept.len(), 2);
    let row = given.service.store().cluster(id).await.expect("an answer").expect("a row");
    let of = given.service.store().stream(id).await.expect("events");
    let claim = of.iter().find(|recorded| recorded.event.kind() == "Claimed").expect("a claim");
    assert!(row.claimed_at.is_some());
    let span = given.service.store().load(id).await.expect("a stream").span.expect("it is not empty");
    assert_eq!(span.correlation, claim.correlation, "what a worker does from now on belongs to the click");
}

#[tokio::test]
async fn the_pools_are_told_by_what_they_are_to_have_and_have() {
    let (given, kept) = given(NO_CAPS, 3).await;
    let store = given.service.store();
    let name = stock().profile;
    store.set_pools(&[(&name, pool(), 4)]).await.expect("set");
    given.tell(kept[0], Command::Requeue { why: None }).await;
    let told = async || {
        let stocks = store.stocks().await.expect("an answer");
        stocks.into_iter().map(|it| (it.profile, it.wanted, it.ready, it.others)).collect::<Vec<_>>()
    };
    assert_eq!(told().await, [("default".to_owned(), 4, 2, 1)]);
    let changed = Subject::of_pool(&name, [8; 8]);
    store.set_pools(&[(&name, changed, 1)]).await.expect("set");
    assert_eq!(told().await, [("default".to_owned(), 1, 0, 3)], "what is there is of an earlier recipe");
    store.set_pools(&[]).await.expect("set");
    assert_eq!(told().await, []);
}
