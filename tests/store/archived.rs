//! Old partitions: out of the log into files, and back.

use chrono::{DateTime, Utc};
use slipway::domain::{ClusterId, Command, StopReason};
use slipway::service::Service;
use slipway::store::archive::{ArchiveError, Bounds, Detached, End, Line};
use slipway::store::events::Position;
use slipway::store::partitions::Standing;
use slipway::store::{Store, StoreError};
use sqlx::{AssertSqlSafe, PgPool};

use crate::audit::{ready, rows, two_clusters};
use crate::harness::{NO_CAPS, database, eventually, launch, meta, subject, workers, writer};
use crate::partitions::in_partitions_of;

/// Two clusters, of which one has ended, and then many events of a third: partitions of five.
async fn source() -> (PgPool, Store, [ClusterId; 3]) {
    let (pool, _) = database().await;
    in_partitions_of(&pool, 5).await;
    let (service, ended, running) = two_clusters(&pool).await;
    let busy = service.launch(launch("eve"), subject("eve"), None).await.expect("a launch").cluster.id;
    for n in 0..22 {
        let scale = Command::Scale { workers: workers(3 + n % 4) };
        service.execute(busy, &scale, &meta("eve"), None).await.expect("scaled");
    }
    let store = Store::over(pool.clone());
    eventually("the full ones to be sealed", async || {
        store.extend_log().await.expect("kept");
        let full = store.partitions().await.expect("a list").iter().any(|one| one.standing == Standing::Full);
        (!full).then_some(())
    })
    .await;
    (pool, store, [ended, running, busy])
}

/// Those that can be taken out, the oldest first.
async fn sealed(store: &Store) -> Vec<Bounds> {
    let partitions = store.partitions().await.expect("a list");
    partitions.iter().filter(|one| one.standing == Standing::Sealed).map(|one| one.bounds).collect()
}

async fn lines(store: &Store, bounds: Option<Bounds>) -> (Vec<String>, End) {
    let mut export = match bounds {
        Some(bounds) => store.export_partition(bounds).await.expect("a snapshot"),
        None => store.export().await.expect("a snapshot"),
    };
    let mut lines = vec![];
    loop {
        let batch = export.lines().await.expect("lines");
        lines.extend(batch.iter().map(|line| serde_json::to_string(line).expect("JSON")));
        if let [Line::End(end)] = &batch[..] {
            return (lines, end.clone());
        }
    }
}

async fn detach(store: &Store, bounds: Bounds, lines: &[String], end: &End) -> Result<Detached, ArchiveError> {
    let mut detach = store.detach(bounds).await?;
    for line in lines {
        detach.take(line.as_bytes()).await?;
    }
    detach.finish("a file", end).await
}

async fn attach(store: &Store, bounds: Bounds, lines: &[String]) -> Result<i64, ArchiveError> {
    let mut attach = store.attach(bounds).await?;
    for line in lines {
        attach.take(line.as_bytes()).await?;
    }
    attach.finish().await
}

/// Takes all out that can go; the file of each.
async fn detach_all(store: &Store) -> Vec<(Bounds, Vec<String>)> {
    let mut files = vec![];
    for bounds in sealed(store).await {
        let (lines, end) = lines(store, Some(bounds)).await;
        detach(store, bounds, &lines, &end).await.expect("detached");
        files.push((bounds, lines));
    }
    files
}

async fn is_sound(store: &Store) {
    let none = Vec::<String>::new();
    assert_eq!(store.broken_chains().await.expect("a check"), none);
    assert_eq!(store.wrong_usage().await.expect("a check"), none);
    for id in store.streams_after("", 100).await.expect("streams") {
        assert_eq!(store.check_read_model(id).await.expect("a check"), None);
    }
}

async fn states(store: &Store, ids: &[ClusterId]) -> Vec<slipway::store::stream::Replayed> {
    let mut states = vec![];
    for id in ids {
        states.push(store.replay(*id, None).await.expect("a replay").expect("it is there"));
    }
    states
}

#[tokio::test]
async fn what_was_detached_and_attached_is_the_same_log() {
    let (pool, store, ids) = source().await;
    let (before, digest) = lines(&store, None).await;
    let (states_before, contents) = (states(&store, &ids).await, rows(&pool, "event").await);
    let files = detach_all(&store).await;
    let used: usize = files.iter().map(|(_, lines)| lines.len() - 2).sum();
    assert!(files.len() >= 7 && used >= 30, "{} files, {used} events", files.len());
    let held = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^event_[0-9]+$'";
    let held: i64 = sqlx::query_scalar(held).fetch_one(&pool).await.expect("a count");
    assert!(held <= 3, "{held} tables are left");
    is_sound(&store).await;
    assert_eq!(states(&store, &ids).await, states_before, "what they had come to is known");
    for (bounds, file) in files.iter().rev() {
        attach(&store, *bounds, file).await.expect("attached");
        is_sound(&store).await;
    }
    assert_eq!(lines(&store, None).await, (before, digest));
    assert_eq!(rows(&pool, "event").await, contents, "to the letter, order and numbers");
    assert_eq!(states(&store, &ids).await, states_before);
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM slipway.archived_stream").fetch_one(&pool).await.expect("none");
    assert_eq!((left, store.archive_end().await.expect("an answer")), (0, None));
    let change = format!("DELETE FROM slipway.event_{}", files.last().expect("a file").0.first);
    let error = sqlx::raw_sql(AssertSqlSafe(change)).execute(&pool).await.expect_err("it is the log again");
    assert!(error.to_string().contains("append-only"), "{error}");
}

