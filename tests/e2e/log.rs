//! The log is the truth: everything else is made from it, and what was changed in it shows.

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::installation::{Installation, until};
use super::student::Student;

#[tokio::test(flavor = "multi_thread")]
async fn read_models_that_were_thrown_away_come_back_identical_and_tampering_is_found() {
    let mut installation = Installation::started("replayed", &[]).await;
    let student = Student::new(installation.listen).await;
    let (ended, runs) = (student.launch(1).await, student.launch(1).await);
    student.stop(&ended).await;
    let mut database = installation.database().await;
    let before = read_models(&mut database).await;
    assert_eq!(before.len(), 2 + 2, "two clusters, and the usage of one student and of all: {before:?}");

    run(&mut database, "TRUNCATE slipway.cluster, slipway.usage, slipway.work").await;
    assert_eq!(read_models(&mut database).await.len(), 0);
    assert!(!installation.try_run(&["verify"]).status.success(), "it is missed");
    let told = installation.run(&["replay"]);
    assert!(told.starts_with("rebuilt the read models of 2 clusters"), "{told}");
    assert_eq!(read_models(&mut database).await, before);
    let told = installation.run(&["verify"]);
    assert!(told.starts_with("all is right: 2 clusters"), "{told}");

    // Everything goes on from there.
    installation.run(&["scale", &runs, "2"]);
    student.ready(&runs, 2).await;
    student.stop(&runs).await;
    tamper(&installation, &mut database, &ended).await;
    installation.stop().await;
}

/// Changes one event, past the trigger that refuses it.
async fn tamper(installation: &Installation, database: &mut PgConnection, id: &str) {
    let change = format!(
        "UPDATE slipway.event SET data = jsonb_set(data, '{{workers}}', '9') WHERE stream_id = '{id}' AND version = 1"
    );
    let refused = sqlx::raw_sql(AssertSqlSafe(change.clone())).execute(&mut *database).await;
    assert!(refused.expect_err("the log is append-only").to_string().contains("append-only"));
    run(database, "ALTER TABLE slipway.event DISABLE TRIGGER event_is_immutable").await;
    run(database, &change).await;
    run(database, "ALTER TABLE slipway.event ENABLE ALWAYS TRIGGER event_is_immutable").await;
    let output = installation.try_run(&["verify", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(told["wrong"].to_string().contains(id), "{told}");
}

async fn run(database: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(database).await.expect("a superuser may");
}

/// Every row of what replay makes, once the worker has nothing to do.
async fn read_models(database: &mut PgConnection) -> Vec<String> {
    until("the work to be done", async || {
        let open = "SELECT count(*) FROM slipway.work WHERE wanted_version > done_version";
        let open: i64 = sqlx::query(open).fetch_one(&mut *database).await.expect("a count").get(0);
        (open == 0).then_some(())
    })
    .await;
    let rows = "(SELECT to_jsonb(c)::text FROM slipway.cluster c ORDER BY id) \
                UNION ALL (SELECT to_jsonb(u)::text FROM slipway.usage u ORDER BY owner)";
    let rows = sqlx::query(rows).fetch_all(database).await.expect("the read models");
    rows.iter().map(|row| row.get(0)).collect()
}
