//! What each role may do: no more than it needs, and all of that.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use slipway::domain::line::Throttle;
use slipway::domain::{Command, Observation, Posted, StopReason};
use slipway::service::Service;
use slipway::service::posted::Ledger;
use slipway::store::append::{Meta, RequestKey, Visit};
use slipway::store::tokens::Bearer;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::audit::{ready, two_clusters};
use crate::harness::{NO_CAPS, as_role, database, launch, meta, subject, whole_log, workers, writer};

const LEASE: Duration = Duration::from_secs(60);

/// Postgres says that the role may not.
async fn refused(role: &PgPool, sql: &str) {
    let error = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(role).await.expect_err(sql);
    let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
    assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}");
}

/// Everything that would change rows of a table.
async fn refused_to_change(owner: &PgPool, role: &PgPool, table: &str) {
    let column: String = sqlx::query_scalar(
        "SELECT column_name::text FROM information_schema.columns
          WHERE table_schema = 'slipway' AND table_name = $1 AND is_identity = 'NO' ORDER BY ordinal_position LIMIT 1",
    )
    .bind(table)
    .fetch_one(owner)
    .await
    .expect("a column");
    refused(role, &format!("INSERT INTO slipway.{table} DEFAULT VALUES")).await;
    refused(role, &format!("UPDATE slipway.{table} SET {column} = {column}")).await;
    refused(role, &format!("DELETE FROM slipway.{table}")).await;
    refused(role, &format!("TRUNCATE slipway.{table}")).await;
}

async fn names(pool: &PgPool, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(pool).await.expect("names")
}

const TABLES: &str =
    "SELECT relname::text FROM pg_class WHERE relnamespace = 'slipway'::regnamespace AND relkind = 'r'";
const VIEWS: &str =
    "SELECT relname::text FROM pg_class WHERE relnamespace = 'slipway'::regnamespace AND relkind = 'v'";

