//! What tests of several files need: a database of their own, and waiting for what is to come.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::disallowed_methods, reason = "tests read their configuration and the time")]

pub mod wire;

use std::time::Duration;

use slipway::domain::{Access, Launch, Limits, Subject, WorkerCount};
use slipway::store::Store;
use slipway::store::append::{Caps, Meta};
use slipway::store::events::{Position, Recorded};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Caps that bind no test which is not about them.
pub const NO_CAPS: Caps = Caps::NONE;

/// The server of `SLIPWAY_TEST_POSTGRES`, which `ops/check` starts.
pub fn server() -> (PgConnectOptions, String) {
    let url = std::env::var("SLIPWAY_TEST_POSTGRES").expect(
        "SLIPWAY_TEST_POSTGRES is not set: run the tests with ops/check, or name a Postgres superuser's URL",
    );
    (url.parse().expect("SLIPWAY_TEST_POSTGRES is a URL"), url)
}

/// The name of a new database, which is empty, or as the template is.
pub async fn new_database(template: Option<&str>) -> String {
    let name = format!("test_{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::connect_with(&server().0).await.expect("the test server answers");
    let template = template.map(|template| format!(" TEMPLATE {template}")).unwrap_or_default();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}{template}"));
    sqlx::raw_sql(create).execute(&mut connection).await.expect("a test database can be made");
    name
}

/// A new, migrated database.
pub async fn database() -> (PgPool, String) {
    let (pool, url) = empty_database().await;
    Store::over(pool.clone()).migrate().await.expect("the migrations run");
    (pool, url)
}

/// The same without a schema.
pub async fn empty_database() -> (PgPool, String) {
    let (options, server) = server();
    let name = new_database(None).await;
    let options = options.database(&name).options([("search_path", "public")]);
    let pool = PgPoolOptions::new().max_connections(20).connect_with(options).await;
    let pool = pool.expect("the new database answers");
    let url = match server.split_once('?') {
        Some((base, query)) => format!("{}/{name}?{query}", base.rsplit_once('/').expect("a database is named").0),
        None => format!("{}/{name}", server.rsplit_once('/').expect("a database is named").0),
    };
    (pool, url)
}

/// The same database as one of its roles.
pub fn as_role(pool: &PgPool, role: &str) -> PgPool {
    let options = pool.connect_options().as_ref().clone().options([("role", role)]);
    PgPoolOptions::new().max_connections(20).connect_lazy_with(options)
}

/// As API, workers and proxies reach it.
pub fn writer(pool: &PgPool) -> Store {
    Store::over(as_role(pool, "slipway_writer"))
}

pub async fn store() -> Store {
    writer(&database().await.0)
}

/// Waits until `probe` gives something, for a minute at most: a small machine may have much else to do.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited a minute in vain for: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// What a store does, and how much more a figure of the database's statistics is afterwards. A session tells what it counted at its end.
pub async fn counted<T>(pool: &PgPool, figure: &'static str, act: impl AsyncFnOnce(&Store) -> T) -> (T, i64) {
    let count = async |sql| sqlx::query_scalar::<_, i64>(sql).fetch_one(pool).await.expect("a count");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'";
    let ended = async || (count(sessions).await <= i64::from(pool.size())).then_some(());
    eventually("the end of older sessions", ended).await;
    let before = count(figure).await;
    let options = pool.connect_options().as_ref().clone();
    let own = PgPoolOptions::new().connect_lazy_with(options);
    let store = Store::over(own.clone());
    let done = act(&store).await;
    drop(store);
    own.close().await;
    eventually("the end of its sessions", ended).await;
    let more =
        eventually("what it counted", async || Some(count(figure).await - before).filter(|more| *more > 0)).await;
    (done, more)
}

/// All of it, as soon as no transaction of another test holds its end back.
pub async fn whole_log(store: &Store) -> Vec<Recorded> {
    eventually("the end of the log", async || {
        let (_, events) = store.log_size().await.expect("an answer");
        let log = store.read_after(Position::default(), 1_000_000).await.expect("the log can be read");
        (log.len() as i64 == events).then_some(log)
    })
    .await
}

/// As after a fail-over, by who may do anything.
pub async fn begin_epoch(pool: &PgPool) {
    let begin = "UPDATE slipway.installation SET epoch = epoch + 1";
    sqlx::raw_sql(begin).execute(pool).await.expect("a superuser can");
}

pub fn subject(name: &str) -> Subject {
    name.parse().expect("a valid subject")
}

pub fn workers(count: i64) -> WorkerCount {
    count.try_into().expect("a valid worker count")
}

pub fn meta(actor: &str) -> Meta {
    Meta::by(subject(actor))
}

/// A launch as a student would ask for it: 2 workers of at most 8, an hour idle, a day in all.
pub fn launch(owner: &str) -> Launch {
    Launch {
        owner: subject(owner),
        profile: "default".parse().expect("a valid profile"),
        workers: workers(2),
        materials: vec![],
        limits: Limits { workers: workers(8), idle_seconds: 3_600, lifetime_seconds: 86_400 },
        access: Access::Owner,
    }
}
