//! Who people are and where they came from: outside the log, so that it can be forgotten.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::work::interval;
use super::{Store, StoreError};
use crate::domain::Subject;

/// One row of `slipway.people`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    pub subject: String,
    pub name: Option<String>,
    /// What the subject's tokens are called.
    pub tokens: Vec<String>,
    /// Whoever has never acted by the API has no times.
    pub first_seen: Option<DateTime<Utc>>,
    pub last_seen: Option<DateTime<Utc>>,
    pub last_address: Option<String>,
    pub launches: i64,
}

/// The record that a subject was forgotten, and how much was removed this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub erased_at: DateTime<Utc>,
    pub erased_by: String,
    pub named: bool,
    pub addresses: i64,
    pub tokens: i64,
    pub keys: i64,
}

impl Store {
    /// Whoever is known, last seen first; those in whose row the text occurs, if one is given.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn people(&self, find: Option<&str>) -> Result<Vec<Person>, StoreError> {
        sqlx::query_as!(
            Person,
            r#"SELECT subject AS "subject!", name, tokens AS "tokens!", first_seen, last_seen,
                      host(last_address) AS last_address, launches AS "launches!"
                 FROM slipway.people
                WHERE $1::text IS NULL
                   OR strpos(lower(concat_ws(E'\n', subject, name, array_to_string(tokens, E'\n'), host(last_address))),
                             lower($1)) > 0
                ORDER BY last_seen DESC NULLS LAST, subject"#,
            find,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("list the people"))
    }

    /// Notes what a subject is called; false if nobody is known by that subject.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn name_person(&self, subject: &Subject, name: &str) -> Result<bool, StoreError> {
        let doing = StoreError::database("name a person");
        let named = async {
            let mut tx = self.pool.begin().await?;
            // As slipway.see does: a name that comes while the subject is forgotten comes too late.
            sqlx::query!(
                "SELECT pg_advisory_xact_lock_shared(hashtextextended('slipway.person ' || $1, 0))",
                subject.as_str(),
            )
            .execute(&mut *tx)
            .await?;
            let done = sqlx::query!(
                r#"INSERT INTO slipway.person (subject, name) SELECT subject, $2 FROM slipway.people WHERE subject = $1
                   ON CONFLICT (subject) DO UPDATE SET name = EXCLUDED.name"#,
                subject.as_str(),
                name,
            )
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(done.rows_affected() == 1)
        };
        named.await.map_err(doing)
    }

    /// Removes all that tells who a subject is, and records that.
    ///
    /// # Errors
    /// When the database does not answer; nothing is removed then.
    pub async fn forget(&self, subject: &Subject, by: &Subject) -> Result<Erasure, StoreError> {
        sqlx::query_as!(
            Erasure,
            r#"SELECT erased_at AS "erased_at!", erased_by AS "erased_by!", named AS "named!", addresses AS "addresses!",
                      tokens AS "tokens!", keys AS "keys!"
                 FROM slipway.forget($1, $2)"#,
            subject.as_str(),
            by.as_str(),
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("forget anybody"))
    }

    /// Every subject that was forgotten.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forgotten(&self) -> Result<Vec<Subject>, StoreError> {
        let subjects = sqlx::query_scalar!("SELECT subject FROM slipway.erasure")
            .fetch_all(&self.pool)
            .await
            .map_err(StoreError::database("read who was forgotten"))?;
        let parse = |value: String| value.parse().map_err(|_| StoreError::Stored { what: "subject", value });
        subjects.into_iter().map(parse).collect()
    }

    /// Forgets where acts came from that are older than that; how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn prune_origins(&self, keep: Duration) -> Result<i64, StoreError> {
        sqlx::query_scalar!(r#"SELECT slipway.prune_origins($1) AS "pruned!""#, interval(keep))
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::database("forget old addresses"))
    }
}
