//! Appends that are under way at the same time: few transactions, and each append with an answer of its own.

use std::pin::pin;

use futures_util::future::{join, join_all};
use futures_util::poll;
use slipway::domain::{Access, Cluster, ClusterId, Event, cluster};
use slipway::service::Service;
use slipway::store::append::{Append, Appended, Caps};
use slipway::store::{Store, StoreError};
use sqlx::PgPool;

use crate::harness::{NO_CAPS, database, launch, meta, subject, writer};
use crate::partitions::in_partitions_of;

/// More than one transaction takes.
const MANY: usize = 40;

/// Clusters with one event each.
async fn clusters(store: &Store) -> Vec<(ClusterId, Cluster)> {
    let service = Service::new(store.clone(), NO_CAPS);
    let mut clusters = Vec::new();
    for n in 0..MANY {
        let owner = format!("owner-{n}");
        let cluster = service.launch(launch(&owner), subject(&owner), None).await.expect("a launch").cluster;
        clusters.push((cluster.id, cluster));
    }
    clusters
}

/// Opens a cluster to everybody, which touches nothing but its own stream.
async fn append(store: &Store, before: &Cluster, expected: i64) -> Result<Appended, StoreError> {
    let events = [Event::AccessSet { access: Access::Public }];
    let after = cluster::evolve(before.id, Some(before.clone()), &events[0]).expect("it follows");
    let append = Append {
        id: before.id,
        expected,
        events: &events,
        before: Some(before),
        after: &after,
        meta: &meta("alice"),
        wake: true,
        caps: Caps::NONE,
        key: None,
    };
    store.append(append).await
}

/// How many events there are beyond the launches, and of how many transactions.
async fn appended(pool: &PgPool) -> (i64, i64) {
    let count = "SELECT count(*), count(DISTINCT tx) FROM slipway.event WHERE version > 1";
    sqlx::query_as(count).fetch_one(pool).await.expect("a count")
}

fn is_at(outcome: &Result<Appended, StoreError>, expected: i64) -> bool {
    matches!(outcome, Ok(Appended::At { version, .. }) if *version == expected)
}

#[tokio::test]
async fn those_that_wait_at_the_same_time_share_transactions() {
    let (pool, _) = database().await;
    let store = writer(&pool);
    let clusters = clusters(&store).await;
    let outcomes = join_all(clusters.iter().map(|(_, cluster)| append(&store, cluster, 1))).await;
    assert!(outcomes.iter().all(|outcome| is_at(outcome, 2)), "{outcomes:?}");
    assert_eq!(appended(&pool).await, (MANY as i64, 2), "32 and the rest");
    assert_eq!(store.broken_chains().await.expect("a check"), Vec::<String>::new());
    let behind = "SELECT count(*) FROM slipway.event e JOIN slipway.cluster c ON c.id = e.stream_id AND c.version = e.version
                    JOIN slipway.work w ON w.stream_id = e.stream_id AND w.wanted_version = e.version WHERE e.version = 2";
    let written: i64 = sqlx::query_scalar(behind).fetch_one(&pool).await.expect("a count");
    assert_eq!(written, MANY as i64, "read model and wanted work as well");
}

#[tokio::test]
async fn one_that_is_refused_takes_nobody_along() {
    let (pool, _) = database().await;
    let store = writer(&pool);
    let clusters = clusters(&store).await;
    let expected = |n: usize| if n.is_multiple_of(8) { 7 } else { 1 };
    let appends = clusters.iter().enumerate().map(|(n, (_, cluster))| append(&store, cluster, expected(n)));
    for (n, outcome) in join_all(appends).await.iter().enumerate() {
        let right =
            if expected(n) == 1 { is_at(outcome, 2) } else { matches!(outcome, Err(StoreError::Conflict)) };
        assert!(right, "{n}: {outcome:?}");
    }
    assert_eq!(appended(&pool).await.0, 35);
    assert_eq!(store.broken_chains().await.expect("a check"), Vec::<String>::new());
}

#[tokio::test]
async fn of_two_on_the_same_version_one_is_refused_and_nobody_else() {
    let (pool, _) = database().await;
    let store = writer(&pool);
    let clusters = clusters(&store).await;
    let (_, first) = &clusters[0];
    let twice = join_all([1, 1].map(|expected| append(&store, first, expected)));
    let (twice, others) = join(twice, join_all(clusters[1..].iter().map(|(_, one)| append(&store, one, 1)))).await;
    let refused = twice.iter().filter(|outcome| matches!(outcome, Err(StoreError::Conflict))).count();
    let recorded = twice.iter().filter(|outcome| is_at(outcome, 2)).count();
    assert_eq!((recorded, refused), (1, 1), "{twice:?}");
    assert!(others.iter().all(|outcome| is_at(outcome, 2)), "{others:?}");
    assert_eq!(appended(&pool).await.0, MANY as i64);
}

#[tokio::test]
async fn whoever_no_longer_waits_holds_nobody_up_and_records_nothing() {
    let (pool, _) = database().await;
    let store = writer(&pool);
    let clusters = clusters(&store).await;
    let outcome = {
        let mut stays = pin!(append(&store, &clusters[0].1, 1));
        let mut goes = Box::pin(append(&store, &clusters[1].1, 1));
        assert!(poll!(stays.as_mut()).is_pending() && poll!(goes.as_mut()).is_pending());
        drop(goes);
        stays.await
    };
    assert!(is_at(&outcome, 2), "{outcome:?}");
    assert_eq!(appended(&pool).await, (1, 1));
}

#[tokio::test]
async fn they_make_room_that_nobody_has_made() {
    let (pool, _) = database().await;
    in_partitions_of(&pool, 50).await;
    let store = writer(&pool);
    let clusters = clusters(&store).await;
    for round in 1..=4 {
        let outcomes = join_all(clusters.iter().map(|(_, cluster)| append(&store, cluster, round))).await;
        assert!(outcomes.iter().all(|outcome| is_at(outcome, round + 1)), "{outcomes:?}");
    }
    let used = "SELECT count(DISTINCT tableoid) FROM slipway.event";
    let used: i64 = sqlx::query_scalar(used).fetch_one(&pool).await.expect("a count");
    assert!(used >= 4, "{used}");
    assert_eq!(store.broken_chains().await.expect("a check"), Vec::<String>::new());
}
