//! What the organiser and the operator get out of the log.

use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, TimeDelta, Utc};
use slipway::domain::{ClusterId, Command, Endpoint, Engine, Observation, StopReason};
use slipway::service::Service;
use slipway::store::Store;
use sqlx::{AssertSqlSafe, PgPool, Row};

use crate::harness::{NO_CAPS, as_role, database, launch, meta, subject, workers};

pub fn ready(workers_ready: u16) -> Command {
    let endpoint = Endpoint {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports: [(Engine::Notebook, 9999)].into(),
        named: [].into(),
    };
    Command::Report(Observation::Present { steps: vec![], endpoint: Some(endpoint), workers_ready })
}

/// One cluster's whole life, and another one that runs.
pub async fn two_clusters(pool: &PgPool) -> (Service, ClusterId, ClusterId) {
    let service = Service::new(Store::over(pool.clone()), NO_CAPS);
    let ended = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    let running = service.launch(launch("bob"), subject("bob"), None).await.expect("a launch").cluster.id;
    let stop = Command::Stop { reason: StopReason::Admin };
    for (id, command, actor) in [
        (ended, Command::Admit, "worker:1"),
        (ended, ready(2), "worker:1"),
        (running, ready(0), "worker:1"),
        (ended, Command::Scale { workers: workers(4) }, "alice"),
        (ended, ready(4), "worker:1"),
        (ended, stop, "cli:root"),
        (ended, Command::Report(Observation::Absent), "worker:1"),
    ] {
        service.execute(id, &command, &meta(actor), None).await.expect("recorded");
    }
    (service, ended, running)
}

pub async fn rows(pool: &PgPool, table: &str) -> Vec<String> {
    let sql = format!("SELECT to_jsonb(t)::text FROM (SELECT * FROM slipway.{table}) t ORDER BY 1");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.expect("rows")
}

#[tokio::test]
async fn read_models_dropped_and_replayed_are_the_same_and_verified() {
    let (pool, _) = database().await;
    let (service, ..) = two_clusters(&pool).await;
    let store = service.store();
    let before = (rows(&pool, "cluster").await, rows(&pool, "usage WHERE clusters > 0").await);
    sqlx::raw_sql("TRUNCATE slipway.cluster, slipway.usage, slipway.work").execute(&pool).await.expect("dropped");
    let ids = store.streams_after("", 100).await.expect("streams");
    for &id in &ids {
        assert!(store.check_read_model(id).await.expect("a check").is_some(), "its loss is noticed");
    }
    store.rebuild(&ids).await.expect("a replay");
    store.finish_rebuild().await.expect("a count");
    assert_eq!((rows(&pool, "cluster").await, rows(&pool, "usage").await), before);
    for id in ids {
        assert_eq!(store.check_read_model(id).await.expect("a check"), None);
    }
    assert!(store.wrong_usage().await.expect("a check").is_empty());
    let queued: i64 = sqlx::query_scalar("SELECT count(*) FROM slipway.work WHERE done_version < wanted_version")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(queued, 1, "the one that is not gone is looked at again");
}

