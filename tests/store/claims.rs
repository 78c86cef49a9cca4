//! What a look at the work queue has to go over, and that it passes nothing over.

use std::time::Duration;

use slipway::domain::Command;
use slipway::service::Service;
use slipway::store::Store;
use slipway::store::claim::Frontier;
use sqlx::{PgPool, Postgres, Transaction};

use crate::harness::{NO_CAPS, counted, database, eventually, launch, meta, subject, workers, writer};

const LONG: Duration = Duration::from_secs(60);

/// So many rows of work, due in an hour, of half of which somebody wants something; the first is asked for and due.
async fn scheduled(pool: &PgPool, many: i32) {
    sqlx::query(
        "INSERT INTO slipway.work (stream_id, wanted_version, done_version, due_at)
         SELECT 'cluster-' || 100000 + n, 3, n % 2 * 3, now() + CASE n WHEN 0 THEN interval '0' ELSE interval '1 hour' END
           FROM generate_series(0, $1) n",
    )
    .bind(many)
    .execute(pool)
    .await
    .expect("much is scheduled");
    sqlx::raw_sql("ANALYZE slipway.work").execute(pool).await.expect("analysed");
}

#[tokio::test]
async fn a_claim_reads_what_is_due_and_not_what_is_scheduled() {
    let (pool, _) = database().await;
    scheduled(&pool, 20_000).await;
    let read = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relid = 'slipway.work'::regclass";
    let work = async |store: &Store| {
        let mut frontier = Frontier::default();
        let mut take = async || store.take("one", 32, LONG, &mut frontier).await.expect("a claim");
        assert_eq!(take().await.leases.len(), 1);
        // Often enough for the plans that are kept.
        for _ in 0..10 {
            let taken = take().await;
            assert!(taken.leases.is_empty() && taken.next_due.is_some(), "{taken:?}");
        }
    };
    let ((), read) = counted(&pool, read, work).await;
    assert!(read < 100, "{read} rows were read");
}

/// A snapshot that somebody keeps, and with it all versions of every row of work from then on.
async fn old_snapshot(pool: &PgPool) -> Transaction<'static, Postgres> {
    let mut old = pool.begin().await.expect("a transaction");
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT FROM slipway.work")
        .execute(&mut *old)
        .await
        .expect("a snapshot");
    old
}

#[tokio::test]
async fn a_look_goes_over_what_was_done_lately_and_not_over_all_that_an_open_transaction_keeps() {
    const JOBS: i64 = 2_000;
    let (pool, _) = database().await;
    scheduled(&pool, 0).await;
    let old = old_snapshot(&pool).await;
    sqlx::raw_sql(
        "DO $$ BEGIN FOR n IN 1 .. 2000 LOOP
             UPDATE slipway.work SET done_version = 3, due_at = NULL;
             UPDATE slipway.work SET done_version = 2, due_at = now() - interval '1 h' + n * interval '1 s';
         END LOOP; END $$",
    )
    .execute(&pool)
    .await
    .expect("done as often");
    let entries = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelid = 'slipway.work_due'::regclass";
    let mut frontier = Frontier::default();
    let mut look =
        async |store: &Store| store.take("one", 32, LONG, &mut frontier).await.expect("a look").leases.len();
    let (leases, read) = counted(&pool, entries, &mut look).await;
    assert_eq!(leases, 1);
    assert!(read > JOBS, "{read} entries: the open transaction keeps none, and nothing is shown");
    let (leases, read) = counted(&pool, entries, &mut look).await;
    assert!(leases == 0 && read < 50, "{read} entries");
    drop(old);
}

#[tokio::test]
async fn a_job_looks_at_the_newest_version_of_a_row_and_not_at_all_that_an_open_transaction_keeps() {
    let (pool, _) = database().await;
    let service = Service::new(writer(&pool), NO_CAPS);
    let id = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    drop(service);
    let old = old_snapshot(&pool).await;
    let scale = async |store: &Store, times: i64| {
        let service = Service::new(store.clone(), NO_CAPS);
        let mut frontier = Frontier::default();
        for n in 0..times {
            let command = Command::Scale { workers: workers(n % 5 + 1) };
            service.execute(id, &command, &meta("alice"), None).await.expect("scaled");
            let leases = store.take("one", 32, LONG, &mut frontier).await.expect("a claim").leases;
            assert_eq!(store.finish_all(&leases).await.expect("finished"), [id]);
        }
    };
    let touched = "SELECT sum(heap_blks_hit + heap_blks_read)::bigint FROM pg_statio_user_tables
                    WHERE relid IN ('slipway.work'::regclass, 'slipway.stream'::regclass, 'slipway.cluster'::regclass)";
    let (_, young) = counted(&pool, touched, async |store: &Store| scale(store, 20).await).await;
    counted(&pool, touched, async |store: &Store| scale(store, 500).await).await;
    let (_, aged) = counted(&pool, touched, async |store: &Store| scale(store, 20).await).await;
    // A look or two at all of the queue are among them; each job at all versions of its row would make it a hundred times as many.
    assert!(aged < young * 10, "{young} pages for twenty jobs at first, {aged} after five hundred more");
    drop(old);
}

#[tokio::test]
async fn what_becomes_visible_late_is_found_by_a_look_from_the_beginning() {
    let (pool, _) = database().await;
    scheduled(&pool, 1).await;
    let store = Store::over(pool.clone());
    let mut frontier = Frontier::default();
    let mut take = async || store.take("one", 32, LONG, &mut frontier).await.expect("a look").leases.len();
    let mut late = pool.begin().await.expect("a transaction");
    sqlx::raw_sql("UPDATE slipway.work SET due_at = now() - interval '1 h' WHERE stream_id = 'cluster-100001'")
        .execute(&mut *late)
        .await
        .expect("due an hour ago");
    assert_eq!((take().await, take().await), (1, 0));
    late.commit().await.expect("committed");
    eventually("it", async || (take().await == 1).then_some(())).await;
}
