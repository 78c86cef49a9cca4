//! What a look at the work queue has to go over, and that it passes nothing over.

use std::time::Duration;

use slipway::store::Store;
use slipway::store::claim::Frontier;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::harness::{database, eventually};
use crate::partitions::count;

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

/// One connection, as what is counted for a transaction is known within it.
async fn counting(pool: &PgPool) -> PgPool {
    let options = pool.connect_options().as_ref().clone();
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("a connection");
    sqlx::raw_sql("BEGIN").execute(&pool).await.expect("a transaction");
    pool
}

#[tokio::test]
async fn a_claim_reads_what_is_due_and_not_what_is_scheduled() {
    let (pool, _) = database().await;
    scheduled(&pool, 20_000).await;
    let counting = counting(&pool).await;
    let store = Store::over(counting.clone());
    let mut frontier = Frontier::default();
    let mut take = async || store.take("one", 32, LONG, &mut frontier).await.expect("a claim");
    assert_eq!(take().await.leases.len(), 1);
    // Often enough for the plans that are kept.
    for _ in 0..10 {
        let taken = take().await;
        assert!(taken.leases.is_empty() && taken.next_due.is_some(), "{taken:?}");
    }
    let read =
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'slipway.work'::regclass";
    let read = count(&counting, read).await;
    assert!((1..100).contains(&read), "{read} rows were read");
}

#[tokio::test]
async fn a_look_goes_over_what_was_done_lately_and_not_over_all_that_an_open_transaction_keeps() {
    const JOBS: i64 = 2_000;
    let (pool, _) = database().await;
    scheduled(&pool, 0).await;
    let mut old = pool.begin().await.expect("a transaction");
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT FROM slipway.work")
        .execute(&mut *old)
        .await
        .expect("a snapshot");
    sqlx::raw_sql(
        "DO $$ BEGIN FOR n IN 1 .. 2000 LOOP
             UPDATE slipway.work SET done_version = 3, due_at = NULL;
             UPDATE slipway.work SET done_version = 2, due_at = now() - interval '1 h' + n * interval '1 s';
         END LOOP; END $$",
    )
    .execute(&pool)
    .await
    .expect("done as often");
    let counting = counting(&pool).await;
    let store = Store::over(counting.clone());
    let mut frontier = Frontier::default();
    let mut entries_of = async || {
        let read = "SELECT pg_stat_get_xact_tuples_returned('slipway.work_due'::regclass)";
        let before = count(&counting, read).await;
        let taken = store.take("one", 32, LONG, &mut frontier).await.expect("a look");
        (taken.leases.len(), count(&counting, read).await - before)
    };
    let (leases, entries) = entries_of().await;
    assert_eq!(leases, 1);
    assert!(entries > JOBS, "{entries} entries: the open transaction keeps none, and nothing is shown");
    // It takes a second until there is another one from the beginning: of two at once, one is none.
    eventually("a look that goes over little", async || (entries_of().await.1 < 50).then_some(())).await;
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
