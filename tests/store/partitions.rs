//! The log in partitions.

use slipway::domain::Command;
use slipway::service::Service;
use slipway::store::Store;
use slipway::store::events::Position;
use sqlx::{AssertSqlSafe, PgPool};

use crate::harness::{
    NO_CAPS, as_role, counted, database, eventually, launch, meta, subject, whole_log, workers, writer,
};

/// From here on in so small ones: those that there are lie behind.
pub async fn in_partitions_of(pool: &PgPool, events: i64) {
    let sql = format!(
        "UPDATE slipway.installation SET events_per_partition = {events};
         SELECT setval('slipway.event_pos', (SELECT max(until) - 1 FROM slipway.partition));
         SELECT slipway.extend_log(0)"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.expect("small partitions");
}

pub async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("a count")
}

#[tokio::test]
async fn a_partition_refuses_change_like_the_log_whoever_asks() {
    let (pool, _) = database().await;
    in_partitions_of(&pool, 3).await;
    let service = Service::new(writer(&pool), NO_CAPS);
    for _ in 0..8 {
        service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
    }
    let partitions =
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'slipway.event'::regclass";
    let partitions: Vec<String> = sqlx::query_scalar(partitions).fetch_all(&pool).await.expect("partitions");
    assert!(partitions.len() > 4, "{partitions:?}");
    let (auditor, writing) = (as_role(&pool, "slipway_auditor"), as_role(&pool, "slipway_writer"));
    for partition in &partitions {
        let name = partition.trim_start_matches("slipway.");
        for change in [
            format!("UPDATE slipway.{name} SET actor = 'mallory'"),
            format!("DELETE FROM slipway.{name}"),
            format!("TRUNCATE slipway.{name}"),
            format!("SET session_replication_role = replica; DELETE FROM slipway.{name}"),
        ] {
            let sql = || AssertSqlSafe(change.clone());
            let error = sqlx::raw_sql(sql()).execute(&pool).await.expect_err(&change);
            assert!(error.to_string().contains("append-only"), "{change}: {error}");
            for role in [&auditor, &writing] {
                let error = sqlx::raw_sql(sql()).execute(role).await.expect_err(&change);
                assert!(error.to_string().contains("permission denied"), "{change}: {error}");
            }
        }
        let write = format!("INSERT INTO slipway.{name} SELECT * FROM slipway.event LIMIT 1");
        let error =
            sqlx::raw_sql(AssertSqlSafe(write)).execute(&writing).await.expect_err("it is not the writer's");
        assert!(error.to_string().contains("permission denied"), "{error}");
    }
}

#[tokio::test]
async fn appends_that_nobody_has_made_room_for_make_it() {
    let (pool, _) = database().await;
    in_partitions_of(&pool, 4).await;
    let store = writer(&pool);
    let service = Service::new(store.clone(), NO_CAPS);
    let id = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    for count in (0..30).map(|n| 3 + n % 2) {
        let scale = Command::Scale { workers: workers(count) };
        service.execute(id, &scale, &meta("alice"), None).await.expect("there is room");
    }
    let versions: Vec<i64> = store.stream(id).await.expect("events").iter().map(|one| one.version).collect();
    assert_eq!(versions, (1..=31).collect::<Vec<_>>());
    assert!(count(&pool, "SELECT count(DISTINCT tableoid) FROM slipway.event").await >= 8);
    assert_eq!(store.broken_chains().await.expect("a check"), Vec::<String>::new());
}

