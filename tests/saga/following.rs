//! Those who follow the log, whatever becomes of their connections.

use std::time::Duration;

use slipway::domain::{Access, Command, Endpoint, Engine, Observation, RouteChange, StopReason};
use slipway::service::feed::Feed;
use slipway::service::routes::Router;
use slipway::store::listen;
use sqlx::PgPool;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::harness::eventually;
use crate::house::House;

const PATIENCE: Duration = Duration::from_secs(20);

const LISTENERS: &str =
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN %'";

async fn listener(pool: &PgPool) -> i32 {
    eventually("a connection that listens", async || {
        sqlx::query_scalar(LISTENERS).fetch_optional(pool).await.expect("an answer")
    })
    .await
}

/// Ends the connection that listens; returns once Postgres has done so.
async fn cut(pool: &PgPool) -> i32 {
    let pid = listener(pool).await;
    let told: bool =
        sqlx::query_scalar("SELECT pg_terminate_backend($1)").bind(pid).fetch_one(pool).await.expect("cut");
    assert!(told);
    eventually("its end", async || {
        let there = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)";
        let there: bool = sqlx::query_scalar(there).bind(pid).fetch_one(pool).await.expect("an answer");
        (!there).then_some(())
    })
    .await;
    pid
}

async fn running(house: &House, id: slipway::domain::ClusterId, port: u16) {
    let endpoint =
        Endpoint { address: [127, 0, 0, 1].into(), ports: [(Engine::Notebook, port)].into(), named: [].into() };
    let seen = Observation::Present { steps: vec![], endpoint: Some(endpoint), workers_ready: 0 };
    house.tell(id, Command::Report(seen)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_though_the_connection_that_listens_is_cut_again_and_again() {
    let house = House::new().await;
    let (bell, heard) = watch::channel(());
    let store = house.service.store().clone();
    tokio::spawn(listen::announce(store.clone()));
    tokio::spawn(listen::listen(store.clone(), bell));
    let feed = Feed::default();
    let mut events = feed.subscribe();
    tokio::spawn(async move { feed.run(&store, heard).await });

    // The feed begins somewhere; from its first event on it must miss none.
    eventually("the first event", async || {
        house.launched().await;
        timeout(Duration::from_millis(200), events.recv()).await.ok()?.ok()
    })
    .await;
    let mut expected = Vec::new();
    for round in 0..3 {
        let cut_off = cut(&house.pool).await;
        for _ in 0..3 {
            expected.push(house.launched().await);
        }
        for id in expected.drain(..) {
            let told = async { while events.recv().await.expect("the feed goes on").cluster != id {} };
            timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("{id} in round {round}"));
        }
        eventually("another connection that listens", async || {
            (listener(&house.pool).await != cut_off).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_gets_the_routes_there_are_and_every_change_though_the_listener_is_cut() {
    let house = House::new().await;
    let (there, later) = (house.launched().await, house.launched().await);
    running(&house, there, 8_080).await;
    let (bell, heard) = watch::channel(());
    let store = house.service.store().clone();
    tokio::spawn(listen::listen(store.clone(), bell));
    let (sender, mut changes) = mpsc::unbounded_channel();
    let apply = move |changes: Vec<RouteChange>| {
        changes.into_iter().for_each(|change| sender.send(change).expect("somebody listens"));
    };
    let router = Router::default();
    router.load(&store, &apply).await.expect("the routes");
    tokio::spawn(async move { router.follow(&store, heard, true, apply, || ()).await });
    let mut next = async || timeout(PATIENCE, changes.recv()).await.expect("in time").expect("a change");

    let path = |change: RouteChange| match change {
        RouteChange::Put { path, route, .. } => (path.to_string(), Some(route.target.port())),
        RouteChange::Remove { path } => (path.to_string(), None),
        RouteChange::Door { cluster, door } => (cluster.to_string(), door.map(|_| 0)),
    };
    // The doors first: of those there are, in any order.
    let mut loaded_first = vec![path(next().await), path(next().await), path(next().await)];
    let route = loaded_first.iter().position(|change| *change == (format!("/{there}"), Some(8_080)));
    assert!(loaded_first[..route.expect("its route")].contains(&(there.to_string(), Some(0))), "{loaded_first:?}");
    loaded_first.retain(|(name, _)| !name.starts_with('/'));
    loaded_first.sort_unstable();
    let mut doors = [(there.to_string(), Some(0)), (later.to_string(), Some(0))];
    doors.sort_unstable();
    assert_eq!(loaded_first, doors);
    cut(&house.pool).await;
    running(&house, later, 9_090).await;
    assert_eq!(path(next().await), (format!("/{later}"), Some(9_090)));
    house.tell(there, Command::Stop { reason: StopReason::Owner }).await;
    assert_eq!(path(next().await), (format!("/{there}"), None));
    assert_eq!(path(next().await), (there.to_string(), None), "and nobody may enter");
    house.tell(later, Command::SetAccess { access: Access::Public }).await;
    assert_eq!(path(next().await), (later.to_string(), Some(0)));
}
