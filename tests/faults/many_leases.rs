//! A worker that dies while it holds a hundred leases.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use slipway::parts::Base;
use slipway::service::Service;
use slipway::store::append::Caps;
use sqlx::{PgPool, Row};

use crate::folder_world::{Fate, FolderWorld};
use crate::harness::{database, eventually};
use crate::killed::launched;
use crate::process::{LEASE, Process, work};

const MANY: usize = 100;

async fn held_by(pool: &PgPool, name: &str) -> i64 {
    let held = "SELECT count(*) FROM slipway.work WHERE lease_owner = $1";
    sqlx::query_scalar(held).bind(name).fetch_one(pool).await.expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_leases_of_a_worker_that_dies_are_taken_over_when_they_end_and_none_twice() {
    let (pool, url) = database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let base = Base::connect(&url, 8, false).await.expect("Postgres answers");
    let service = Service::new(base.store.clone(), Caps::NONE);
    // Each claim with its time, as the server saw it.
    sqlx::raw_sql(
        "CREATE TABLE claim (stream_id text, owner text, at timestamptz DEFAULT clock_timestamp());
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO claim VALUES (NEW.stream_id, NEW.lease_owner); RETURN NULL; END $$;
         CREATE TRIGGER noted AFTER UPDATE ON slipway.work FOR EACH ROW
            WHEN (NEW.lease_token > OLD.lease_token) EXECUTE FUNCTION note();",
    )
    .execute(&pool)
    .await
    .expect("claims are noted");
    let mut dying = Process::start(folder.path(), &url, "dying", Fate::Hangs);
    let mut ids = Vec::new();
    for _ in 0..MANY {
        ids.push(launched(&service).await);
    }
    eventually("it to hold all", async || (held_by(&pool, "dying").await == MANY as i64).then_some(())).await;
    let mut heirs = Vec::new();
    for name in ["heir:1", "heir:2"] {
        let world = Arc::new(FolderWorld::new(folder.path().to_owned(), Fate::Hangs));
        let base = Base::connect(&url, 8, false).await.expect("Postgres answers");
        heirs.push(tokio::spawn(async move { work(&base, name, world).await }));
    }
    assert_eq!(held_by(&pool, "dying").await, MANY as i64, "its leases are kept up");

    dying.signal(Signal::SIGKILL);
    eventually("it to be dead", async || dying.is_dead().then_some(())).await;
    let died: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await.expect("an answer");
    eventually("all to be taken over", async || (held_by(&pool, "dying").await == 0).then_some(())).await;
    let claims =
        "SELECT stream_id, extract(epoch FROM at - $1)::double precision FROM claim WHERE owner <> 'dying'";
    let claims = sqlx::query(claims).bind(died).fetch_all(&pool).await.expect("claims");
    let mut times: HashMap<String, usize> = HashMap::new();
    for claim in &claims {
        *times.entry(claim.get(0)).or_default() += 1;
    }
    let latest = claims.iter().map(|claim| claim.get::<f64, _>(1)).fold(0.0, f64::max);
    eprintln!("the last of {} leases was taken over after {latest:.2} s", claims.len());
    assert_eq!(times.len(), MANY);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert!(latest <= (LEASE + Duration::from_secs(1)).as_secs_f64(), "{latest} s");
    heirs.iter().for_each(tokio::task::JoinHandle::abort);
}