#[tokio::test]
async fn there_is_always_room_for_more_than_a_partition_and_making_it_holds_nobody_up() {
    let (pool, _) = database().await;
    let store = writer(&pool);
    let room =
        "SELECT max(until) - 1 - coalesce(pg_sequence_last_value('slipway.event_pos'), 0) FROM slipway.partition";
    assert!(count(&pool, room).await > 1_000_000);
    in_partitions_of(&pool, 5).await;
    let service = Service::new(store.clone(), NO_CAPS);
    service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
    // As an export reads it for hours, and as an append that has not yet ended.
    let (mut reading, mut writing) =
        (pool.begin().await.expect("a transaction"), pool.begin().await.expect("a transaction"));
    sqlx::query("SELECT count(*) FROM slipway.event").execute(&mut *reading).await.expect("read");
    let append = "SELECT slipway.append('cluster-100001', 0, 'x', gen_random_uuid(), NULL, ARRAY[gen_random_uuid()], ARRAY['Removed'],
                      1::smallint, ARRAY['{}'::jsonb], '{}', 'launching', 'x', true, 1, false, 0, 0, 0, 0, NULL, NULL)";
    sqlx::query(append).execute(&mut *writing).await.expect("an append");
    for _ in 0..3 {
        service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
        assert!(store.extend_log().await.expect("room") <= 1);
        assert!(count(&pool, room).await > 5);
    }
    writing.commit().await.expect("committed");
}

#[tokio::test]
async fn a_full_partition_is_sealed_once_nobody_can_add_to_it() {
    let (pool, _) = database().await;
    let store = writer(&pool);
    in_partitions_of(&pool, 2).await;
    let service = Service::new(store.clone(), NO_CAPS);
    let mut open = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT nextval('slipway.event_pos'), pg_current_xact_id()")
        .execute(&mut *open)
        .await
        .expect("a place");
    for _ in 0..3 {
        service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
    }
    let sealed = "SELECT count(*) FROM slipway.partition WHERE upto_tx IS NOT NULL AND first > 2000000";
    for _ in 0..3 {
        store.extend_log().await.expect("kept");
    }
    assert_eq!(count(&pool, sealed).await, 0, "the open transaction has a place in the first of them");
    open.rollback().await.expect("ended");
    eventually("the seal", async || {
        store.extend_log().await.expect("kept");
        (count(&pool, sealed).await == 2).then_some(())
    })
    .await;
    let log = eventually("the log", async || {
        let log = store.read_after(Position::default(), 10).await.expect("a read");
        (log.len() == 3).then_some(log)
    })
    .await;
    let rest = store.read_after(log[1].position, 10).await.expect("a read");
    assert_eq!(rest.len(), 1, "what is behind is passed by");
}

#[tokio::test]
async fn a_follower_reads_its_batch_and_not_all_that_came_since_the_log_was_analysed() {
    let (pool, _) = database().await;
    let service = Service::new(writer(&pool), NO_CAPS);
    for _ in 0..20 {
        service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
    }
    let mut position = whole_log(service.store()).await.last().expect("twenty launches").position;
    sqlx::raw_sql(
        "ANALYZE slipway.event;
         INSERT INTO slipway.event (epoch, tx, stream_id, version, event_id, type, schema_version, data, actor,
                                    correlation_id, causation_id, recorded_at, hash)
         SELECT epoch, pg_current_xact_id(), 'cluster-' || n, 1, gen_random_uuid(), type, schema_version, data, actor,
                correlation_id, causation_id, recorded_at, hash
           FROM (SELECT * FROM slipway.event LIMIT 1) one, generate_series(1000001, 1005000) n",
    )
    .execute(&pool)
    .await
    .expect("many events at once");
    eventually("what came at once", async || {
        (service.store().read_after(position, 10).await.expect("the log").len() == 10).then_some(())
    })
    .await;
    drop(service);
    let read = "SELECT sum(seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables
                 WHERE relid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'slipway.event'::regclass)";
    let follow = async |store: &Store| {
        // Often enough for the plans that are kept.
        for _ in 0..10 {
            let batch = store.read_after(position, 10).await.expect("the log");
            assert_eq!(batch.len(), 10);
            position = batch.last().expect("ten").position;
        }
    };
    let ((), read) = counted(&pool, read, follow).await;
    assert!((100..200).contains(&read), "{read} rows were read");
}
