//! Who people are and where they came from: beside the log, for a while, and forgotten whole.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway::domain::{ClusterId, Command};
use slipway::service::{ExecuteError, Service};
use slipway::store::append::{Caps, Meta, RequestKey, Visit};
use slipway::store::tokens::Bearer;
use slipway::store::{Store, StoreError};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::harness::{NO_CAPS, as_role, database, eventually, launch, meta, subject, workers, writer};

const NAME: &str = "Anna Lindqvist";
const TOKEN: &str = "Anna's laptop";
const KEY: &str = "annas-first-launch";
const ADDRESS: &str = "203.0.113.77";
const ALICE: &str = "browser:1f0c";

fn from(address: Option<&str>) -> Meta {
    let address = address.map(|address| address.parse::<IpAddr>().expect("an address"));
    Meta { visit: Some(Visit { address }), ..meta(ALICE) }
}

struct Given {
    pool: PgPool,
    owner: Store,
    service: Service,
}

impl Given {
    async fn new() -> Self {
        let (pool, _) = database().await;
        Self { owner: Store::over(pool.clone()), service: Service::new(writer(&pool), NO_CAPS), pool }
    }

    async fn launch(&self, by: Meta, key: Option<&str>) -> Result<ClusterId, ExecuteError> {
        let key = key.map(|key| RequestKey { key: key.to_owned(), fingerprint: [1; 32] });
        Ok(self.service.launch(launch(ALICE), by, key.as_ref()).await?.cluster.id)
    }

    /// Alice, of whom everything is known that can be.
    async fn well_known(&self) -> ClusterId {
        let id = self.launch(from(Some(ADDRESS)), Some(KEY)).await.expect("a launch");
        let scale = Command::Scale { workers: workers(3) };
        self.service.execute(id, &scale, &from(Some(ADDRESS)), None).await.expect("scaled");
        let bearer = Bearer { subject: subject(ALICE), admin: false };
        self.owner.create_token(Uuid::new_v4(), TOKEN, &bearer, "slipway_alice", None).await.expect("a token");
        assert!(self.owner.name_person(&subject(ALICE), NAME).await.expect("named"));
        id
    }

    async fn origins(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM slipway.origin").fetch_one(&self.pool).await.expect("a count")
    }

    /// The tables in any of whose columns this occurs.
    async fn holding(&self, text: &str) -> Vec<String> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'slipway'::regnamespace AND relkind = 'r' ORDER BY 1",
        )
        .fetch_all(&self.pool)
        .await
        .expect("tables");
        let mut holding = vec![];
        for table in tables {
            let sql =
                format!("SELECT EXISTS (SELECT FROM slipway.{table} t WHERE strpos(to_jsonb(t)::text, $1) > 0)");
            if sqlx::query_scalar(AssertSqlSafe(sql)).bind(text).fetch_one(&self.pool).await.expect("an answer") {
                holding.push(table);
            }
        }
        holding
    }

    async fn launches(&self) -> Vec<(String, Option<String>, Option<String>)> {
        let rows = self.owner.launches(DateTime::<Utc>::UNIX_EPOCH, 10).await.expect("rows");
        rows.into_iter().map(|row| (row.owner, row.person, row.address)).collect()
    }
}

#[tokio::test]
async fn an_act_and_where_it_came_from_are_one_transaction() {
    let given = Given::new().await;
    given.launch(from(Some(ADDRESS)), Some(KEY)).await.expect("a launch");
    let person = given.owner.people(None).await.expect("people").remove(0);
    assert_eq!(
        (person.subject.as_str(), person.launches, person.last_address.as_deref()),
        (ALICE, 1, Some(ADDRESS))
    );
    assert_eq!((person.name, person.first_seen), (None, person.last_seen));
    given.launch(from(Some("198.51.100.1")), Some(KEY)).await.expect("the same answer");
    assert_eq!(given.origins().await, 1, "a repetition is no act");
    let capped = Service::new(writer(&given.pool), Caps { clusters_per_owner: 1, ..NO_CAPS });
    let refused = capped.launch(launch(ALICE), from(Some("198.51.100.2")), None).await;
    assert!(matches!(refused, Err(ExecuteError::Store(StoreError::OverLimit(_)))), "{refused:?}");
    assert_eq!(given.origins().await, 1, "nor is what was refused");
    given.launch(from(None), None).await.expect("a launch from an address that is not kept");
    given.launch(meta("cli:root"), None).await.expect("a launch by an operator");
    assert_eq!((given.origins().await, given.owner.people(None).await.expect("people").len()), (1, 1));
    let seen = given.owner.people(None).await.expect("people").remove(0);
    assert!(seen.first_seen < seen.last_seen, "{seen:?}");
}

#[tokio::test]
async fn an_address_is_kept_for_so_long() {
    let given = Given::new().await;
    given.launch(from(Some(ADDRESS)), None).await.expect("a launch");
    let store = given.service.store();
    assert_eq!(store.prune_origins(Duration::from_secs(3_600)).await.expect("pruned"), 0);
    assert_eq!(given.launches().await, [(ALICE.to_owned(), None, Some(ADDRESS.to_owned()))]);
    assert_eq!(store.prune_origins(Duration::ZERO).await.expect("pruned"), 1);
    assert_eq!(given.launches().await, [(ALICE.to_owned(), None, None)]);
    assert_eq!(given.holding(ADDRESS).await, Vec::<String>::new());
}

