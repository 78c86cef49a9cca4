//! How a program finds the schema when it starts, and what it is told.

use slipway::store::{Store, StoreError};
use sqlx::{AssertSqlSafe, PgPool};

use crate::harness::{as_role, database, empty_database, launch, new_database, subject, writer};

async fn all(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.expect(sql);
}

/// What a start could have changed.
async fn traces(pool: &PgPool) -> String {
    sqlx::query_scalar(
        "SELECT concat((SELECT string_agg(m::text, ';' ORDER BY version) FROM _sqlx_migrations m),
                       (SELECT string_agg(i::text, ';') FROM slipway.installation i),
                       (SELECT string_agg(c.oid::text || c.relname || coalesce(c.relacl::text, ''), ';' ORDER BY c.oid)
                          FROM pg_class c WHERE relnamespace = 'slipway'::regnamespace))",
    )
    .fetch_one(pool)
    .await
    .expect("its traces")
}

#[track_caller]
fn says(outcome: Result<(), StoreError>, words: &[&str]) {
    let error = outcome.expect_err("it is refused");
    let text = slipway::error_chain::chain(&error).to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[tokio::test]
async fn who_may_not_migrate_is_content_with_a_schema_that_is_up_to_date() {
    let (pool, _) = database().await;
    let writer = writer(&pool);
    writer.migrate().await.expect("nothing to migrate");
    writer.open().await.expect("it opens");
    writer.check().await.expect("it is up to date");
}

#[tokio::test]
async fn who_may_not_migrate_is_told_who_may() {
    let (pool, _) = database().await;
    all(&pool, "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await;
    let (writer, before) = (writer(&pool), traces(&pool).await);
    for outcome in [writer.migrate().await, writer.open().await, writer.check().await] {
        says(outcome, &["run `slipway migrate` as the owner of the schema"]);
    }
    assert_eq!(traces(&pool).await, before);
    all(&pool, "REVOKE ALL ON _sqlx_migrations FROM slipway_writer").await;
    says(writer.open().await, &["cannot read the schema's version: the database role may not", "README.md"]);
    all(&pool, "DROP TABLE _sqlx_migrations; DROP SCHEMA slipway CASCADE").await;
    for outcome in [writer.migrate().await, writer.open().await] {
        says(outcome, &["no schema yet", "as the role that is to own it"]);
    }
}

#[tokio::test]
async fn a_schema_of_a_newer_slipway_is_left_alone() {
    let (pool, _) = database().await;
    all(
        &pool,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of a newer one', true, '', 0)",
    )
    .await;
    let before = traces(&pool).await;
    for store in [Store::over(pool.clone()), writer(&pool)] {
        for outcome in [store.migrate().await, store.open().await, store.check().await] {
            says(outcome, &["at 9999", "newer slipway's", "Nothing was changed"]);
        }
    }
    assert_eq!(traces(&pool).await, before);
}

#[tokio::test]
async fn the_owner_of_the_schema_need_be_nothing_more() {
    // Makes the roles, which this owner may not.
    database().await;
    let (pool, _) = empty_database().await;
    all(
        &pool,
        "DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'slipway_test_owner') THEN CREATE ROLE slipway_test_owner; END IF;
            EXECUTE format('ALTER DATABASE %I OWNER TO slipway_test_owner', current_database());
            GRANT CREATE ON SCHEMA public TO slipway_test_owner;
         END $$",
    )
    .await;
    let owner = Store::over(as_role(&pool, "slipway_test_owner"));
    owner.migrate().await.expect("the migrations run");
    owner.migrate().await.expect("nothing is left to migrate");
    // Where the roles were made later than the schema, its owner gives them their rights.
    all(&as_role(&pool, "slipway_test_owner"), "SELECT slipway.grant_roles()").await;
    let service = slipway::service::Service::new(writer(&pool), crate::harness::NO_CAPS);
    service.launch(launch("alice"), subject("alice"), None).await.expect("the writer launches");
}

#[tokio::test]
async fn a_copy_of_the_database_goes_on_in_an_epoch_of_its_own_from_its_first_start() {
    let (pool, _) = database().await;
    let epoch = async |pool: &PgPool| -> i16 {
        let epoch = sqlx::query_scalar("SELECT epoch FROM slipway.installation").fetch_one(pool).await;
        epoch.expect("an epoch")
    };
    let original: String =
        sqlx::query_scalar("SELECT current_database()::text").fetch_one(&pool).await.expect("a name");
    writer(&pool).open().await.expect("a start");
    assert_eq!(epoch(&pool).await, 1, "it is where it was");
    pool.close().await;
    let copy = new_database(Some(&original)).await;
    let options = pool.connect_options().as_ref().clone().database(&copy);
    let pool = PgPool::connect_with(options).await.expect("the copy answers");
    for start in 0..2 {
        writer(&pool).open().await.expect("a start");
        assert_eq!(epoch(&pool).await, 2, "start {start}");
    }
}
