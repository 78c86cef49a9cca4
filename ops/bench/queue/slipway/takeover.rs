//! How soon others have what a worker held that was killed.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use slipway::clock::Clock;
use slipway::domain::{Blueprint, ClusterId, Endpoint, Observation};
use slipway::parts::Base;
use slipway::runtime::engines::EngineActivity;
use slipway::runtime::{Pace, Runtime, RuntimeError};
use slipway::service::Service;
use slipway::service::worker::{Worker, WorkerConfig};
use slipway::store::append::Caps;
use sqlx::PgPool;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::clients::Wanting;

const LEASES: usize = 100;
/// Each claim, and when the lease before it ended, as the server saw it.
const NOTE_CLAIMS: &str = "
    CREATE TABLE public.claim (stream_id text, owner text, ended timestamptz, at timestamptz DEFAULT clock_timestamp());
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO public.claim VALUES (NEW.stream_id, NEW.lease_owner, OLD.due_at); RETURN NULL; END $$;
    CREATE TRIGGER noted AFTER UPDATE ON slipway.work FOR EACH ROW
       WHEN (NEW.lease_token > OLD.lease_token) EXECUTE FUNCTION public.note();";
const TAKEN: &str = "
    SELECT count(DISTINCT stream_id), count(*) - count(DISTINCT stream_id),
           array_agg(extract(epoch FROM at - $1)::double precision),
           array_agg(extract(epoch FROM at - ended)::double precision)
      FROM public.claim WHERE owner <> 'dying'";

/// A process with a worker; killed when it is dropped, and it ends by itself when this process does.
struct Process(Child);

impl Process {
    fn start(database: &str, name: &str, lease: Duration) -> Self {
        let lease = lease.as_secs().to_string();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--database", database, "hold", name, &lease]).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// As `kill -9`.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One worker is killed that holds all there is, at any time between two of its heartbeats; two others have nothing to do.
pub async fn run(database: &str, lease: Duration) -> Value {
    let base = Base::connect(database, 8, true).await.unwrap();
    let pool = PgPool::connect(database).await.unwrap();
    sqlx::raw_sql(NOTE_CLAIMS).execute(&pool).await.unwrap();
    join_all((0..LEASES).map(|_| Wanting::launch(&base.store))).await;
    let mut dying = Process::start(database, "dying", lease);
    until(&pool, "SELECT count(*) = 100 FROM slipway.work WHERE lease_owner = 'dying'").await;
    let heirs = ["heir:1", "heir:2"].map(|name| Process::start(database, name, lease));
    let listening = "SELECT count(*) >= 4 FROM pg_stat_activity
                      WHERE datname = current_database() AND query ILIKE 'LISTEN %'";
    until(&pool, listening).await;
    sleep(lease / 3 + (lease / 3).mul_f64(rand::random_range(0.0..1.0))).await;
    dying.kill();
    let died: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await.unwrap();
    until(&pool, "SELECT count(*) = 0 FROM slipway.work WHERE lease_owner = 'dying'").await;
    // Whoever were to take something once more would do so now.
    sleep(Duration::from_secs(2)).await;
    let taken = sqlx::query_as(TAKEN).bind(died).fetch_one(&pool).await.unwrap();
    let (all, twice, after, late): (i64, i64, Vec<f64>, Vec<f64>) = taken;
    drop(heirs);
    assert_eq!(all, LEASES as i64);
    json!({"twice": twice, "after": after, "late": late})
}

async fn until(pool: &PgPool, condition: &'static str) {
    let began = Instant::now();
    while !sqlx::query_scalar::<_, bool>(condition).fetch_one(pool).await.unwrap() {
        assert!(began.elapsed() < Duration::from_secs(120), "in vain: {condition}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// slipway's worker, all of whose passes take for ever.
pub async fn hold(database: &str, name: &str, lease: Duration) {
    let base = Base::connect(database, 8, false).await.unwrap();
    let config = WorkerConfig { lease, concurrency: LEASES, ..WorkerConfig::new(name.parse().unwrap()) };
    let service = Service::new(base.store.clone(), Caps::NONE);
    let worker = Worker::new(service, Arc::new(Endless), Clock::system(), config);
    let (_never, stop) = watch::channel(false);
    let parent = async { tokio::fs::File::open("/dev/stdin").await.unwrap().read_to_end(&mut vec![]).await };
    tokio::select! {
        () = worker.run(base.bell.clone(), stop) => {}
        _ = parent => std::process::exit(0),
    }
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
