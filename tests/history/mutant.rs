//! The databases that histories begin with; and what they would find if slipway did without one of its guards.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use slipway::store::Store;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};

use super::ground::Seen;
use super::stage::{CAPS, THROTTLE};

/// What is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A reader goes by the number that an event gets before its commit.
    BarePosition,
    /// Every claim has the same owner and token, so that whoever comes late can settle it.
    Unfenced,
    /// An append takes no notice of its idempotency key.
    ForgetsKeys,
    /// As many clusters as one likes.
    ForgetsLimits,
    /// Launches are let in whoever else is under way.
    ForgetsPace,
    /// Whoever claims what a pool keeps ready is charged for nothing.
    ForgetsClaims,
    /// An event does not cover the one before it.
    BreaksChains,
}

impl Mutant {
    /// The function of the schema that is changed, and how.
    fn change(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::BarePosition => None,
            Self::Unfenced => Some(("take", "lease_token = w.lease_token + 1", "lease_token = w.lease_token")),
            Self::ForgetsKeys => Some(("append", "IF p_key IS NOT NULL THEN", "IF false THEN")),
            Self::ForgetsLimits => Some(("charge", "v_usage > p_most_clusters", "false")),
            Self::ForgetsPace => Some(("admission_room", "a.at_once > 0", "false")),
            Self::ForgetsClaims => {
                Some(("charge", "CASE WHEN p_claimed THEN 1 ELSE p_more_clusters END", "p_more_clusters"))
            }
            Self::BreaksChains => Some(("record", "coalesce(s.last_hash, '')", "''::bytea")),
        }
    }

    /// Whether this is what it is found by: other things may go wrong with it as well.
    pub fn is_shown_by(self, wrong: &[String]) -> bool {
        let word = match self {
            Self::BarePosition => "a reader of the log",
            Self::Unfenced => "which was leased to",
            Self::ForgetsKeys => "launched once and",
            Self::ForgetsLimits => "clusters",
            Self::ForgetsPace => "was admitted beside",
            Self::ForgetsClaims => "usage of owner",
            Self::BreaksChains => "its hash does not match",
        };
        wrong.iter().any(|what| what.contains(word))
    }
}

/// A database that histories begin with: migrated, and watched by the witness.
pub async fn template(mutant: Option<Mutant>) -> String {
    let name = crate::harness::new_database(None).await;
    let options = crate::harness::server().0.database(&name).options([("search_path", "public")]);
    let pool = PgPool::connect_with(options).await.expect("the new database answers");
    Store::over(pool.clone()).migrate().await.expect("the migrations run");
    sqlx::raw_sql(include_str!("witness.sql")).execute(&pool).await.expect("a witness");
    sqlx::query("INSERT INTO witness.setting VALUES ($1, $2, $3, 0)")
        .bind(i32::from(CAPS.clusters_per_owner))
        .bind(CAPS.total_workers.cast_signed())
        .bind(THROTTLE.at_once.cast_signed())
        .execute(&pool)
        .await
        .expect("what it watches for");
    if let Some((function, from, to)) = mutant.and_then(Mutant::change) {
        let source = "SELECT pg_get_functiondef(('slipway.' || $1)::regproc)";
        let source: String = sqlx::query_scalar(source).bind(function).fetch_one(&pool).await.expect("its source");
        assert!(source.contains(from), "slipway.{function} has changed: say anew what {mutant:?} is without");
        sqlx::raw_sql(AssertSqlSafe(source.replace(from, to))).execute(&pool).await.expect("changed");
    }
    pool.close().await;
    name
}

pub async fn drop_database(name: &str) {
    let mut connection =
        PgConnection::connect_with(&crate::harness::server().0).await.expect("the server answers");
    let dropped = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
    sqlx::raw_sql(dropped).execute(&mut connection).await.expect("dropped");
}

/// What must not be done: the number alone, which is given out before the commit.
pub async fn read_by_position(pool: PgPool, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut last = 0_i64;
    loop {
        let next = "SELECT pos, stream_id, version FROM slipway.event WHERE pos > $1 ORDER BY pos";
        for row in sqlx::query(next).bind(last).fetch_all(&pool).await.unwrap_or_default() {
            last = row.get(0);
            let id = row.get::<&str, _>(1).parse().expect("an id");
            seen.lock().expect("no panic").push((id, row.get(2)));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
