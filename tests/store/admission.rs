//! The line of launches: first come, first served, as fast as the pace allows and no faster.

use std::time::Duration;

use futures_util::future::join_all;
use slipway::domain::line::Throttle;
use slipway::domain::{ClusterId, Command, Endpoint, Engine, Observation, StopReason};
use slipway::service::admission::Admission;
use slipway::service::{ExecuteError, Service};
use slipway::store::{Limit, Store, StoreError};
use sqlx::PgPool;

use crate::harness::{NO_CAPS, database, launch, meta, subject, workers};

struct Given {
    pool: PgPool,
    service: Service,
}

/// So many launches in line, oldest first.
async fn given(throttle: Throttle, launches: usize) -> (Given, Vec<ClusterId>) {
    let (pool, _) = database().await;
    let given = Given { service: Service::new(Store::over(pool.clone()), NO_CAPS), pool };
    given.service.store().set_throttle(throttle).await.expect("set");
    let mut ids = Vec::new();
    for _ in 0..launches {
        ids.push(given.launched().await);
    }
    (given, ids)
}

impl Given {
    async fn launched(&self) -> ClusterId {
        self.launched_by("alice").await
    }

    async fn launched_by(&self, owner: &str) -> ClusterId {
        self.service.launch(launch(owner), subject(owner), None).await.expect("a launch").cluster.id
    }

    async fn tell(&self, id: ClusterId, command: Command) -> Result<(), ExecuteError> {
        self.service.execute(id, &command, &meta("worker:1"), None).await.map(|_| ())
    }

    async fn becomes_ready(&self, id: ClusterId) {
        let endpoint = Endpoint {
            address: [127, 0, 0, 1].into(),
            ports: [(Engine::Notebook, 9_999)].into(),
            named: [].into(),
        };
        let seen = Observation::Present { steps: vec![], endpoint: Some(endpoint), workers_ready: 0 };
        self.tell(id, Command::Report(seen)).await.expect("reported");
    }

    /// One round of one worker; whether others have to wait on.
    async fn round(&self) -> bool {
        Admission::new(self.service.clone(), subject("worker:1"), Throttle::FREE).round().await.expect("a round")
    }

    async fn line(&self) -> Vec<ClusterId> {
        self.service.store().line().await.expect("the line").waiting
    }

    /// As if so much time had passed for the pace.
    async fn later(&self, by: Duration) {
        let moved = "UPDATE slipway.admission SET filled_at = filled_at - make_interval(secs => $1)";
        sqlx::query(moved).bind(by.as_secs_f64()).execute(&self.pool).await.expect("moved");
    }

    async fn claimable(&self) -> Vec<ClusterId> {
        let leases =
            self.service.store().claim("worker:1", 1_000, Duration::from_secs(60)).await.expect("a claim");
        leases.into_iter().map(|lease| lease.id).collect()
    }
}

fn at_once(at_once: u32) -> Throttle {
    Throttle { at_once, per_second: 0.0 }
}

#[tokio::test]
async fn launches_are_admitted_in_their_order_as_places_become_free() {
    let (given, ids) = given(at_once(2), 5).await;
    assert!(given.round().await, "others wait on");
    assert_eq!(given.line().await, ids[2..]);
    assert!(given.round().await);
    assert_eq!(given.line().await, ids[2..], "there is no room");

    given.becomes_ready(ids[1]).await;
    given.round().await;
    assert_eq!(given.line().await, ids[3..]);
    given.tell(ids[0], Command::GiveUp { why: "no use".to_owned() }).await.expect("given up");
    given.tell(ids[2], Command::Stop { reason: StopReason::Owner }).await.expect("stopped");
    assert!(!given.round().await, "nobody waits");
    assert!(given.line().await.is_empty());
}

#[tokio::test]
async fn one_who_launches_many_does_not_hold_up_those_who_launch_one() {
    let (given, many) = given(at_once(2), 20).await;
    given.round().await;
    let (bob, cid) = (given.launched_by("bob").await, given.launched_by("cid").await);
    assert_eq!(given.line().await[..3], [bob, cid, many[2]]);
    given.becomes_ready(many[0]).await;
    given.round().await;
    assert_eq!(given.line().await[..3], [cid, many[2], many[3]]);
    given.becomes_ready(many[1]).await;
    given.becomes_ready(bob).await;
    given.round().await;
    assert_eq!(given.line().await, many[3..]);
}

#[tokio::test]
async fn only_what_is_admitted_is_work_and_what_waits_holds_nobody_up() {
    let (given, ids) = given(at_once(1), 3).await;
    given.round().await;
    assert_eq!(given.claimable().await, ids[..1]);
    given.tell(ids[1], Command::Scale { workers: workers(3) }).await.expect("scaled");
    assert_eq!(given.line().await, ids[1..], "it keeps its place");
    given.tell(ids[2], Command::Stop { reason: StopReason::Owner }).await.expect("stopped");
    assert!(given.claimable().await.contains(&ids[2]), "it is taken away at once");
    assert_eq!(given.line().await, ids[1..2]);
}

#[tokio::test]
async fn nobody_is_admitted_past_the_limit_whoever_asks() {
    let (given, ids) = given(at_once(1), 2).await;
    given.tell(ids[1], Command::Admit).await.expect("there is room");
    let refused = given.tell(ids[0], Command::Admit).await.expect_err("there is none");
    assert!(matches!(refused, ExecuteError::Store(StoreError::OverLimit(Limit::Admission))), "{refused}");
    assert_eq!(given.line().await, ids[..1], "nothing was recorded");
}

