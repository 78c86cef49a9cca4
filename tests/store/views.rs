//! The views that answer the organiser's questions.

use slipway::domain::{Command, Observation, Step, StopReason};
use slipway::service::Service;
use slipway::store::Store;
use slipway::store::append::{Meta, Visit};
use sqlx::{AssertSqlSafe, PgPool, Row};

use crate::audit::ready;
use crate::harness::{NO_CAPS, database, launch, meta, subject, workers};

const HOME: &str = "203.0.113.7";

fn from(actor: &str, address: &str) -> Meta {
    Meta { visit: Some(Visit { address: Some(address.parse().expect("an address")) }), ..meta(actor) }
}

/// Gives each event of a cluster the time that stands beside its version.
async fn set_times(pool: &PgPool, cluster: &str, times: &[&str]) {
    for (index, time) in times.iter().enumerate() {
        let sql = format!(
            "ALTER TABLE slipway.event DISABLE TRIGGER event_is_immutable;
             UPDATE slipway.event SET recorded_at = '{time}' WHERE stream_id = '{cluster}' AND version = {}",
            index + 1
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.expect("a time set");
    }
}

async fn texts(pool: &PgPool, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(pool).await.expect(sql)
}

#[tokio::test]
async fn worker_hours_are_split_at_midnight() {
    let (pool, _) = database().await;
    let service = Service::new(Store::over(pool.clone()), NO_CAPS);
    let id = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    for command in [
        Command::Admit,
        ready(2),
        Command::Scale { workers: workers(4) },
        ready(4),
        Command::Stop { reason: StopReason::Owner },
    ] {
        service.execute(id, &command, &meta("alice"), None).await.expect("recorded");
    }
    let times = [
        "2026-03-28 20:00Z", // LaunchRequested
        "2026-03-28 20:00Z", // Admitted
        "2026-03-28 21:00Z", // BecameReady
        "2026-03-28 21:00Z", // Scaled to 2
        "2026-03-29 00:00Z", // ScaleRequested
        "2026-03-29 00:00Z", // Scaled to 4
        "2026-03-30 01:30Z", // StopRequested
    ];
    set_times(&pool, &id.to_string(), &times).await;
    // A day in which the clocks of a session are put forward is as long as the others.
    let split =
        "SELECT concat_ws(' ', day, owner, profile, clusters, workers_peak, round(worker_hours::numeric, 3))
                   FROM slipway.worker_hours ORDER BY day";
    for zone in ["UTC", "Europe/Berlin", "America/Los_Angeles"] {
        let mut session = pool.acquire().await.expect("a connection");
        let set = AssertSqlSafe(format!("SET timezone = '{zone}'"));
        sqlx::raw_sql(set).execute(&mut *session).await.expect("a time zone");
        let rows: Vec<String> = sqlx::query_scalar(split).fetch_all(&mut *session).await.expect("rows");
        let days = [
            "2026-03-28 alice default 1 2 6.000",
            "2026-03-29 alice default 1 4 96.000",
            "2026-03-30 alice default 1 4 6.000",
        ];
        assert_eq!(rows, days, "{zone}");
    }
    let whole = "SELECT round(worker_hours::numeric, 3)::text FROM slipway.launches";
    assert_eq!(texts(&pool, whole).await, ["108.000"], "the same in all");
}

#[tokio::test]
async fn changes_tell_who_from_where_from_what_to_what_and_why() {
    let (pool, _) = database().await;
    let owner = Store::over(pool.clone());
    let service = Service::new(owner.clone(), NO_CAPS);
    let by = from("alice", HOME);
    let id = service.launch(launch("alice"), by, None).await.expect("a launch").cluster.id;
    assert!(owner.name_person(&subject("alice"), "Alice A.").await.expect("named"));
    for (command, by) in [
        (Command::Scale { workers: workers(5) }, from("alice", HOME)),
        (Command::Scale { workers: workers(3) }, from("token:organiser", "198.51.100.2")),
        (Command::Stop { reason: StopReason::Admin }, meta("cli:root")),
    ] {
        service.execute(id, &command, &by, None).await.expect("recorded");
    }
    let rows = texts(
        &pool,
        "SELECT concat_ws(' ', owner, change, actor, coalesce(person, '?'), coalesce(host(address), '?'), workers_before,
                          workers_after, coalesce(reason, '-')) FROM slipway.changes ORDER BY changed_at",
    )
    .await;
    assert_eq!(
        rows,
        [
            "alice scaled alice Alice A. 203.0.113.7 2 5 -",
            "alice scaled token:organiser ? 198.51.100.2 5 3 -",
            "alice stopped cli:root ? ? 3 0 admin",
        ]
    );
    let launches = texts(&pool, "SELECT concat_ws(' ', person, host(address)) FROM slipway.launches").await;
    assert_eq!(launches, ["Alice A. 203.0.113.7"]);
}

#[tokio::test]
async fn failures_are_grouped_by_what_they_have_in_common() {
    let (pool, _) = database().await;
    let service = Service::new(Store::over(pool.clone()), NO_CAPS);
    for owner in ["alice", "bob"] {
        let id = service.launch(launch(owner), subject(owner), None).await.expect("a launch").cluster.id;
        let why = format!("the notebook of {id} was not ready after {} s", 300 + owner.len());
        service.execute(id, &Command::GiveUp { why }, &meta("worker:1"), None).await.expect("failed");
    }
    let id = service.launch(launch("carol"), subject("carol"), None).await.expect("a launch").cluster.id;
    let repository = "https://example.org/course.git".parse().expect("a repository");
    let cloned = Step::MaterialsFailed { repository, why: "there is none".to_owned() };
    let seen = Observation::Present { steps: vec![cloned], endpoint: None, workers_ready: 0 };
    for command in
        [Command::Admit, Command::Report(seen), ready(1), Command::GiveUp { why: "it is gone".to_owned() }]
    {
        service.execute(id, &command, &meta("worker:1"), None).await.expect("recorded");
    }
    let rows = sqlx::query(
        "SELECT what, reason, count(*), string_agg(owner, ',' ORDER BY owner), bool_and(seconds_after_request >= 0)
           FROM slipway.failures GROUP BY what, reason ORDER BY what, reason",
    )
    .fetch_all(&pool)
    .await
    .expect("rows");
    let rows: Vec<(String, String, i64, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let row = |what: &str, reason: &str, count, owners: &str| (what.into(), reason.into(), count, owners.into());
    assert_eq!(
        rows,
        [
            row("cluster", "it is gone", 1, "carol"),
            row("launch", "the notebook of … was not ready after … s", 2, "alice,bob"),
            row("materials", "there is none", 1, "carol"),
        ]
    );
}

#[tokio::test]
async fn every_view_says_what_it_is_and_has_a_question() {
    let (pool, _) = database().await;
    let views = texts(
        &pool,
        "SELECT concat_ws('|', relname, obj_description(oid, 'pg_class')) FROM pg_class
          WHERE relnamespace = 'slipway'::regnamespace AND relkind = 'v' ORDER BY 1",
    )
    .await;
    assert!(views.len() >= 7, "{views:?}");
    let questions = include_str!("../../ops/audit.sql");
    for view in views {
        let (name, comment) = view.split_once('|').expect("a comment");
        assert!(comment.len() > 20, "{view}");
        assert!(questions.contains(&format!("slipway.{name}")), "ops/audit.sql asks {name} nothing");
    }
}
