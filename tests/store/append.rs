//! One decision: recorded whole, once, within its limits, for good.

use std::time::Duration;

use slipway::domain::{ClusterId, Command, StopReason};
use slipway::service::{ExecuteError, Service};
use slipway::store::append::{Caps, RequestKey};
use slipway::store::{Limit, Store, StoreError};
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Row};
use tokio::time::timeout;

use crate::harness::{NO_CAPS, database, eventually, launch, meta, store, subject, workers, writer};

fn id(number: u64) -> ClusterId {
    ClusterId::from_number(number).expect("six digits")
}

fn key(name: &str, body: u8) -> RequestKey {
    RequestKey { key: name.to_owned(), fingerprint: [body; 32] }
}

fn over(outcome: Result<slipway::service::Executed, ExecuteError>) -> Option<Limit> {
    match outcome {
        Err(ExecuteError::Store(StoreError::OverLimit(limit))) => Some(limit),
        _ => None,
    }
}

#[tokio::test]
async fn an_append_writes_event_read_model_usage_and_work_together() {
    let (pool, _) = database().await;
    let service = Service::new(Store::over(pool.clone()), NO_CAPS);
    let done = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
    let stream = done.cluster.id.to_string();
    service.execute(done.cluster.id, &Command::Admit, &meta("alice"), None).await.expect("admitted");
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM slipway.event WHERE stream_id = $1 AND actor = 'alice'),
                (SELECT version FROM slipway.cluster WHERE id = $1 AND live AND workers_wanted = 2),
                (SELECT wanted_version FROM slipway.work WHERE stream_id = $1 AND done_version = 0),
                (SELECT clusters + workers::bigint FROM slipway.usage WHERE owner = 'alice')",
    )
    .bind(&stream)
    .fetch_one(&pool)
    .await
    .expect("all four");
    let numbers: Vec<i64> = (0..4).map(|column| row.get(column)).collect();
    assert_eq!(numbers, [2, 2, 2, 3]);
}

#[tokio::test]
async fn of_two_decisions_on_the_same_version_one_is_made_anew() {
    let store = store().await;
    let service = Service::new(store.clone(), NO_CAPS);
    let id = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    let scale = |count| {
        let service = service.clone();
        async move { service.execute(id, &Command::Scale { workers: workers(count) }, &meta("alice"), None).await }
    };
    let all = futures_util::future::join_all((3..=8).map(scale)).await;
    assert!(all.into_iter().all(|outcome| outcome.is_ok()), "conflicts are retried, not shown");
    let versions: Vec<i64> = store.stream(id).await.expect("events").iter().map(|r| r.version).collect();
    assert_eq!(versions, (1..=7).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_same_key_launches_once_and_another_request_under_it_is_refused() {
    let store = store().await;
    let service = Service::new(store.clone(), NO_CAPS);
    let clicks = (0..10).map(|_| {
        let service = service.clone();
        async move { service.launch(launch("alice"), subject("alice"), Some(&key("click", 1))).await }
    });
    let answers = futures_util::future::join_all(clicks).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("an answer")).collect();
    assert!(answers.iter().all(|answer| answer.cluster.id == answers[0].cluster.id));
    assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1);
    assert_eq!(store.log_size().await.expect("a size"), (1, 1));

    let other = service.launch(launch("alice"), subject("alice"), Some(&key("click", 2))).await;
    assert!(matches!(other, Err(ExecuteError::Store(StoreError::KeyReused))), "{other:?}");
    let bobs = service.launch(launch("bob"), subject("bob"), Some(&key("click", 1))).await.expect("bob's own key");
    assert!(!bobs.repeated);
}