#[tokio::test]
async fn the_auditor_reads_every_view_and_writes_nothing_anywhere() {
    let (pool, _) = database().await;
    two_clusters(&pool).await;
    let auditor = as_role(&pool, "slipway_auditor");
    let mut readable = names(&pool, VIEWS).await;
    assert!(readable.len() >= 7, "{readable:?}");
    readable.extend(["event", "cluster", "erasure"].map(str::to_owned));
    for name in readable {
        let sql = format!("SELECT * FROM slipway.{name}");
        sqlx::query(AssertSqlSafe(sql.clone())).fetch_all(&auditor).await.expect(&sql);
    }
    for table in names(&pool, TABLES).await {
        refused_to_change(&pool, &auditor, &table).await;
    }
    for table in ["api_token", "person", "origin", "request"] {
        refused(&auditor, &format!("SELECT * FROM slipway.{table}")).await;
    }
    refused(&auditor, "CREATE TABLE slipway.mine ()").await;
    let rights = "SELECT relname::text FROM pg_class WHERE relnamespace = 'slipway'::regnamespace AND relkind IN ('r', 'v')
                     AND has_table_privilege('slipway_auditor', oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')";
    assert_eq!(names(&pool, rights).await, Vec::<String>::new());
    let functions = "SELECT proname::text FROM pg_proc WHERE pronamespace = 'slipway'::regnamespace
                        AND has_function_privilege('slipway_auditor', oid, 'EXECUTE')";
    assert_eq!(
        names(&pool, functions).await,
        ["log_from"],
        "a function may act as the schema's owner; this one does not"
    );
}

#[tokio::test]
async fn the_commands_that_read_work_as_the_auditor() {
    let (pool, _) = database().await;
    let (_, ended, _) = two_clusters(&pool).await;
    let store = slipway::store::Store::over(as_role(&pool, "slipway_auditor"));
    store.check().await.expect("its schema");
    assert_eq!(store.launches(DateTime::<Utc>::UNIX_EPOCH, 10).await.expect("launches").len(), 2);
    assert!(!whole_log(&store).await.is_empty());
    assert!(store.replay(ended, None).await.expect("a replay").is_some());
    assert_eq!(store.people(None).await.expect("people"), vec![]);
}

#[tokio::test]
async fn the_writer_cannot_change_what_was_recorded_nor_the_schema_nor_read_who_is_who() {
    let (pool, _) = database().await;
    two_clusters(&pool).await;
    let writer = as_role(&pool, "slipway_writer");
    for table in [
        "event",
        "event_1",
        "event_1000001",
        "partition",
        "archived_stream",
        "stream",
        "route_event",
        "erasure",
        "installation",
        "person",
        "origin",
    ] {
        refused_to_change(&pool, &writer, table).await;
    }
    for table in names(&pool, TABLES).await {
        refused(&writer, &format!("TRUNCATE slipway.{table}")).await;
        refused(&writer, &format!("ALTER TABLE slipway.{table} ADD COLUMN mine text")).await;
        refused(&writer, &format!("DROP TABLE slipway.{table}")).await;
    }
    for sql in [
        "DROP TRIGGER event_is_immutable ON slipway.event",
        "ALTER TABLE slipway.event DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "CREATE TABLE slipway.mine ()",
        "CREATE FUNCTION slipway.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION slipway.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "ALTER FUNCTION slipway.append RESET search_path",
        "DROP SCHEMA slipway CASCADE",
        "DELETE FROM _sqlx_migrations",
        "SELECT slipway.grant_roles()",
        "SELECT slipway.forget('alice', 'bob')",
        "SELECT * FROM slipway.person",
        "SELECT * FROM slipway.origin",
        "SELECT * FROM slipway.people",
        "SELECT * FROM slipway.launches",
    ] {
        refused(&writer, sql).await;
    }
}

#[tokio::test]
async fn no_function_is_everybodys_and_those_that_act_as_the_owner_know_their_names() {
    let (pool, _) = database().await;
    let public = "SELECT proname::text FROM pg_proc WHERE pronamespace = 'slipway'::regnamespace
                     AND has_function_privilege('public', oid, 'EXECUTE')";
    let none = Vec::<String>::new();
    assert_eq!(names(&pool, public).await, none, "REVOKE in the migration that makes it: grant_roles() does");
    let misled = "SELECT proname::text FROM pg_proc WHERE pronamespace = 'slipway'::regnamespace AND prosecdef
                     AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']";
    assert_eq!(names(&pool, misled).await, none, "a caller could put another meaning under its names");
    let own =
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'slipway'::regnamespace AND prosecdef ORDER BY 1";
    assert_eq!(
        names(&pool, own).await,
        [
            "append",
            "append_together",
            "enter",
            "extend_log",
            "post_routes",
            "prune_origins",
            "see",
            "settle_epoch"
        ]
    );
}

#[tokio::test]
async fn the_writer_launches_works_and_stops() {
    let (pool, _) = database().await;
    let store = writer(&pool);
    let service = Service::new(store.clone(), NO_CAPS);
    let by = Meta { visit: Some(Visit { address: None }), ..meta("alice") };
    let key = RequestKey { key: "one".to_owned(), fingerprint: [1; 32] };
    let id = service.launch(launch("alice"), by, Some(&key)).await.expect("a launch").cluster.id;
    store.set_throttle(Throttle { at_once: 5, per_second: 5.0 }).await.expect("a pace");
    assert_eq!(store.turn().await.expect("a turn").line, [id]);
    assert_eq!(store.line().await.expect("a line").waiting, [id]);
    let tell = async |command| service.execute(id, &command, &meta("worker:1"), None).await.expect("recorded");
    tell(Command::Admit).await;
    let claim = async || store.claim("one", 1, LEASE).await.expect("a claim").remove(0);
    let held = claim().await;
    assert_eq!(store.heartbeat(std::slice::from_ref(&held), LEASE).await.expect("prolonged"), [id]);
    assert!(store.fail(&held, "away", Duration::ZERO, false).await.expect("failed"));
    assert!(store.postpone(&claim().await, "away", Duration::ZERO).await.expect("postponed"));
    let held = claim().await;
    store.touch(&[id]).await.expect("hinted");
    tell(ready(2)).await;
    assert!(store.finish(&held).await.expect("finished"));
    assert!(store.look_again(&claim().await, Duration::ZERO).await.expect("looked at"));
    tell(Command::Scale { workers: workers(4) }).await;
    let path = format!("/{id}").parse().expect("a path");
    store.record_activity(&[(path, DateTime::UNIX_EPOCH)]).await.expect("noted");
    store.activity(DateTime::UNIX_EPOCH).await.expect("read");
    assert_eq!((store.live().await.expect("read").len(), store.routed().await.expect("read").0.len()), (1, 1));
    tell(Command::Stop { reason: StopReason::Owner }).await;
    tell(Command::Report(Observation::Absent)).await;
    for duty in 0..2 {
        assert!(store.lead("keeper", "me", LEASE).await.expect("led"), "{duty}");
    }
    store.resign("keeper", "me").await.expect("resigned");
    store.tidy().await.expect("tidied");
    store.resync(Duration::ZERO).await.expect("resynced");
    store.make_live_due().await.expect("made due");
    assert!(store.prune_origins(Duration::ZERO).await.is_ok() && store.forgotten().await.is_ok());
}

#[tokio::test]
async fn the_writer_replays_verifies_posts_and_makes_tokens() {
    let (pool, _) = database().await;
    let (_, ended, running) = two_clusters(&pool).await;
    let store = writer(&pool);
    sqlx::raw_sql("DELETE FROM slipway.cluster; DELETE FROM slipway.usage").execute(&pool).await.expect("lost");
    store.rebuild(&[ended, running]).await.expect("a replay");
    store.finish_rebuild().await.expect("a count");
    let mut ledger = Ledger::open(store.clone()).await.expect("it opens").0;
    let path: slipway::domain::RoutePath = "/a".parse().expect("a path");
    let data = json!({"target": "x"}).as_object().expect("an object").clone();
    ledger.record(vec![Posted::Put { path: path.clone(), data }]).await.expect("posted");
    let shared = store.share_posted_activity(&[(path, DateTime::UNIX_EPOCH)], DateTime::UNIX_EPOCH).await;
    assert_eq!((shared.expect("shared").len(), store.rebuild_posted().await.expect("rebuilt")), (1, 1));
    let none = Vec::<String>::new();
    assert_eq!(store.broken_chains().await.expect("a check"), none);
    assert_eq!(store.wrong_usage().await.expect("a check"), none);
    assert_eq!(store.broken_posts().await.expect("a check"), none);
    assert_eq!(store.wrong_posts().await.expect("a check"), none);
    let (token, bearer) = (Uuid::new_v4(), Bearer { subject: subject("token:ci"), admin: false });
    store.create_token(token, "ci", &bearer, "slipway_secret", None).await.expect("a token");
    assert_eq!(store.bearer("slipway_secret").await.expect("an answer"), Some(bearer));
    assert_eq!(
        (store.tokens().await.expect("a list").len(), store.valid_tokens().await.expect("a list").len()),
        (1, 1)
    );
    assert!(store.revoke_token(token).await.expect("an answer"));
}