#[tokio::test]
async fn clusters_go_on_whose_beginning_is_in_the_archive_and_so_does_all_that_reads_them() {
    let (pool, store, [ended, running, busy]) = source().await;
    let old: DateTime<Utc> = states(&store, &[busy]).await[0].times.launched_at;
    detach_all(&store).await;
    // As API, workers and proxies do, for whom it makes no difference.
    let service = Service::new(writer(&pool), NO_CAPS);
    let loaded = service.store().load(running).await.expect("loaded");
    assert!(loaded.cluster.is_some() && loaded.version == 2);
    service.execute(running, &ready(2), &meta("worker:1"), None).await.expect("it goes on");
    service.execute(busy, &Command::Scale { workers: workers(8) }, &meta("eve"), None).await.expect("it goes on");
    assert!(service.execute(ended, &ready(2), &meta("worker:1"), None).await.is_ok_and(|done| done.version > 5));
    let stopped = Command::Stop { reason: StopReason::Owner };
    service.execute(busy, &stopped, &meta("eve"), None).await.expect("it stops");
    is_sound(&store).await;
    let now = states(&store, &[running, busy]).await;
    assert_eq!(now[1].times.launched_at, old, "its beginning is remembered");
    // Read models are made anew, those of whom nothing is left but the read model excepted.
    let kept = rows(&pool, "cluster").await;
    store.rebuild(&[ended, running, busy]).await.expect("a replay");
    assert_eq!(rows(&pool, "cluster").await, kept);
    let delete = "DELETE FROM slipway.cluster WHERE id = ";
    sqlx::raw_sql(AssertSqlSafe(format!("{delete}'{ended}' OR id = '{running}'")))
        .execute(&pool)
        .await
        .expect("lost");
    store.rebuild(&[running]).await.expect("a replay");
    let error = store.rebuild(&[ended]).await.expect_err("nothing tells");
    assert!(error.is_archived() && error.to_string().contains("slipway archive attach"), "{error}");
}

#[tokio::test]
async fn whoever_asks_for_what_is_in_the_archive_is_told_so() {
    let (_, store, [_, running, busy]) = source().await;
    let (_, total) = store.log_size().await.expect("a size");
    let log = eventually("the log", async || {
        let log = store.read_after(Position::default(), 100).await.expect("a read");
        (log.len() as i64 == total).then_some(log)
    })
    .await;
    let files = detach_all(&store).await;
    let gone: usize = files.iter().map(|(_, lines)| lines.len() - 2).sum();
    for position in [Position::default(), log[0].position, log[gone - 2].position] {
        let error = store.read_after(position, 100).await.expect_err("it would skip some");
        assert!(matches!(error, StoreError::Archived { .. }), "{error:?}");
        let error = store.read_on(position, 100).await.expect_err("it would skip some");
        assert!(error.to_string().contains("slipway archive list"), "{error}");
    }
    let rest = store.read_after(log[gone - 1].position, 100).await.expect("all before it was read");
    assert_eq!(rest.len(), log.len() - gone);
    let attached = store.read_attached_after(Position::default(), 100).await.expect("what there is");
    assert_eq!(attached.len(), log.len() - gone);
    // A time that is in the archive, one before anything, and one that is not.
    let error = store.replay(busy, Some(log[gone - 2].recorded_at)).await.expect_err("nothing tells");
    assert!(error.is_archived(), "{error}");
    let before = log[0].recorded_at - chrono::TimeDelta::seconds(1);
    assert!(store.replay(busy, Some(before)).await.expect("nothing was there").is_none());
    assert!(store.replay(busy, Some(log[gone].recorded_at)).await.expect("it was there").is_some());
    assert!(store.history(running).await.expect("what there is").left_out() == 2);
    let error = store.export().await.err().expect("it would not be whole");
    assert!(error.is_archived(), "{error}");
    let import = store.import().await.err().expect("the log is not empty");
    assert!(matches!(import, ArchiveError::NotEmpty { events, .. } if events == total), "{import:?}");
}