#[tokio::test]
async fn many_workers_together_admit_each_once_in_order_and_never_too_many() {
    let (given, ids) = given(at_once(7), 30).await;
    let mut admitted = 0;
    while admitted < ids.len() {
        join_all((0..6).map(|_| given.round())).await;
        let upto = (admitted + 7).min(ids.len());
        assert_eq!(given.line().await, ids[upto..], "7 at a time, oldest first");
        for id in &ids[admitted..upto] {
            given.becomes_ready(*id).await;
            let events = given.service.store().stream(*id).await.expect("events");
            let times = events.iter().filter(|recorded| recorded.event.kind() == "Admitted").count();
            assert_eq!(times, 1);
        }
        admitted = upto;
    }
}

#[tokio::test]
async fn no_more_are_admitted_in_a_second_than_the_pace_says() {
    // So slow that the time which the test takes fills nothing.
    let (given, ids) = given(Throttle { at_once: 0, per_second: 0.001 }, 4).await;
    join_all((0..4).map(|_| given.round())).await;
    assert_eq!(given.line().await, ids[1..], "the bucket holds one");
    given.later(Duration::from_secs(900)).await;
    given.round().await;
    assert_eq!(given.line().await, ids[1..], "not yet another one");
    given.later(Duration::from_secs(100)).await;
    given.round().await;
    assert_eq!(given.line().await, ids[2..]);
    given.later(Duration::from_secs(1_000_000)).await;
    given.round().await;
    assert_eq!(given.line().await, ids[3..], "a quiet time is not made up for");
}

#[tokio::test]
async fn a_burst_is_what_may_begin_in_a_second() {
    let (given, ids) = given(Throttle { at_once: 0, per_second: 3.0 }, 5).await;
    given.later(Duration::from_secs(60)).await;
    given.service.store().set_throttle(Throttle { at_once: 0, per_second: 3.0 }).await.expect("set");
    let turn = given.service.store().turn().await.expect("a turn");
    assert_eq!((turn.room, turn.line), (3, ids));
}

#[tokio::test]
async fn without_limits_everybody_is_admitted() {
    let (given, _) = given(Throttle::FREE, 40).await;
    assert!(!given.round().await);
    assert!(given.line().await.is_empty());
    assert_eq!(given.claimable().await.len(), 40);
}

#[tokio::test]
async fn a_rebuilt_house_lets_nobody_queue_again() {
    let (given, ids) = given(at_once(2), 4).await;
    given.round().await;
    given.becomes_ready(ids[0]).await;
    let rows = "SELECT to_jsonb(c)::text FROM slipway.cluster c ORDER BY id";
    let before: Vec<String> = sqlx::query_scalar(rows).fetch_all(&given.pool).await.expect("rows");
    sqlx::raw_sql("TRUNCATE slipway.cluster, slipway.work").execute(&given.pool).await.expect("dropped");
    given.service.store().rebuild(&ids).await.expect("rebuilt");
    let after: Vec<String> = sqlx::query_scalar(rows).fetch_all(&given.pool).await.expect("rows");
    assert_eq!(before, after);
    let line = given.service.store().line().await.expect("the line");
    assert_eq!((line.waiting, line.launching), (ids[2..].to_vec(), 1));
    assert_eq!(line.recent.len(), 1, "how long it took is known");
    for id in ids {
        assert_eq!(given.service.store().check_read_model(id).await.expect("a check"), None);
    }
}

#[tokio::test]
async fn the_organiser_sees_the_wait_apart_from_the_launch() {
    let (given, ids) = given(at_once(1), 2).await;
    given.round().await;
    given.becomes_ready(ids[0]).await;
    let rows = given.service.store().launches(Default::default(), 10).await.expect("rows");
    let of = |id: ClusterId| rows.iter().find(|row| row.cluster == id.to_string()).expect("a row");
    let (first, second) = (of(ids[0]), of(ids[1]));
    assert!(first.seconds_in_line.is_some_and(|waited| Some(waited) < first.seconds_to_ready), "{first:?}");
    assert_eq!((second.seconds_in_line, second.outcome.as_str()), (None, "launching"));
}

#[tokio::test]
async fn the_line_is_found_by_its_index_however_many_clusters_there_were() {
    let (given, ids) = given(at_once(1), 3).await;
    sqlx::raw_sql(
        "INSERT INTO slipway.cluster (id, version, owner, status, live, workers_wanted, state, launched_at, ended_at, gone_at)
         SELECT 'cluster-' || n, 1, 'bob', 'stopped', false, 2, '{}', now(), now(), now()
           FROM generate_series(2000000000, 2000020000) n;
         ANALYZE slipway.cluster",
    )
    .execute(&given.pool)
    .await
    .expect("a long past");
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN SELECT id FROM slipway.cluster WHERE status = 'launching' AND slipway.in_line(state)
         ORDER BY launched_at, id",
    )
    .fetch_all(&given.pool)
    .await
    .expect("a plan");
    assert!(plan.iter().any(|line| line.contains("cluster_launching")), "{plan:?}");
    assert_eq!(given.line().await, ids);
}
