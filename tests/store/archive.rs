//! The log in a file and back.

use serde_json::{Map, Value, json};
use slipway::domain::line::Throttle;
use slipway::domain::{Access, Command, Event, Posted};
use slipway::service::Service;
use slipway::service::posted::Ledger;
use slipway::store::Store;
use slipway::store::append::Append;
use slipway::store::archive::{ArchiveError, End};
use slipway::store::events::{Position, Recorded};
use sqlx::{AssertSqlSafe, PgPool};

use crate::audit::{rows, two_clusters};
use crate::damage::DAMAGES;
use crate::harness::{NO_CAPS, database, eventually, launch, meta, subject};

/// More than are read and written at once.
const MANY: usize = 1_050;

/// Every kind of thing that a log holds, clusters and routes.
async fn source() -> (PgPool, Store) {
    let (pool, _) = database().await;
    let (service, _, running) = two_clusters(&pool).await;
    let store = service.store().clone();
    let mut ledger = Ledger::open(store.clone()).await.expect("it opens").0;
    let put = |path: &str, data: Value| Posted::Put {
        path: path.parse().expect("a path"),
        data: Map::from_iter([("target".to_owned(), json!("http://10.0.0.1:8888")), ("data".to_owned(), data)]),
    };
    let odd = json!({"ü \"\\\n": [1.50, -0.0, 1e100, 18_446_744_073_709_551_615_u64, null], "": {"b": 1, "a": 2}});
    let gone = Posted::Removed { path: "/a".parse().expect("a path") };
    ledger.record(vec![put("/a", json!(1)), put("/b", odd), gone]).await.expect("recorded");
    for access in [Access::Class, Access::Public] {
        service.execute(running, &Command::SetAccess { access }, &meta("bob"), None).await.expect("recorded");
    }
    (pool, store)
}

async fn exported(store: &Store) -> Vec<String> {
    let mut export = store.export().await.expect("a snapshot");
    let mut lines = vec![];
    loop {
        let batch = export.lines().await.expect("lines");
        if batch.is_empty() {
            return lines;
        }
        lines.extend(batch.iter().map(|line| serde_json::to_string(line).expect("JSON")));
    }
}

async fn import(store: &Store, lines: &[String]) -> Result<End, ArchiveError> {
    let mut import = store.import().await?;
    for line in lines {
        import.take(line.as_bytes()).await?;
    }
    import.finish(|_, _| {}).await
}

/// So many events after a position: other tests' transactions on the same server may hold them back for a moment.
async fn read(store: &Store, after: Position, count: usize) -> Vec<Recorded> {
    eventually("the events", async || {
        let events = store.read_after(after, 1_000).await.expect("events");
        (events.len() >= count).then_some(events)
    })
    .await
}

/// Without what differs from one database to another.
fn unplaced(lines: &[String]) -> Vec<Value> {
    let unplaced = |line: &String| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        line["log"]["epoch"].take();
        line["event"]["position"].take();
        line
    };
    lines.iter().map(unplaced).collect()
}

async fn is_sound(store: &Store) {
    let none = Vec::<String>::new();
    assert_eq!(store.broken_chains().await.expect("a check"), none);
    assert_eq!(store.broken_posts().await.expect("a check"), none);
    assert_eq!(store.wrong_posts().await.expect("a check"), none);
    assert_eq!(store.wrong_usage().await.expect("a check"), none);
    for id in store.streams_after("", 100).await.expect("streams") {
        assert_eq!(store.check_read_model(id).await.expect("a check"), None);
    }
}

/// What there is in each table.
async fn contents(pool: &PgPool) -> Vec<Vec<String>> {
    let mut all = vec![];
    for table in
        ["event", "route_event", "stream", "cluster", "usage", "work", "posted_route", "installation", "admission"]
    {
        all.push(rows(pool, table).await);
    }
    all
}

