//! Two versions of slipway on one database, and a migration while the log is in use.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use slipway::parts::Base;
use slipway::store::{self, Store};
use sqlx::migrate::{Migration, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::harness::{database, eventually, new_database, server};
use crate::log::whole;

/// All migrations of this build.
async fn migrations() -> Vec<Migration> {
    let connection = PgConnection::connect_with(&server().0).await.expect("the test server answers");
    store::migrations(&connection).iter().cloned().collect()
}

/// As the slipway that had so many migrations left it.
async fn database_of(level: usize) -> PgPool {
    let options = server().0.database(&new_database(None).await).options([("search_path", "public")]);
    let pool = PgPool::connect_with(options).await.expect("the new database answers");
    let earlier = Migrator::with_migrations(migrations().await.into_iter().take(level).collect());
    earlier.run(&pool).await.expect("the migrations run");
    pool
}

fn run(program: &str, arguments: &[&str], url: &str) -> Output {
    let mut command = Command::new(program);
    command.env_clear().args(arguments).args(["--database-url", url]).env("SLIPWAY_KEY", "07".repeat(32));
    command.output().expect("it runs")
}

/// Each of these ends at once, and tells why.
fn all_refuse(url: &str, why: &str) {
    let api = [env!("CARGO_BIN_EXE_slipway-api"), "--listen", "127.0.0.1:0"];
    let worker = [env!("CARGO_BIN_EXE_slipway-worker"), "--stack", "/nowhere"];
    let proxy = [env!("CARGO_BIN_EXE_slipway-proxy"), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let list = [env!("CARGO_BIN_EXE_slipway"), "list"];
    for command in [&api[..], &worker[..], &proxy[..], &list[..]] {
        let output = run(command[0], &command[1..], url);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(why), "{command:?}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_refuse_a_database_of_another_version_and_say_what_to_do() {
    let (pool, url) = database().await;
    let migrate = || run(env!("CARGO_BIN_EXE_slipway"), &["migrate"], &url);
    let newest = "SELECT max(version) FROM _sqlx_migrations";
    let newest: i64 = sqlx::query_scalar(newest).fetch_one(&pool).await.expect("a number");
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', true, '', 0)";
    sqlx::raw_sql(later).execute(&pool).await.expect("as a newer slipway does");
    let why = format!("is at 9999, which is a newer slipway's; this one knows {newest}: run the newer one");
    all_refuse(&url, &why);
    let output = migrate();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains(&why), "{output:?}");

    let earlier = "DELETE FROM _sqlx_migrations WHERE version >= ";
    sqlx::raw_sql(AssertSqlSafe(format!("{earlier}{newest}")))
        .execute(&pool)
        .await
        .expect("as an older one left it");
    all_refuse(&url, "run `slipway migrate`");
    sqlx::raw_sql("DROP TABLE _sqlx_migrations; DROP SCHEMA slipway CASCADE").execute(&pool).await.expect("empty");
    all_refuse(&url, "the database has no schema yet: run `slipway migrate`");
    assert!(migrate().status.success());
    assert!(run(env!("CARGO_BIN_EXE_slipway"), &["list"], &url).status.success());
}

const APPEND: &str = "SELECT a.version FROM slipway.append($1, $2, 'alice', gen_random_uuid(), NULL, ARRAY[gen_random_uuid()],
    ARRAY[$3], 1::smallint, ARRAY[$4::jsonb], '{}', 'launching', 'alice', true, 2, true, 0, 0, 0, 0, NULL, NULL) AS a";
const LOAD: &str =
    "SELECT epoch, tx::text, pos, stream_id, version, event_id, type, schema_version, data, actor, correlation_id,
    causation_id, recorded_at FROM slipway.event WHERE stream_id = $1 AND version > $2 ORDER BY version";

/// What an append or a load of an older build that runs meanwhile does: the same statements, prepared once on each connection. An
/// append that was in the migration's way is made anew, as builds do.
async fn older_build(pool: PgPool, writer: usize, over: Arc<AtomicBool>, told: Arc<AtomicUsize>) -> Vec<String> {
    let launched = r#"{"owner": "alice", "profile": "default", "workers": 2, "materials": [],
                       "limits": {"workers": 8, "idle_seconds": 0, "lifetime_seconds": 0}}"#;
    let mut wrong = Vec::new();
    let mut number = 100_000 * (writer + 1);
    while !over.load(Ordering::SeqCst) {
        let stream = format!("cluster-{number}");
        number += 1;
        for version in 0..4_i64 {
            let (kind, data) = if version == 0 {
                ("LaunchRequested", launched.to_owned())
            } else {
                ("ScaleRequested", format!(r#"{{"workers": {}}}"#, 2 + version))
            };
            loop {
                let append = sqlx::query(APPEND).bind(&stream).bind(version).bind(kind).bind(&data);
                match append.execute(&pool).await {
                    Ok(_) => {
                        told.fetch_add(1, Ordering::SeqCst);
                        break;
                    }
                    Err(error) => {
                        let code = error
                            .as_database_error()
                            .and_then(|raised| raised.code().map(|code| code.into_owned()));
                        if code.as_deref() != Some("40P01") {
                            wrong.push(format!("{error:?}"));
                            break;
                        }
                    }
                }
            }
            match sqlx::query(LOAD).bind(&stream).bind(0_i64).fetch_all(&pool).await {
                Ok(rows) if rows.len() as i64 == version + 1 => {}
                other => wrong.push(format!("{:?}", other.map(|rows| rows.len()))),
            }
        }
    }
    wrong
}

/// The first migration with the append that this build calls.
async fn first_with_this_append(all: usize) -> usize {
    let arguments =
        "SELECT concat(pg_get_function_arguments('slipway.append'::regproc), to_regproc('slipway.see'))";
    let of = async |level| -> Option<String> {
        sqlx::query_scalar(arguments).fetch_one(&database_of(level).await).await.ok()
    };
    let now = of(all).await;
    let mut level = all;
    while level > 1 && of(level - 1).await == now {
        level -= 1;
    }
    level
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_use_is_migrated_from_each_version_and_no_append_fails() {
    let all = migrations().await.len();
    for level in first_with_this_append(all).await..all {
        let pool = database_of(level).await;
        let store = Store::over(pool.clone());
        let (over, told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let appending: Vec<_> = (0..4)
            .map(|writer| tokio::spawn(older_build(pool.clone(), writer, Arc::clone(&over), Arc::clone(&told))))
            .collect();
        let go_on = async |more: usize| {
            let begun = told.load(Ordering::SeqCst);
            eventually("appends to go on", async || (told.load(Ordering::SeqCst) >= begun + more).then_some(()))
                .await;
        };
        go_on(20).await;
        store.migrate().await.expect("the migrations run");
        go_on(20).await;
        over.store(true, Ordering::SeqCst);
        let wrong: Vec<String> =
            join_all(appending).await.into_iter().flat_map(|one| one.expect("no panic")).collect();
        assert_eq!(wrong, Vec::<String>::new(), "migrated from {level}");
        assert_eq!(whole(&store).await.len(), told.load(Ordering::SeqCst), "migrated from {level}");
        assert_eq!(store.broken_chains().await.expect("a check"), Vec::<String>::new());
        store.check().await.expect("it is up to date");
        drop(Base::over(store));
        pool.close().await;
    }
}