#[tokio::test]
async fn people_are_found_by_whatever_is_known_of_them() {
    let given = Given::new().await;
    given.well_known().await;
    for text in [ALICE, "lindqvist", "LAPTOP", "203.0.113"] {
        let found = given.owner.people(Some(text)).await.expect("people");
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!((found[0].name.as_deref(), &found[0].tokens[..]), (Some(NAME), &[TOKEN.to_owned()][..]));
    }
    assert_eq!(given.owner.people(Some("%")).await.expect("people"), vec![]);
    assert!(!given.owner.name_person(&subject("browser:nobody"), NAME).await.expect("an answer"));
}

#[tokio::test]
async fn who_is_forgotten_is_in_no_table_and_the_log_is_whole() {
    let given = Given::new().await;
    let id = given.well_known().await;
    let identity = [NAME, TOKEN, KEY, ADDRESS];
    for text in identity {
        assert_eq!(given.holding(text).await.len(), 1, "{text} is known before");
    }
    let log = "SELECT string_agg(e::text, ';' ORDER BY stream_id, version) FROM slipway.event e";
    let before: String = sqlx::query_scalar(log).fetch_one(&given.pool).await.expect("the log");
    let erasure = given.owner.forget(&subject(ALICE), &subject("cli:root")).await.expect("forgotten");
    assert_eq!((erasure.erased_by.as_str(), erasure.named), ("cli:root", true));
    assert_eq!((erasure.addresses, erasure.tokens, erasure.keys), (2, 1, 1));
    for text in identity {
        assert_eq!(given.holding(text).await, Vec::<String>::new(), "{text}");
    }
    let after: String = sqlx::query_scalar(log).fetch_one(&given.pool).await.expect("the log");
    assert_eq!(after, before);
    assert_eq!(given.owner.broken_chains().await.expect("a check"), Vec::<String>::new());
    assert_eq!(given.owner.check_read_model(id).await.expect("a check"), None);
    assert_eq!(given.launches().await, [(ALICE.to_owned(), None, None)], "somebody unknown has launched it");
    assert_eq!(given.owner.people(None).await.expect("people"), vec![]);
    assert_eq!(given.owner.bearer("slipway_alice").await.expect("an answer"), None);
    for change in ["UPDATE slipway.erasure SET erased_by = 'x'", "DELETE FROM slipway.erasure"] {
        sqlx::query(change).execute(&given.pool).await.expect_err("the record stays");
    }
}

#[tokio::test]
async fn who_was_forgotten_does_not_come_back_as_the_same() {
    let given = Given::new().await;
    let id = given.well_known().await;
    let first = given.owner.forget(&subject(ALICE), &subject("cli:root")).await.expect("forgotten");
    let again = given.launch(from(Some(ADDRESS)), Some(KEY)).await;
    assert!(matches!(again, Err(ExecuteError::Store(StoreError::Forgotten))), "{again:?}");
    let scale = Command::Scale { workers: workers(5) };
    let scaled = given.service.execute(id, &scale, &from(Some(ADDRESS)), None).await;
    assert!(matches!(scaled, Err(ExecuteError::Store(StoreError::Forgotten))), "{scaled:?}");
    let bearer = Bearer { subject: subject(ALICE), admin: false };
    let token = given.owner.create_token(Uuid::new_v4(), TOKEN, &bearer, "slipway_new", None).await;
    assert!(matches!(token, Err(StoreError::Forgotten)), "{token:?}");
    assert!(!given.owner.name_person(&subject(ALICE), NAME).await.expect("an answer"));
    for text in [NAME, TOKEN, KEY, ADDRESS] {
        assert_eq!(given.holding(text).await, Vec::<String>::new(), "{text}");
    }
    assert_eq!(given.service.store().forgotten().await.expect("a list"), [subject(ALICE)]);
    // As after a restore of an older dump.
    sqlx::raw_sql("INSERT INTO slipway.person VALUES ('browser:1f0c', 'Anna', now(), now())")
        .execute(&given.pool)
        .await
        .expect("restored");
    let second = given.owner.forget(&subject(ALICE), &subject("cli:other")).await.expect("forgotten again");
    assert_eq!((second.erased_at, second.erased_by, second.named), (first.erased_at, first.erased_by, true));
    assert_eq!(given.owner.people(None).await.expect("people"), vec![]);
}

/// Waits until a statement of this database waits for a lock.
async fn waiting(pool: &PgPool) {
    eventually("one of the two to wait for the other", async || {
        let waits = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                                     WHERE d.datname = current_database() AND NOT l.granted)";
        sqlx::query_scalar::<_, bool>(waits).fetch_one(pool).await.expect("an answer").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_act_during_the_forgetting_leaves_nothing_whichever_was_first() {
    let see = "SELECT slipway.see('browser:1f0c', gen_random_uuid(), '203.0.113.77', clock_timestamp())";
    let forget = "SELECT erased_at FROM slipway.forget('browser:1f0c', 'cli:root')";
    for (first, second) in [(see, forget), (forget, see)] {
        let given = Given::new().await;
        given.well_known().await;
        let mut tx = given.pool.begin().await.expect("a transaction");
        sqlx::query(first).execute(&mut *tx).await.expect("the first goes ahead");
        let pool = given.pool.clone();
        let other = tokio::spawn(async move { sqlx::query(second).execute(&pool).await });
        waiting(&as_role(&given.pool, "slipway_auditor")).await;
        tx.commit().await.expect("committed");
        let outcome = other.await.expect("it ends");
        assert_eq!(outcome.is_ok(), second == forget, "{outcome:?}");
        for text in [NAME, ADDRESS] {
            assert_eq!(given.holding(text).await, Vec::<String>::new(), "{text}, {first} first");
        }
    }
}