#[tokio::test]
async fn a_tampered_log_is_found_out() {
    for (tampering, finding) in [
        ("UPDATE slipway.event SET actor = 'mallory' WHERE version = 3", "hash"),
        ("UPDATE slipway.event SET recorded_at = recorded_at - interval '1 hour' WHERE version = 2", "hash"),
        ("DELETE FROM slipway.event WHERE version = 2", "missing"),
        ("DELETE FROM slipway.event WHERE type = 'Removed'", "head"),
        ("DELETE FROM slipway.stream", "beyond the head"),
    ] {
        let (pool, _) = database().await;
        let (service, ..) = two_clusters(&pool).await;
        assert!(service.store().broken_chains().await.expect("a check").is_empty(), "sound before");
        let sql = format!("ALTER TABLE slipway.event DISABLE TRIGGER event_is_immutable; {tampering}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.expect("tampered");
        let broken = service.store().broken_chains().await.expect("a check");
        assert!(broken.iter().any(|line| line.contains(finding)), "{tampering}: {broken:?}");
    }
}

#[tokio::test]
async fn the_launches_tell_who_when_what_and_how_it_ended() {
    let (pool, _) = database().await;
    let (service, ended, running) = two_clusters(&pool).await;
    let launches = service.store().launches(DateTime::<Utc>::UNIX_EPOCH, 10).await.expect("rows");
    let of = |id: ClusterId| launches.iter().find(|row| row.cluster == id.to_string()).expect("a row");
    let (first, second) = (of(ended), of(running));
    assert_eq!((first.owner.as_str(), first.outcome.as_str(), first.workers_peak), ("alice", "stopped", 4));
    assert_eq!((first.ended_by.as_deref(), first.stop_reason.as_deref()), (Some("cli:root"), Some("admin")));
    assert!(first.seconds_to_ready.is_some_and(|seconds| (0.0..60.0).contains(&seconds)));
    assert_eq!((second.owner.as_str(), second.outcome.as_str(), second.worker_hours), ("bob", "running", 0.0));
}

#[tokio::test]
async fn worker_hours_are_counts_times_durations() {
    let (pool, _) = database().await;
    let (_, ended, _) = two_clusters(&pool).await;
    // An hour with 2 workers, then half an hour with 4.
    sqlx::query(
        "DO $$ DECLARE story record; at timestamptz := '2026-01-01 12:00Z'; BEGIN
           ALTER TABLE slipway.event DISABLE TRIGGER event_is_immutable;
           FOR story IN SELECT stream_id, version, type FROM slipway.event ORDER BY stream_id, version LOOP
             IF story.type = 'ScaleRequested' THEN at := at + interval '1 hour'; END IF;
             IF story.type = 'StopRequested' THEN at := at + interval '30 minutes'; END IF;
             UPDATE slipway.event SET recorded_at = at WHERE stream_id = story.stream_id AND version = story.version;
           END LOOP; END $$",
    )
    .execute(&pool)
    .await
    .expect("times set");
    let hours: f64 = sqlx::query_scalar("SELECT worker_hours FROM slipway.launches WHERE cluster = $1")
        .bind(ended.to_string())
        .fetch_one(&pool)
        .await
        .expect("a row");
    assert!((hours - 4.0).abs() < 1e-6, "{hours}");
}

#[tokio::test]
async fn the_log_alone_tells_what_was_there_at_a_time() {
    let (pool, _) = database().await;
    let (service, ended, _) = two_clusters(&pool).await;
    let store = service.store();
    let events = store.stream(ended).await.expect("events");
    for recorded in &events {
        let then = store.replay(ended, Some(recorded.recorded_at)).await.expect("a replay").expect("a state");
        assert!(then.version >= recorded.version);
    }
    let before = events[0].recorded_at - TimeDelta::microseconds(1);
    assert!(store.replay(ended, Some(before)).await.expect("a replay").is_none(), "not yet launched");
}

#[tokio::test]
async fn the_example_queries_run_and_answer() {
    let (pool, _) = database().await;
    two_clusters(&pool).await;
    let auditor = as_role(&pool, "slipway_auditor");
    let text: Vec<&str> =
        include_str!("../../ops/audit.sql").lines().filter(|line| !line.starts_with("--")).collect();
    let text = text.join("\n");
    let queries: Vec<&str> = text.split(';').map(str::trim).filter(|query| query.contains("SELECT")).collect();
    assert!(queries.len() >= 6, "only {} queries found", queries.len());
    for query in queries {
        let rows = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_all(&auditor).await.expect(query);
        assert!(rows.iter().all(|row| !row.columns().is_empty()));
    }
    let failed = "SELECT count(*) FROM slipway.launches WHERE outcome = 'failed'";
    let count: i64 = sqlx::query(failed).fetch_one(&pool).await.expect("a count").get(0);
    assert_eq!(count, 0);
}
