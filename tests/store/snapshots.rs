//! Snapshots of long streams: they save reading, and are believed by nobody who checks.

use slipway::domain::{ClusterId, Command};
use slipway::service::Service;
use slipway::store::Store;
use sqlx::PgPool;

use crate::harness::{NO_CAPS, database, launch, meta, subject, workers, writer};

/// A cluster with so many events.
async fn long(pool: &PgPool, events: i64) -> (Store, ClusterId) {
    let store = writer(pool);
    let service = Service::new(store.clone(), NO_CAPS);
    let id = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    service.execute(id, &Command::Admit, &meta("worker:1"), None).await.expect("admitted");
    for n in 3..=events {
        let scale = Command::Scale { workers: workers(3 + n % 4) };
        service.execute(id, &scale, &meta("alice"), None).await.expect("scaled");
    }
    (store, id)
}

async fn snapshots(pool: &PgPool) -> Vec<i64> {
    let versions = "SELECT version FROM slipway.snapshot ORDER BY stream_id";
    sqlx::query_scalar(versions).fetch_all(pool).await.expect("versions")
}

async fn is_what_the_log_adds_up_to(store: &Store, id: ClusterId) {
    let (loaded, replayed) =
        (store.load(id).await.expect("loaded"), store.replay(id, None).await.expect("replayed"));
    let replayed = replayed.expect("it is there");
    assert_eq!(loaded.cluster.as_ref(), Some(&replayed.cluster));
    assert_eq!(loaded.version, replayed.version);
    let span = loaded.span.expect("it is not empty");
    assert_eq!((span.launched_at, span.admitted_at), (replayed.times.launched_at, replayed.times.admitted_at));
    assert_eq!((span.correlation, span.last_event), (replayed.correlation, replayed.last_event));
}

#[tokio::test]
async fn a_long_stream_is_read_from_its_snapshot_and_is_the_same() {
    let (pool, _) = database().await;
    let (store, id) = long(&pool, 199).await;
    assert_eq!(snapshots(&pool).await, [0_i64; 0], "too short");
    is_what_the_log_adds_up_to(&store, id).await;
    let service = Service::new(store.clone(), NO_CAPS);
    for version in 200..=403 {
        let scale = Command::Scale { workers: workers(3 + version % 4) };
        service.execute(id, &scale, &meta("alice"), None).await.expect("scaled");
        if [200, 201, 399, 400, 403].contains(&version) {
            is_what_the_log_adds_up_to(&store, id).await;
        }
    }
    assert_eq!(snapshots(&pool).await, [400]);
    assert_eq!(store.check_read_model(id).await.expect("a check"), None);
    // What is before it is not read.
    sqlx::raw_sql(
        "ALTER TABLE slipway.event DISABLE TRIGGER event_is_immutable;
         UPDATE slipway.event SET type = 'Levitated' WHERE version = 100",
    )
    .execute(&pool)
    .await
    .expect("tampered");
    assert_eq!(store.load(id).await.expect("loaded").version, 403);
    assert!(store.replay(id, None).await.is_err(), "who checks reads it");
}

#[tokio::test]
async fn a_wrong_snapshot_is_found_and_a_replay_removes_it() {
    let (pool, _) = database().await;
    let (store, id) = long(&pool, 205).await;
    for (tampering, what) in [
        ("state = jsonb_set(state, '{workers}', '7')", "differs from what the log adds up to"),
        ("launched_at = launched_at - interval '1 hour'", "differs from what the log adds up to"),
        ("last_event_id = gen_random_uuid()", "differs from what the log adds up to"),
        ("state = '{}'", "differs from what the log adds up to"),
        ("version = version + 1", "is not of the event whose hash it names"),
        ("hash = sha256(hash)", "is not of the event whose hash it names"),
    ] {
        let sql = format!(
            "CREATE TEMPORARY TABLE kept AS SELECT * FROM slipway.snapshot; UPDATE slipway.snapshot SET {tampering};"
        );
        let mut connection = pool.acquire().await.expect("a connection");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *connection).await.expect("tampered");
        let found = store.check_read_model(id).await.expect("a check").expect(tampering);
        assert_eq!(found, format!("snapshot of {id}: it {what}"), "{tampering}");
        store.rebuild(&[id]).await.expect("a replay");
        assert_eq!(snapshots(&pool).await, [0_i64; 0], "{tampering}");
        is_what_the_log_adds_up_to(&store, id).await;
        let back = "INSERT INTO slipway.snapshot SELECT * FROM kept; DROP TABLE kept";
        sqlx::raw_sql(back).execute(&mut *connection).await.expect("put back");
        store.rebuild(&[id]).await.expect("a replay");
        assert_eq!(snapshots(&pool).await, [200], "one that is right stays");
    }
}

#[tokio::test]
async fn a_snapshot_of_another_fold_counts_for_nothing() {
    let (pool, _) = database().await;
    let (store, id) = long(&pool, 200).await;
    let other = "UPDATE slipway.snapshot SET fold = fold + 1, state = '{\"levitates\": true}'";
    sqlx::raw_sql(other).execute(&pool).await.expect("as a newer slipway has it");
    is_what_the_log_adds_up_to(&store, id).await;
    assert_eq!(store.check_read_model(id).await.expect("a check"), None, "it is not this build's to judge");
    // A build that does not tell how it folds makes none.
    sqlx::raw_sql("DELETE FROM slipway.snapshot").execute(&pool).await.expect("none");
    let append = "SELECT slipway.append($1, 200, 'x', gen_random_uuid(), NULL, ids, array_fill('ScaleRequested'::text, ARRAY[300]),
                      1::smallint, array_fill('{\"workers\": 4}'::jsonb, ARRAY[300]), '{}', 'launching', 'x', true, 4, false, 0, 0,
                      0, 0, NULL, NULL)
                    FROM (SELECT array_agg(gen_random_uuid()) AS ids FROM generate_series(1, 300)) i";
    sqlx::query(append).bind(id.to_string()).execute(&pool).await.expect("appended");
    assert_eq!(snapshots(&pool).await, [0_i64; 0]);
}
