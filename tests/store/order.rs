//! Following the log: every event exactly once, each stream in order, whatever the writers do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use slipway::domain::{ClusterId, Command};
use slipway::service::Service;
use slipway::service::follow::Follower;
use slipway::store::events::{Position, Recorded};
use slipway::store::{Store, listen};
use sqlx::{AssertSqlSafe, PgPool, Row};
use tokio::time::sleep;

use crate::harness::{NO_CAPS, database, eventually, launch, meta, subject, workers, writer};
use crate::partitions::in_partitions_of;

const WRITERS: u64 = 12;
const EACH: i64 = 25;

/// Appends to streams of its own, now and then within a transaction that stays open for a while or is
/// undone, and with other writes before the append so that it gets its transaction id early.
async fn write(pool: PgPool, writer: u64) -> Vec<(String, i64)> {
    let mut written = Vec::new();
    for n in 1..=EACH {
        let stream = format!("cluster-{}", 100_000 + writer);
        let mut tx = pool.begin().await.expect("a transaction");
        let (slow, undone) = ((writer + n as u64).is_multiple_of(5), (writer + n as u64).is_multiple_of(7));
        if slow {
            sqlx::query("SELECT pg_current_xact_id()").execute(&mut *tx).await.expect("an id");
            sleep(Duration::from_millis(n as u64 % 9)).await;
        }
        let version = written.len() as i64;
        sqlx::query(AssertSqlSafe(append_sql(&stream, version))).execute(&mut *tx).await.expect("an append");
        if slow {
            sleep(Duration::from_millis(n as u64 % 7)).await;
        }
        if undone {
            tx.rollback().await.expect("a rollback");
        } else {
            tx.commit().await.expect("a commit");
            written.push((stream, version + 1));
        }
    }
    written
}

fn append_sql(stream: &str, expected: i64) -> String {
    let (kind, data) = if expected == 0 {
        let limits = r#"{"workers": 8, "idle_seconds": 0, "lifetime_seconds": 0}"#;
        let data = format!(
            r#"{{"owner": "x", "profile": "default", "workers": 2, "materials": [], "limits": {limits}}}"#
        );
        ("LaunchRequested", data)
    } else {
        ("ScaleRequested", r#"{"workers": 3}"#.to_owned())
    };
    format!(
        "SELECT slipway.append('{stream}', {expected}, 'x', gen_random_uuid(), NULL, ARRAY[gen_random_uuid()],
           ARRAY['{kind}'], 1::smallint, ARRAY['{data}'::jsonb], '{{}}', 'launching', 'x', true, 2, true, 0, 0, 0, 0,
           NULL, NULL)"
    )
}

/// Follows until it has seen as many events as there will be, polling eagerly.
async fn tail(store: Store, total: usize) -> Vec<(String, i64)> {
    let (mut position, mut seen) = (Position::default(), Vec::new());
    eventually("the tail to see every event", async || {
        let batch = store.read_after(position, 17).await.expect("a batch");
        position = batch.last().map_or(position, |last: &Recorded| last.position);
        seen.extend(batch.into_iter().map(|r| (r.cluster.to_string(), r.version)));
        (seen.len() >= total).then_some(())
    })
    .await;
    let more = store.read_after(position, 17).await.expect("a batch");
    assert!(more.is_empty(), "events beyond those that were written");
    seen
}

