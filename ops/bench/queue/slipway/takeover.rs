//! A worker that is killed while it holds many leases, and those who take them over.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use slipway::clock::Clock;
use slipway::domain::{Blueprint, ClusterId, Endpoint, Observation};
use slipway::parts::Base;
use slipway::runtime::engines::EngineActivity;
use slipway::runtime::{Pace, Runtime, RuntimeError};
use slipway::service::Service;
use slipway::service::worker::{Worker, WorkerConfig};
use slipway::store::events::Caps;
use sqlx::PgPool;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::clients::Wanting;

const LEASES: usize = 100;
/// Each claim with its time, as the server saw it.
const NOTE_CLAIMS: &str = "
    CREATE TABLE claim (stream_id text, owner text, at timestamptz DEFAULT clock_timestamp());
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO claim VALUES (NEW.stream_id, NEW.lease_owner); RETURN NULL; END $$;
    CREATE TRIGGER noted AFTER UPDATE ON slipway.work FOR EACH ROW
       WHEN (NEW.lease_token > OLD.lease_token) EXECUTE FUNCTION note();";

pub async fn run(database: &str, lease: u64) -> Value {
    let base = Base::connect(database, 8, true).await.unwrap();
    let pool = PgPool::connect(database).await.unwrap();
    sqlx::raw_sql(NOTE_CLAIMS).execute(&pool).await.unwrap();
    join_all((0..LEASES).map(|_| Wanting::launch(&base.store))).await;
    let start = |name: &str| {
        let program = std::env::current_exe().unwrap();
        Command::new(program).args(["hold", name, &lease.to_string()]).spawn().unwrap()
    };
    let mut dying = start("dying");
    until(&pool, "SELECT count(*) = 100 FROM slipway.work WHERE lease_owner = 'dying'").await;
    let heirs = ["heir:1", "heir:2"].map(start);
    // Any time between two of its heartbeats.
    sleep(Duration::from_secs(1) + Duration::from_secs(lease).mul_f64(rand::random_range(0.0..0.34))).await;
    dying.kill().unwrap();
    dying.wait().unwrap();
    let died: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await.unwrap();
    until(&pool, "SELECT count(*) = 0 FROM slipway.work WHERE lease_owner = 'dying'").await;
    for mut heir in heirs {
        heir.kill().unwrap();
        heir.wait().unwrap();
    }
    let taken = "SELECT min(after), max(after), count(*) - count(DISTINCT stream_id), count(DISTINCT stream_id) FROM (
        SELECT stream_id, extract(epoch FROM at - $1)::double precision AS after FROM claim WHERE owner <> 'dying') c";
    let taken: (f64, f64, i64, i64) = sqlx::query_as(taken).bind(died).fetch_one(&pool).await.unwrap();
    let (first, last, twice, all) = taken;
    assert_eq!(all, LEASES as i64);
    json!({"leases": LEASES, "first": first, "last": last, "twice": twice})
}

async fn until(pool: &PgPool, condition: &'static str) {
    while !sqlx::query_scalar::<_, bool>(condition).fetch_one(pool).await.unwrap() {
        sleep(Duration::from_millis(5)).await;
    }
}

/// A worker all of whose passes take for ever.
pub async fn hold(database: &str, name: &str, lease: u64) {
    let base = Base::connect(database, 8, false).await.unwrap();
    let mut config = WorkerConfig::new(name.parse().unwrap());
    config.lease = Duration::from_secs(lease);
    config.concurrency = LEASES;
    let service = Service::new(base.store.clone(), Caps::NONE);
    let worker = Worker::new(service, Arc::new(Endless), Clock::system(), config);
    let (_never, stop) = watch::channel(false);
    worker.run(base.bell.clone(), stop).await;
}

struct Endless;

impl Runtime for Endless {
    async fn apply(&self, _: &Blueprint) -> Result<(), RuntimeError> {
        std::future::pending().await
    }

    async fn delete(&self, _: ClusterId) -> Result<(), RuntimeError> {
        std::future::pending().await
    }

    async fn observe(&self, _: ClusterId) -> Result<Observation, RuntimeError> {
        std::future::pending().await
    }

    async fn list(&self) -> Result<Vec<ClusterId>, RuntimeError> {
        Ok(vec![])
    }

    async fn activity(&self, _: ClusterId, _: &Endpoint) -> Result<Option<EngineActivity>, RuntimeError> {
        Ok(None)
    }

    fn changes(&self) -> mpsc::Receiver<ClusterId> {
        mpsc::channel(1).1
    }

    fn pace(&self) -> Pace {
        let never = Duration::from_secs(3600);
        Pace { launching: never, running: never, ending: never }
    }
}
