//! A dump is restored into a new server, whose transaction ids have begun anew: whoever follows the log goes on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use slipway::domain::{Command, RouteChange};
use slipway::parts::Base;
use slipway::service::routes::Router;
use slipway::store::Store;
use sqlx::{Connection, PgConnection, PgPool};

use crate::harness::wire::{Server as Place, Wire};
use crate::harness::{eventually, meta, workers};
use crate::killed::launched;
use crate::log::{Reader, launch_some, service, whole};
use crate::outage::{folder, migrated};
use crate::postgres::Server;

/// Where a wire leads to.
pub fn place(server: &Server) -> Place {
    let options: sqlx::postgres::PgConnectOptions = server.url().parse().expect("an address");
    Place::of(&options)
}

/// As after a long time.
async fn use_ids(server: &Server, count: u32) {
    let pool = PgPool::connect(&server.url()).await.expect("Postgres answers");
    let used =
        format!("DO $$ BEGIN FOR i IN 1..{count} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$");
    sqlx::raw_sql(sqlx::AssertSqlSafe(used)).execute(&pool).await.expect("used");
    pool.close().await;
}

pub async fn number(server: &Server, sql: &'static str) -> i64 {
    let pool = PgPool::connect(&server.url()).await.expect("Postgres answers");
    let number = sqlx::query_scalar(sql).fetch_one(&pool).await.expect("a number");
    pool.close().await;
    number
}

/// The clusters that have a door, as a proxy has heard of them.
#[derive(Default)]
pub struct Doors(Mutex<BTreeSet<String>>);

impl Doors {
    /// Those that a proxy has which goes by this database.
    pub fn seen_by(base: Base) -> Arc<Self> {
        let doors = Arc::<Self>::default();
        let shown = Arc::clone(&doors);
        tokio::spawn(async move {
            let router = Router::default();
            router.follow(&base.store, base.bell.clone(), false, |changes| shown.apply(changes), || ()).await
        });
        doors
    }

    fn apply(&self, changes: Vec<RouteChange>) {
        let mut doors = self.0.lock().expect("no panic");
        for change in changes {
            match change {
                RouteChange::Door { cluster, door: Some(_) } => drop(doors.insert(cluster.to_string())),
                RouteChange::Door { cluster, door: None } => drop(doors.remove(&cluster.to_string())),
                RouteChange::Put { .. } | RouteChange::Remove { .. } => {}
            }
        }
    }

    pub async fn become_those_of(&self, store: &Store) {
        eventually("the doors of the log", async || {
            let log: BTreeSet<_> = whole(store).await.iter().map(|(id, _)| id.to_string()).collect();
            (*self.0.lock().expect("no panic") == log).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_new_server_the_log_goes_on_in_a_new_epoch_and_so_do_those_who_follow_it() {
    let folder = folder();
    let old = Server::named(folder.path(), "old");
    let store = migrated(&old).await;
    use_ids(&old, 3_000).await;
    let known = launched(&service(&store)).await;
    launch_some(&service(&store), 5).await;
    let wire = Wire::to(place(&old)).await;
    let follower = Store::to(&wire.url("slipway", "postgres"), 4).expect("an address");
    let reader = Reader::of(follower.clone());
    let log = whole(&store).await;
    reader.has(&log).await;
    let doors = Doors::seen_by(Base::over(follower));
    doors.become_those_of(&store).await;

    let dump: PathBuf = old.dump();
    old.stop();
    let new = Server::named(folder.path(), "new");
    // Roles are the server's, and in no database's dump.
    let role = PgPool::connect(&new.url()).await.expect("Postgres answers");
    sqlx::raw_sql("CREATE ROLE slipway_auditor NOLOGIN; CREATE ROLE slipway_writer NOLOGIN")
        .execute(&role)
        .await
        .expect("a role");
    role.close().await;
    new.restore_dump(&dump);
    let newest = "SELECT max(tx::text::bigint) FROM slipway.event";
    assert!(
        number(&new, "SELECT pg_current_xact_id()::text::bigint").await < number(&new, newest).await,
        "it is new"
    );
    wire.lead_to(place(&new));
    wire.cut();
    // A part that starts, as an operator's `slipway migrate` does, finds out that it is another server.
    let base = Base::connect(&new.url(), 4, false).await.expect("the schema is this build's");
    let (store, service) = (base.store.clone(), service(&base.store));
    assert_eq!(number(&new, "SELECT epoch::bigint FROM slipway.installation").await, 2);
    let scale = Command::Scale { workers: workers(5) };
    service.execute(known, &scale, &meta("alice"), None).await.expect("its stream goes on");
    launch_some(&service, 3).await;
    let later = whole(&store).await;
    assert_eq!((later.len(), &later[..log.len()]), (log.len() + 4, &log[..]), "the order is kept");
    reader.has(&later).await;
    doors.become_those_of(&store).await;
    assert_eq!(store.broken_chains().await.expect("a check"), Vec::<String>::new());
    let mut change = PgConnection::connect(&new.url()).await.expect("Postgres answers");
    let change = sqlx::raw_sql("DELETE FROM slipway.event").execute(&mut change).await;
    assert!(change.expect_err("it is still a log").to_string().contains("append-only"));
    // By the transaction id alone nobody would find what is new.
    let missed =
        "SELECT count(*) FROM slipway.event e WHERE e.epoch = 2 AND e.tx < ANY (SELECT tx FROM slipway.event)";
    assert_eq!(number(&new, missed).await, 4);
}