#[tokio::test]
async fn a_log_that_was_exported_and_imported_is_the_same_and_so_is_what_is_made_of_it() {
    let (from, source) = source().await;
    let (to, target) = {
        let (pool, _) = database().await;
        (pool.clone(), Store::over(pool))
    };
    // At this pace the admissions of the log could not be let in again.
    let throttle = Throttle { at_once: 1, per_second: 0.01 };
    target.set_throttle(throttle).await.expect("set");
    let lines = exported(&source).await;
    let end = import(&target, &lines).await.expect("imported");
    assert_eq!((end.events, end.routes), (lines.len() as i64 - 2 - 3, 3));
    assert_eq!(unplaced(&exported(&target).await), unplaced(&lines));
    is_sound(&target).await;
    for table in [
        "cluster",
        "usage WHERE clusters > 0",
        "(SELECT path, version, data FROM slipway.posted_route) r",
        "(SELECT at_once, per_second FROM slipway.admission) a",
    ] {
        let of = async |pool| {
            let table =
                table.strip_prefix('(').map_or_else(|| format!("slipway.{table}"), |rest| format!("({rest}"));
            let sql = format!("SELECT to_jsonb(t)::text FROM (SELECT * FROM {table}) t ORDER BY 1");
            sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_all(pool).await.expect("rows")
        };
        if table.contains("admission") {
            assert_eq!(of(&to).await, [r#"{"at_once": 1, "per_second": 0.01}"#]);
        } else {
            assert_eq!(of(&to).await, of(&from).await, "{table}");
        }
    }
    let due: i64 = sqlx::query_scalar("SELECT count(*) FROM slipway.work WHERE due_at IS NOT NULL")
        .fetch_one(&to)
        .await
        .expect("a count");
    assert_eq!(due, 1, "the one that is not gone is wanted");
}

#[tokio::test]
async fn what_is_appended_afterwards_comes_after_it_and_a_reader_of_the_old_log_misses_nothing() {
    let (_, source) = source().await;
    let (pool, _) = database().await;
    let target = Store::over(pool.clone());
    let end = import(&target, &exported(&source).await).await.expect("imported");
    let old = read(&source, Position::default(), end.events as usize).await;
    let last = old.last().expect("it is not empty");
    let now = read(&target, last.position, old.len()).await;
    let ids = |events: &[Recorded]| events.iter().map(|e| e.event_id).collect::<Vec<_>>();
    assert_eq!(ids(&now), ids(&old), "all of it, in its order");

    let service = Service::new(target.clone(), NO_CAPS);
    let running = old.iter().find(|event| event.actor.as_str() == "bob").expect("bob's").cluster;
    let set = Command::SetAccess { access: Access::Owner };
    let done = service.execute(running, &set, &meta("bob"), None).await.expect("appended");
    let news = read(&target, now.last().expect("not empty").position, 1).await;
    assert_eq!(news.iter().map(|e| (e.cluster, e.version)).collect::<Vec<_>>(), [(running, done.version)]);
    let mut ledger = Ledger::open(target.clone()).await.expect("it opens").0;
    ledger.record(vec![Posted::Removed { path: "/b".parse().expect("a path") }]).await.expect("recorded");
    // As at the next start.
    target.migrate().await.expect("the epoch is settled");
    service.launch(launch("eve"), subject("eve"), None).await.expect("a launch");
    is_sound(&target).await;
}

#[tokio::test]
async fn an_append_that_meets_an_import_waits_for_it_and_is_missed_by_nobody() {
    let lines = exported(&source().await.1).await;
    let (pool, _) = database().await;
    let target = Store::over(pool.clone());
    let reader = target.horizon().await.expect("a position");
    let mut import = target.import().await.expect("it is empty");
    let service = Service::new(target.clone(), NO_CAPS);
    let launching = tokio::spawn(async move { service.launch(launch("eve"), subject("eve"), None).await });
    eventually("the launch to wait", async || {
        let waits = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                      WHERE d.datname = current_database() AND NOT l.granted";
        let waits: i64 = sqlx::query_scalar(waits).fetch_one(&pool).await.expect("a count");
        (waits == 1).then_some(())
    })
    .await;
    for line in &lines {
        import.take(line.as_bytes()).await.expect("a line");
    }
    let end = import.finish(|_, _| {}).await.expect("imported");
    launching.await.expect("it ends").expect("a launch");
    let all = end.events as usize + 1;
    assert_eq!(read(&target, reader, all).await.len(), all);
    is_sound(&target).await;
}

#[tokio::test]
async fn a_log_of_many_batches_keeps_its_order() {
    let (_, source) = source().await;
    let row = source.live().await.expect("clusters").remove(0);
    let events: Vec<Event> =
        (0..MANY).map(|n| Event::AccessSet { access: [Access::Owner, Access::Public][n % 2] }).collect();
    let append = Append {
        id: row.cluster.id,
        expected: row.version,
        events: &events,
        before: Some(&row.cluster),
        after: &row.cluster,
        meta: &meta("bob"),
        wake: false,
        caps: NO_CAPS,
        key: None,
    };
    source.append(append).await.expect("appended");
    let mut ledger = Ledger::open(source.clone()).await.expect("it opens").0;
    let gone = |n| Posted::Removed { path: format!("/{n}").parse().expect("a path") };
    ledger.record((0..MANY).map(gone).collect()).await.expect("recorded");
    let target = Store::over(database().await.0);
    let lines = exported(&source).await;
    assert!(lines.len() > 2 * MANY);
    import(&target, &lines).await.expect("imported");
    assert_eq!(unplaced(&exported(&target).await), unplaced(&lines));
    is_sound(&target).await;
}

#[tokio::test]
async fn an_export_is_of_one_moment_whatever_is_appended_meanwhile() {
    let (pool, store) = source().await;
    let before = exported(&store).await;
    let mut export = store.export().await.expect("a snapshot");
    let mut lines = vec![];
    loop {
        let batch = export.lines().await.expect("lines");
        if batch.is_empty() {
            break;
        }
        lines.extend(batch.iter().map(|line| serde_json::to_string(line).expect("JSON")));
        two_clusters(&pool).await;
    }
    assert_eq!(lines, before);
}

#[tokio::test]
async fn a_file_that_is_not_what_was_exported_is_refused_by_the_line_and_leaves_nothing_behind() {
    let (_, source) = source().await;
    let lines = exported(&source).await;
    let (pool, _) = database().await;
    let target = Store::over(pool.clone());
    let before = contents(&pool).await;
    for (name, damage, line, expected) in DAMAGES {
        let mut damaged = lines.clone();
        damage(&mut damaged);
        match import(&target, &damaged).await {
            Err(ArchiveError::Line { line: at, flaw }) => {
                assert!(expected(&flaw), "{name}: {flaw:?}");
                assert!(line.is_none_or(|line| line == at), "{name}: line {at}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(contents(&pool).await, before, "{name}");
    }
    import(&target, &lines).await.expect("the one that is whole is taken");
}

#[tokio::test]
async fn a_story_that_cannot_be_is_refused() {
    let (pool, source) = source().await;
    sqlx::raw_sql(
        "INSERT INTO slipway.event (epoch, tx, stream_id, version, event_id, type, schema_version, data, actor,
                                    correlation_id, causation_id, recorded_at, hash)
         SELECT 1, pg_current_xact_id(), 'cluster-999999', 1, id, 'Removed', 1, '{}', 'mallory', id, NULL, at,
                slipway.event_hash('', 'cluster-999999', 1::bigint, id, 'Removed', 1::smallint, '{}', 'mallory', id, NULL, at)
           FROM (SELECT gen_random_uuid() AS id, now() AS at) AS made",
    )
    .execute(&pool)
    .await
    .expect("past the one door");
    let (empty, _) = database().await;
    let before = contents(&empty).await;
    let refused = import(&Store::over(empty.clone()), &exported(&source).await).await.expect_err("refused");
    assert_eq!(refused.to_string(), "the log of cluster-999999 is corrupt");
    assert_eq!(contents(&empty).await, before);
}

#[tokio::test]
async fn a_log_that_is_not_empty_takes_no_other() {
    let (pool, source) = source().await;
    let (lines, before) = (exported(&source).await, contents(&pool).await);
    let refused = import(&source, &lines).await.expect_err("refused");
    assert!(matches!(refused, ArchiveError::NotEmpty { routes: 3, .. }), "{refused:?}");
    assert_eq!(contents(&pool).await, before);
}

#[tokio::test]
async fn an_empty_log_is_a_log() {
    let (from, to) = (Store::over(database().await.0), Store::over(database().await.0));
    let lines = exported(&from).await;
    assert_eq!(lines.len(), 2);
    import(&to, &lines).await.expect("imported");
    assert_eq!(unplaced(&exported(&to).await), unplaced(&lines));
}