/// What must not be done: the position alone, which is given out before the commit.
async fn naive_tail(pool: PgPool, stop: tokio::sync::watch::Receiver<bool>) -> HashSet<i64> {
    let (mut last, mut seen) = (0_i64, HashSet::new());
    loop {
        let over = *stop.borrow();
        let rows = sqlx::query("SELECT pos FROM slipway.event WHERE pos > $1 ORDER BY pos LIMIT 17")
            .bind(last)
            .fetch_all(&pool)
            .await
            .expect("rows");
        if over && rows.is_empty() {
            return seen;
        }
        for row in rows {
            last = row.get(0);
            seen.insert(last);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_sees_every_event_once_and_streams_in_order_where_a_naive_one_loses_some() {
    everybody_sees_everything(database().await.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_sees_every_event_once_and_in_order_however_many_partitions_they_are_in() {
    let (pool, _) = database().await;
    in_partitions_of(&pool, 20).await;
    let over = Arc::new(AtomicBool::new(false));
    let keeper = tokio::spawn({
        let (store, over) = (writer(&pool), Arc::clone(&over));
        async move {
            // Seals those that are full, so that readers pass them by.
            while !over.load(Ordering::SeqCst) {
                store.extend_log().await.expect("kept");
                tokio::task::yield_now().await;
            }
        }
    });
    sqlx::query("SELECT slipway.extend_log($1)").bind(WRITERS as i64 * EACH).execute(&pool).await.expect("room");
    let total = everybody_sees_everything(pool.clone()).await;
    over.store(true, Ordering::SeqCst);
    keeper.await.expect("no panic");
    let used = "SELECT count(DISTINCT tableoid) FROM slipway.event";
    let used: i64 = sqlx::query_scalar(used).fetch_one(&pool).await.expect("a count");
    assert!(used > 10, "{used} partitions");
    let store = writer(&pool);
    eventually("all that are full to be sealed", async || {
        store.extend_log().await.expect("kept");
        let open = "SELECT count(*) FROM slipway.partition p WHERE p.upto_tx IS NULL
                       AND p.until <= (SELECT last_value FROM slipway.event_pos)";
        let open: i64 = sqlx::query_scalar(open).fetch_one(&pool).await.expect("a count");
        (open == 0).then_some(())
    })
    .await;
    assert_eq!(store.broken_chains().await.expect("a check"), Vec::<String>::new());
    assert_eq!(tail(store, total).await.len(), total, "from the first partition on");
}

async fn everybody_sees_everything(pool: PgPool) -> usize {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let naive = tokio::spawn(naive_tail(pool.clone(), stopped));
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(pool.clone(), writer))).collect();
    let undone: usize =
        (0..WRITERS).map(|writer| (1..=EACH as u64).filter(|n| (writer + n).is_multiple_of(7)).count()).sum();
    let total = (WRITERS as usize * EACH as usize) - undone;
    let tails = join_all((0..3).map(|_| tail(Store::over(pool.clone()), total)));
    let (tails, writers) = tokio::join!(tails, join_all(writers));

    let mut written = HashSet::new();
    for writer in writers {
        written.extend(writer.expect("a writer"));
    }
    stop.send_replace(true);
    assert_eq!(written.len(), total);
    let mut first: Option<Vec<(String, i64)>> = None;
    for seen in tails {
        assert_eq!(seen.iter().cloned().collect::<HashSet<_>>(), written, "every event");
        assert_eq!(seen.len(), total, "none twice");
        let mut versions: HashMap<&str, i64> = HashMap::new();
        for (stream, version) in &seen {
            let last = versions.entry(stream).or_default();
            assert_eq!(*version, *last + 1, "{stream} out of order");
            *last = *version;
        }
        assert_eq!(*first.get_or_insert_with(|| seen.clone()), seen, "the same order for all");
    }
    // The workload is hard enough: what the follower guards against does happen in it.
    assert!(
        naive.await.expect("the naive tail").len() < total,
        "the naive tail lost nothing: the test is too tame"
    );
    total
}

#[tokio::test]
async fn an_append_that_would_invert_a_streams_order_is_tried_anew() {
    let (pool, _) = database().await;
    let (stream, mut early) = ("cluster-100001", pool.begin().await.expect("a transaction"));
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut *early).await.expect("an early id");
    sqlx::query(AssertSqlSafe(append_sql(stream, 0)))
        .execute(&pool)
        .await
        .expect("the first event, with a later id");
    let error = sqlx::query(AssertSqlSafe(append_sql(stream, 1))).execute(&mut *early).await.expect_err("refused");
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    assert_eq!(code.as_deref(), Some("40001"));
}

#[tokio::test]
async fn an_open_transaction_holds_the_tail_back_but_not_the_appends() {
    let (pool, _) = database().await;
    let store = Store::over(pool.clone());
    let service = Service::new(store.clone(), NO_CAPS);
    let mut open = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut *open).await.expect("an id");
    let id = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    assert!(store.read_after(Position::default(), 10).await.expect("a batch").is_empty(), "held back");
    assert!(store.cluster(id).await.expect("the read model").is_some(), "whoever wrote it sees it");
    open.rollback().await.expect("a rollback");
    eventually("the event to be shown", async || {
        (store.read_after(Position::default(), 10).await.expect("a batch").len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_was_told_too_early_looks_again_soon_and_then_less_and_less() {
    let (pool, _) = database().await;
    let store = Store::over(pool.clone());
    let service = Service::new(store.clone(), NO_CAPS);
    let (ring, bell) = tokio::sync::watch::channel(());
    let mut log = Follower::new(&store, bell, Position::default());
    let mut open = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut *open).await.expect("an id");
    let id = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    ring.send_replace(());
    assert!(log.poll().await.expect("a batch").is_empty(), "held back");
    // Nobody rings any more.
    let mut pauses = vec![];
    for _ in 0..4 {
        let began = tokio::time::Instant::now();
        assert!(log.poll().await.expect("a batch").is_empty(), "held back");
        pauses.push(began.elapsed());
    }
    assert!(pauses[0] < listen::POLL / 2 && pauses[3] > Duration::from_millis(40), "{pauses:?}");
    open.rollback().await.expect("a rollback");
    let batch =
        tokio::time::timeout(Duration::from_secs(20), log.next()).await.expect("in time").expect("a batch");
    assert_eq!(batch.recorded[0].cluster, id);
}

#[tokio::test]
async fn a_follower_that_starts_from_the_routes_misses_nothing() {
    let (pool, _) = database().await;
    let store = Store::over(pool.clone());
    let service = Service::new(store.clone(), NO_CAPS);
    let mut open = pool.begin().await.expect("a transaction");
    // In flight while the snapshot is taken: in neither the snapshot nor what came before it.
    sqlx::query(AssertSqlSafe(append_sql("cluster-100001", 0))).execute(&mut *open).await.expect("an append");
    let known = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    let (routed, position) = store.routed().await.expect("a snapshot");
    assert_eq!(routed.keys().copied().collect::<Vec<_>>(), [known]);
    open.commit().await.expect("a commit");
    let late: ClusterId = "cluster-100001".parse().expect("an id");
    eventually("the late event", async || {
        let batch = store.read_after(position, 10).await.expect("a batch");
        batch.iter().any(|recorded| recorded.cluster == late).then_some(())
    })
    .await;
}

#[tokio::test]
async fn after_a_restore_with_younger_transaction_ids_the_order_goes_on() {
    let (pool, _) = database().await;
    let store = Store::over(pool.clone());
    let service = Service::new(store.clone(), NO_CAPS);
    let first = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    // As a dump and restore leaves it: ids from a server that had counted much further.
    sqlx::raw_sql(
        "ALTER TABLE slipway.event DISABLE TRIGGER event_is_immutable;
         UPDATE slipway.event SET tx = '900000000000'; UPDATE slipway.stream SET last_tx = '900000000000';
         ALTER TABLE slipway.event ENABLE ALWAYS TRIGGER event_is_immutable;",
    )
    .execute(&pool)
    .await
    .expect("the state after a restore");
    store.migrate().await.expect("a start settles the epoch");
    let scale = Command::Scale { workers: workers(5) };
    service.execute(first, &scale, &meta("alice"), None).await.expect("the stream goes on");
    let events = eventually("both events", async || {
        let batch = store.read_after(Position::default(), 10).await.expect("a batch");
        (batch.len() == 2).then_some(batch)
    })
    .await;
    assert_eq!(events.iter().map(|recorded| recorded.version).collect::<Vec<_>>(), [1, 2]);
    assert!(store.broken_chains().await.expect("a check").is_empty());
}

#[tokio::test]
async fn a_notification_arrives_without_polling_and_polling_does_without_notifications() {
    let (pool, _) = database().await;
    let store = Store::over(pool.clone());
    let (ring, mut bell) = tokio::sync::watch::channel(());
    let tasks = [tokio::spawn(listen::listen(store.clone(), ring)), tokio::spawn(listen::announce(store.clone()))];
    let service = Service::new(store.clone(), NO_CAPS);
    bell.changed().await.expect("the first ring: catch up");
    bell.borrow_and_update();
    service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
    tokio::time::timeout(Duration::from_secs(5), bell.changed()).await.expect("a ring").expect("a listener");

    // The listener's connection dies; it comes back by itself and rings for what may have been missed.
    bell.borrow_and_update();
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()",
    )
    .execute(&pool)
    .await
    .expect("the listener's connection is ended");
    tokio::time::timeout(Duration::from_secs(10), bell.changed()).await.expect("a ring").expect("a listener");
    tasks.iter().for_each(tokio::task::JoinHandle::abort);

    let (_silent, mut nobody) = tokio::sync::watch::channel(());
    let began = tokio::time::Instant::now();
    listen::wait(&mut nobody).await;
    assert!(began.elapsed() <= listen::POLL * 3, "polls although nobody rings");
}
