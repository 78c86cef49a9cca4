//! Postgres is stopped, or crashes, in the middle of an append, of a claim, and of a read of the log.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use slipway::service::ExecuteError;
use slipway::store::append::RequestKey;
use slipway::store::{Store, StoreError};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use crate::dump::place;
use crate::harness::wire::Wire;
use crate::harness::{eventually, launch, subject};
use crate::killed::launched;
use crate::log::{Reader, goes_on, launch_some, service, whole};
use crate::postgres::Server;

const LEASE: Duration = Duration::from_secs(60);

/// A folder that the database's user may enter.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    folder
}

pub async fn migrated(server: &Server) -> Store {
    let store = Store::connect(&server.url(), 8).await.expect("Postgres answers");
    store.migrate().await.expect("the migrations run");
    store
}

/// Somebody who has a table to himself.
async fn lock(server: &Server, table: &str) -> PgConnection {
    let mut holder = PgConnection::connect(&server.url()).await.expect("Postgres answers");
    let lock = AssertSqlSafe(format!("BEGIN; LOCK TABLE slipway.{table} IN ACCESS EXCLUSIVE MODE"));
    sqlx::raw_sql(lock).execute(&mut holder).await.expect("a lock");
    holder
}

/// Until so many wait for a lock. The holder cannot tell: within a transaction the server's activity stands still.
async fn awaited(server: &Server, many: i64) {
    let mut watch = PgConnection::connect(&server.url()).await.expect("Postgres answers");
    eventually("somebody to be in the middle of it", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut watch).await.expect("a count");
        (waiting >= many).then_some(())
    })
    .await;
}

fn restart(server: &Server, crashes: bool) {
    if crashes {
        server.crash();
    } else {
        server.stop();
    }
    server.start();
}

/// Once more for each connection that is broken: they are found out one by one.
async fn again<T>(what: impl AsyncFn() -> Result<T, StoreError>) -> T {
    eventually("the database to be back", async || what().await.ok()).await
}

async fn appending(server: &Server, crashes: bool) {
    let store = &migrated(server).await;
    let service = &service(store);
    let key = RequestKey { key: format!("crashes-{crashes}"), fingerprint: [1; 32] };
    let before = whole(store).await.len();
    let _holder = lock(server, "usage").await;
    let (asked, with) = (service.clone(), key.clone());
    let append = tokio::spawn(async move { asked.launch(launch("alice"), subject("alice"), Some(&with)).await });
    // The event is written by then, and not committed.
    awaited(server, 1).await;
    restart(server, crashes);
    let told = append.await.expect("no panic");
    let there = again(async || store.log_size().await).await.1 > before as i64;
    match told {
        Err(error) => assert!(matches!(error, ExecuteError::Store(StoreError::Database { .. })), "{error}"),
        // Whoever holds the lock may be ended a moment before whoever waits for it.
        Ok(_) => assert!(there, "it was told of it"),
    }
    for repeated in [there, true] {
        let done = service.launch(launch("alice"), subject("alice"), Some(&key)).await.expect("once more");
        assert_eq!(done.repeated, repeated);
    }
    assert_eq!(whole(store).await.len(), before + 1);
}

async fn claiming(server: &Server, crashes: bool) {
    let store = &migrated(server).await;
    let service = &service(store);
    let id = launched(service).await;
    let _holder = lock(server, "work").await;
    let asked = store.clone();
    let claim = tokio::spawn(async move { asked.claim("first", 9, LEASE).await });
    awaited(server, 1).await;
    restart(server, crashes);
    // Whoever holds the lock may be ended a moment before whoever waits for it.
    if let Ok(held) = claim.await.expect("no panic") {
        for lease in &held {
            again(async || store.finish(lease).await).await;
        }
        return;
    }
    let held = again(async || store.claim("second", 9, LEASE).await).await;
    assert_eq!(
        held.iter().map(|lease| (lease.id, lease.attempt)).collect::<Vec<_>>(),
        [(id, 1)],
        "nobody holds it"
    );
    assert!(store.finish(&held[0]).await.expect("an answer"));
}

async fn reading(server: &Server, crashes: bool) {
    let store = &migrated(server).await;
    let service = &service(store);
    let wire = Wire::to(place(server)).await;
    let over_wire = Store::to(&wire.url("slipway", "postgres"), 2).expect("an address");
    let (reader, forgetful) = (Reader::of(store.clone()), Reader::forgetful(over_wire));
    launch_some(service, 3).await;
    let log = whole(store).await;
    reader.has(&log).await;
    forgetful.has(&log).await;
    let _holder = lock(server, "event").await;
    reader.seen();
    awaited(server, 2).await;
    // The forgetful one is in the middle as well: it gets no answer, and is not back before there is more.
    wire.hold(true);
    wire.cut();
    restart(server, crashes);
    let store = Store::connect(&server.url(), 2).await.expect("Postgres answers");
    launch_some(&crate::log::service(&store), 3).await;
    let log = whole(&store).await;
    reader.has(&log).await;
    wire.hold(false);
    goes_on(&forgetful, &store).await;
    let log = whole(&store).await;
    reader.has(&log).await;
    assert!(forgetful.seen().len() < log.len(), "nothing was lost: the test is too tame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_in_the_middle_takes_nothing_with_it_that_was_told_and_tells_nothing_that_it_took()
{
    let folder = folder();
    let server = Server::new(folder.path());
    for crashes in [false, true] {
        appending(&server, crashes).await;
        claiming(&server, crashes).await;
        reading(&server, crashes).await;
    }
    let store = migrated(&server).await;
    assert_eq!(store.broken_chains().await.expect("a check"), Vec::<String>::new());
}