#[tokio::test]
async fn partitions_go_oldest_first_and_come_back_last_first() {
    let (_, store, _) = source().await;
    let all = sealed(&store).await;
    let (file, end) = lines(&store, Some(all[1])).await;
    let error = detach(&store, all[1], &file, &end).await.expect_err("not the oldest");
    assert!(format!("{error:?}").contains("is not the oldest, or not sealed"), "{error:?}");
    let open = store
        .partitions()
        .await
        .expect("a list")
        .iter()
        .find(|one| one.standing == Standing::Open)
        .map(|one| one.bounds);
    let open = open.expect("one is being filled");
    let (file, end) = lines(&store, Some(open)).await;
    assert!(detach(&store, open, &file, &end).await.is_err(), "more may come to it");
    is_sound(&store).await;
    let error = attach(&store, all[0], &[]).await.expect_err("it is there");
    assert!(matches!(error, ArchiveError::NotArchived { .. }), "{error:?}");
    let files = detach_all(&store).await;
    let (newest, oldest) = (files.last().expect("files"), &files[0]);
    let error = attach(&store, oldest.0, &oldest.1).await.expect_err("not the last");
    assert!(matches!(error, ArchiveError::NotNext { next } if next == newest.0.first), "{error:?}");
    attach(&store, newest.0, &newest.1).await.expect("the last");
    // And again.
    let (file, end) = lines(&store, Some(newest.0)).await;
    detach(&store, newest.0, &file, &end).await.expect("it goes once more");
    is_sound(&store).await;
}

#[tokio::test]
async fn a_file_that_is_not_what_went_brings_nothing_back() {
    let (pool, store, _) = source().await;
    let files = detach_all(&store).await;
    let (bounds, file) = files.last().expect("files");
    assert!(file.len() >= 6, "four events at least: a number may be lost with an append that found no room");
    let other = &files[files.len() - 2].1;
    let changed =
        |from: &str, to: &str| -> Vec<String> { file.iter().map(|line| line.replacen(from, to, 1)).collect() };
    let mut swapped = file.clone();
    swapped.swap(2, 3);
    let cut = file[..4].to_vec();
    for (what, lines) in [
        ("another partition", other.clone()),
        ("cut off", cut),
        ("comes after", swapped),
        ("hash", changed("\"workers\": 5", "\"workers\": 6")),
        ("hash", changed("\"actor\":\"eve\"", "\"actor\":\"bob\"")),
        (
            "an event is missing",
            file.iter().enumerate().filter(|(at, _)| *at != 2).map(|(_, line)| line.clone()).collect(),
        ),
    ] {
        let error = attach(&store, *bounds, &lines).await.expect_err(what);
        let told = anyhow::Error::from(error);
        assert!(format!("{told:#}").contains(what) || what == "comes after", "{what}: {told:#}");
        assert!(store.archive_end().await.expect("an answer").is_some());
        is_sound(&store).await;
    }
    let all = "SELECT count(*) FROM slipway.event";
    let count: i64 = sqlx::query_scalar(all).fetch_one(&pool).await.expect("a count");
    attach(&store, *bounds, file).await.expect("the file itself does");
    let after: i64 = sqlx::query_scalar(all).fetch_one(&pool).await.expect("a count");
    assert_eq!(after, count + file.len() as i64 - 2);
}

#[tokio::test]
async fn a_file_that_is_not_the_partition_lets_nothing_go() {
    let (pool, store, _) = source().await;
    let mut all = sealed(&store).await.into_iter();
    let bounds = loop {
        let bounds = all.next().expect("one with events");
        let (file, end) = lines(&store, Some(bounds)).await;
        if end.events > 0 {
            break bounds;
        }
        detach(&store, bounds, &file, &end).await.expect("an empty one goes");
    };
    let (file, end) = lines(&store, Some(bounds)).await;
    let before = rows(&pool, "event").await;
    let changed =
        file.iter().map(|line| line.replacen("\"actor\":\"alice\"", "\"actor\":\"bob\"", 1)).collect::<Vec<_>>();
    assert_ne!(changed, file);
    for lines in [changed, file[..file.len() - 1].to_vec(), file[..1].to_vec()] {
        detach(&store, bounds, &lines, &end).await.expect_err("it is not what there is");
        assert_eq!(rows(&pool, "event").await, before);
        is_sound(&store).await;
    }
    detach(&store, bounds, &file, &end).await.expect("what broke off before can be done");
    is_sound(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_appends_or_follows_meanwhile_loses_anything() {
    let (pool, store, _) = source().await;
    let service = Service::new(writer(&pool), NO_CAPS);
    let appending = tokio::spawn({
        let service = service.clone();
        async move {
            for _ in 0..40 {
                service.launch(launch("zoe"), subject("zoe"), None).await.expect("a launch");
            }
        }
    });
    let mut position = store.horizon().await.expect("a position");
    let mut seen = 0;
    let files = detach_all(&store).await;
    for (bounds, file) in files.iter().rev() {
        attach(&store, *bounds, file).await.expect("attached");
        let batch = service.store().read_after(position, 1_000).await.expect("nothing of it is in the archive");
        position = batch.last().map_or(position, |last| last.position);
        seen += batch.iter().filter(|one| one.actor == subject("zoe")).count();
    }
    appending.await.expect("no panic");
    eventually("all launches", async || {
        let batch = service.store().read_after(position, 1_000).await.expect("a read");
        position = batch.last().map_or(position, |last| last.position);
        seen += batch.iter().filter(|one| one.actor == subject("zoe")).count();
        (seen == 40).then_some(())
    })
    .await;
    is_sound(&store).await;
}
