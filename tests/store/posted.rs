//! Posted routes: recorded in order, read without a horizon, chained.

use serde_json::{Map, json};
use slipway::domain::{Posted, RoutePath};
use slipway::service::posted::{Ledger, News};
use sqlx::PgPool;

use crate::harness::{database, writer};
use slipway::store::Store;

fn put(path: &str, target: &str) -> Posted {
    Posted::Put {
        path: path.parse().expect("a path"),
        data: Map::from_iter([("target".to_owned(), json!(target))]),
    }
}

fn removed(path: &str) -> Posted {
    Posted::Removed { path: path.parse().expect("a path") }
}

async fn open(pool: &PgPool) -> Ledger {
    Ledger::open(writer(pool)).await.expect("it opens").0
}

#[tokio::test]
async fn a_reader_gets_every_change_once_and_in_order() {
    let (pool, _) = database().await;
    let (mut one, mut other) = (open(&pool).await, open(&pool).await);
    let first = vec![put("/a", "1"), put("/b", "1"), removed("/a"), put("/a", "2")];
    assert_eq!(one.record(first.clone()).await.expect("recorded"), News::Changes(first.clone()));
    let second = vec![removed("/b")];
    let news = other.record(second.clone()).await.expect("recorded");
    assert_eq!(news, News::Changes([first, second.clone()].concat()), "what others have recorded comes first");
    assert_eq!(other.news().await.expect("read"), News::Changes(vec![]));
    assert_eq!(one.news().await.expect("read"), News::Changes(second));
    let now = Store::over(pool).posted_routes().await.expect("read");
    assert_eq!(
        (now.last.version, now.routes.into_iter().map(|(posted, _)| posted).collect()),
        (5, vec![put("/a", "2")])
    );
}

#[tokio::test]
async fn writers_at_once_leave_one_unbroken_chain() {
    let (pool, _) = database().await;
    let writing = (0..8).map(|writer| {
        let pool = pool.clone();
        async move {
            let mut ledger = open(&pool).await;
            for n in 0..10 {
                ledger
                    .record(vec![put(&format!("/{writer}/{n}"), "x"), put("/all", "y")])
                    .await
                    .expect("recorded");
            }
        }
    });
    futures_util::future::join_all(writing).await;
    let store = Store::over(pool.clone());
    assert_eq!(store.broken_posts().await.expect("read"), Vec::<String>::new());
    let now = store.posted_routes().await.expect("read");
    assert_eq!((now.last.version, now.routes.len()), (160, 81));
    let refused = sqlx::query("UPDATE slipway.route_event SET path = '/x' WHERE version = 7").execute(&pool).await;
    assert!(refused.is_err(), "events do not change");
    sqlx::raw_sql(
        "ALTER TABLE slipway.route_event DISABLE TRIGGER USER;
         UPDATE slipway.route_event SET path = '/x' WHERE version = 7",
    )
    .execute(&pool)
    .await
    .expect("a superuser can");
    assert_eq!(store.broken_posts().await.expect("read").len(), 1, "and it shows");
}

#[tokio::test]
async fn ten_thousand_routes_are_one_append() {
    let (pool, _) = database().await;
    let mut ledger = open(&pool).await;
    let many: Vec<_> = (0..10_000).map(|n| put(&format!("/user/{n}"), "http://10.0.0.1:8888")).collect();
    assert_eq!(ledger.record(many.clone()).await.expect("recorded"), News::Changes(many));
    let store = Store::over(pool);
    assert_eq!(store.posted_routes().await.expect("read").routes.len(), 10_000);
    assert_eq!(store.broken_posts().await.expect("read"), Vec::<String>::new());
}

#[tokio::test]
async fn uses_are_merged_as_a_maximum() {
    let (pool, _) = database().await;
    open(&pool).await.record(vec![put("/a", "x")]).await.expect("recorded");
    let store = Store::over(pool);
    let at = |text: &str| text.parse().expect("a time");
    let path: RoutePath = "/a".parse().expect("a path");
    let (late, later) = (at("2990-01-01T00:00:00Z"), at("2991-01-01T00:00:00Z"));
    for (seen, expected) in [(late, late), (later, later), (late, later)] {
        let shared = store.share_posted_activity(&[(path.clone(), seen)], at("2000-01-01T00:00:00Z")).await;
        assert_eq!(shared.expect("shared"), vec![("/a".to_owned(), expected)]);
    }
}

#[tokio::test]
async fn a_read_model_that_is_wrong_shows_and_is_made_anew() {
    let (pool, _) = database().await;
    let mut ledger = open(&pool).await;
    ledger.record(vec![put("/a", "1"), put("/b", "1"), put("/c", "1")]).await.expect("recorded");
    ledger.record(vec![put("/a", "2"), removed("/c")]).await.expect("recorded");
    let store = Store::over(pool.clone());
    let (known, none) = (store.posted_routes().await.expect("read"), Vec::<String>::new());
    assert_eq!(store.wrong_posts().await.expect("read"), none);
    sqlx::raw_sql(
        "DELETE FROM slipway.posted_route WHERE path = '/a';
         UPDATE slipway.posted_route SET data = '{\"target\": \"x\"}' WHERE path = '/b';
         INSERT INTO slipway.posted_route SELECT '/c', 3, '{}', now();
         INSERT INTO slipway.posted_route SELECT '/d', 9, '{}', now()",
    )
    .execute(&pool)
    .await
    .expect("a superuser can");
    assert_eq!(store.wrong_posts().await.expect("read").len(), 4);
    assert_eq!(store.rebuild_posted().await.expect("rebuilt"), 2);
    assert_eq!(store.wrong_posts().await.expect("read"), none);
    let mut now = store.posted_routes().await.expect("read");
    let mut then = known;
    for routes in [&mut now.routes, &mut then.routes] {
        routes.sort_by_key(|(posted, _)| posted.path().to_string());
    }
    assert_eq!(now.routes, then.routes);
}

#[tokio::test]
async fn who_has_read_what_the_log_then_lost_is_given_all_that_there_is() {
    let (pool, _) = database().await;
    let (mut one, mut reader) = (open(&pool).await, open(&pool).await);
    one.record(vec![put("/a", "1"), put("/lost", "1")]).await.expect("recorded");
    reader.news().await.expect("read");
    let lose = "ALTER TABLE slipway.route_event DISABLE TRIGGER route_event_is_immutable;
                DELETE FROM slipway.route_event WHERE path = '/lost'; DELETE FROM slipway.posted_route WHERE path = '/lost'";
    sqlx::raw_sql(lose).execute(&pool).await.expect("a superuser can");
    open(&pool).await.record(vec![put("/b", "1")]).await.expect("recorded in its place");
    let paths = |news: News| match news {
        News::Changes(changes) => panic!("{changes:?} of another log"),
        News::All(routes) => {
            let mut paths: Vec<_> = routes.iter().map(|(route, _)| route.path().to_string()).collect();
            paths.sort();
            paths
        }
    };
    // By their numbers, these would come next.
    assert_eq!(paths(one.record(vec![put("/c", "1")]).await.expect("recorded")), ["/a", "/b", "/c"]);
    assert_eq!(paths(reader.news().await.expect("read")), ["/a", "/b", "/c"]);
    assert_eq!(reader.news().await.expect("read"), News::Changes(vec![]));
}