#[tokio::test]
async fn limits_hold_under_concurrent_launches_and_free_up_when_clusters_stop() {
    let caps = Caps { clusters_per_owner: 2, total_workers: 9 };
    let service = Service::new(store().await, caps);
    let clicks = (0..8).map(|_| {
        let service = service.clone();
        async move { service.launch(launch("alice"), subject("alice"), None).await }
    });
    let (launched, refused): (Vec<_>, Vec<_>) =
        futures_util::future::join_all(clicks).await.into_iter().partition(Result::is_ok);
    assert_eq!(launched.len(), 2, "two of 2 workers each");
    assert!(refused.into_iter().all(|outcome| over(outcome) == Some(Limit::ClustersPerOwner)));

    let id = launched.into_iter().flatten().next().expect("one of them").cluster.id;
    let scale =
        async |count| service.execute(id, &Command::Scale { workers: workers(count) }, &meta("alice"), None).await;
    scale(7).await.expect("7 and 2 are 9");
    assert_eq!(over(scale(8).await), Some(Limit::TotalWorkers), "8 and 2 are more than 9");
    let refused = service.launch(launch("bob"), subject("bob"), None).await;
    assert_eq!(over(refused), Some(Limit::TotalWorkers));
    scale(1).await.expect("less is always allowed");
    service.launch(launch("bob"), subject("bob"), None).await.expect("1, 2 and 2 are fewer than 9");
    let stop = Command::Stop { reason: StopReason::Owner };
    service.execute(id, &stop, &meta("alice"), None).await.expect("a stop");
    service.launch(launch("alice"), subject("alice"), None).await.expect("there is room again");
}

#[tokio::test]
async fn a_refused_append_leaves_nothing_behind() {
    let (pool, _) = database().await;
    let caps = Caps { clusters_per_owner: 0, total_workers: 9 };
    let service = Service::new(Store::over(pool.clone()), caps);
    let refused = service.launch(launch("alice"), subject("alice"), Some(&key("click", 1))).await;
    assert_eq!(over(refused), Some(Limit::ClustersPerOwner));
    for table in ["stream", "event", "cluster", "usage", "request", "work"] {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM slipway.{table}")))
            .fetch_one(&pool)
            .await
            .expect("a count");
        assert_eq!(count, 0, "rows in {table}");
    }
}

#[tokio::test]
async fn events_cannot_be_changed_removed_or_truncated() {
    let (pool, _) = database().await;
    let service = Service::new(Store::over(pool.clone()), NO_CAPS);
    service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
    for change in [
        "UPDATE slipway.event SET actor = 'mallory'",
        "DELETE FROM slipway.event",
        "TRUNCATE slipway.event",
        "SET session_replication_role = replica; UPDATE slipway.event SET actor = 'mallory'",
    ] {
        let error = sqlx::raw_sql(change).execute(&pool).await.expect_err(change);
        assert!(error.to_string().contains("append-only"), "{change}: {error}");
    }
}

#[tokio::test]
async fn an_event_from_a_newer_slipway_is_named_and_not_passed_over() {
    let (pool, _) = database().await;
    let store = Store::over(pool.clone());
    let service = Service::new(store.clone(), NO_CAPS);
    let known = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    for (number, kind, schema) in [(100_001, "Levitated", 1), (100_002, "LaunchRequested", 2)] {
        let data = "'{}'::jsonb";
        let append = format!(
            "SELECT slipway.append('cluster-{number}', 0, 'x', gen_random_uuid(), NULL, ARRAY[gen_random_uuid()],
               ARRAY['{kind}'], {schema}::smallint, ARRAY[{data}], {data}, 'launching', 'x', true, 1, false, 0, 0, 0, 0,
               NULL, NULL)"
        );
        sqlx::raw_sql(AssertSqlSafe(append)).execute(&pool).await.expect("the database takes it");
        let error = store.load(id(number)).await.expect_err("this build cannot know it");
        assert!(error.to_string().contains(kind) && error.to_string().contains("newer slipway"), "{error}");
    }
    assert!(store.load(known).await.is_ok(), "other clusters are not harmed");
    // Another test's open transaction may hold the follower back for a moment.
    let error = eventually("a follower to come to it and not skip it", async || {
        store.read_after(Default::default(), 10).await.err()
    })
    .await;
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
}

#[tokio::test]
async fn of_appends_that_are_alone_others_hear_as_they_are_committed() {
    let (pool, _) = database().await;
    let mut listener = PgListener::connect_with(&pool).await.expect("it connects");
    listener.listen("slipway").await.expect("it listens");
    // Nobody announces: there is no more than the store.
    let service = Service::new(writer(&pool), NO_CAPS);
    let id = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    let mut heard = async || timeout(Duration::from_secs(60), listener.recv()).await.expect("it rings");
    heard().await.expect("a connection");
    for command in [Command::Admit, Command::Stop { reason: StopReason::Owner }] {
        service.execute(id, &command, &meta("alice"), None).await.expect("recorded");
        heard().await.expect("a connection");
    }
}
