//! Read models made anew.

use sqlx::AssertSqlSafe;

use crate::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_breaks_off_says_where_to_go_on_and_goes_on_there() {
    let program = Program::new().await;
    let mut ids = vec![];
    for owner in ["ada", "bob", "eve"] {
        ids.push(program.running(owner).await);
    }
    // Streams are replayed in the order of their names.
    ids.sort_by_key(ToString::to_string);
    let broken = format!(
        "ALTER TABLE slipway.event DISABLE TRIGGER USER;
         UPDATE slipway.event SET type = 'Removed', data = '{{}}' WHERE stream_id = '{}' AND version = 2;
         TRUNCATE slipway.cluster, slipway.usage, slipway.work",
        ids[1]
    );
    sqlx::raw_sql(AssertSqlSafe(broken)).execute(&program.pool).await.expect("a superuser can");
    let told = program.fails(1, &["replay"]);
    let hint = format!("all up to {0} are rebuilt, go on with `slipway replay --after {0}`", ids[0]);
    assert!(told.contains(&hint) && told.contains(&format!("the log of {} is corrupt", ids[1])), "{told}");
    let rebuilt = async || {
        let sql = "SELECT id FROM slipway.cluster ORDER BY id";
        sqlx::query_scalar::<_, String>(sql).fetch_all(&program.pool).await.expect("the read models")
    };
    assert_eq!(rebuilt().await, [ids[0].to_string()]);
    let told = program.run(&["replay", "--after", &ids[1].to_string()]);
    assert!(told.starts_with("rebuilt the read models of 1 clusters"), "{told}");
    assert_eq!(rebuilt().await, [ids[0].to_string(), ids[2].to_string()]);
    assert_eq!(program.service.store().wrong_usage().await.expect("a check"), Vec::<String>::new());
}
