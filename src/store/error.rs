//! What can go wrong between slipway and Postgres.

use std::borrow::Cow;

use sqlx::error::DatabaseError;

use crate::domain::cluster::Impossible;

const APPEND: &str = "append to the log";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else appended to the stream first: decide again on the newer state.
    #[error("the cluster has changed in the meantime")]
    Conflict,
    #[error("this idempotency key was used before, for another request")]
    KeyReused,
    #[error("over the limit: {0}")]
    OverLimit(Limit),
    #[error(
        "event {position} of type {kind} (schema {schema}) cannot be read: it is from a newer slipway, or damaged"
    )]
    Unreadable {
        position: String,
        kind: String,
        schema: i16,
        #[source]
        source: Option<serde_json::Error>,
    },
    #[error("the log of {stream} is corrupt")]
    Corrupt {
        stream: String,
        #[source]
        source: Impossible,
    },
    /// What was asked for is in a partition that was taken out of the log.
    #[error(
        "{what} is in the archive: `slipway archive list` shows where, `slipway archive attach` brings it back"
    )]
    Archived { what: String },
    #[error("stored {what} {value:?} is not valid")]
    Stored { what: &'static str, value: String },
    /// Whoever the subject was has been forgotten, and does not come back as the same.
    #[error("this subject was forgotten: nothing new is done or kept by its name")]
    Forgotten,
    #[error("{}", of_another_build(*newest, *wanted))]
    Schema { newest: Option<i64>, wanted: Option<i64> },
    /// A session would not be one connection's.
    #[error(
        "the database address leads to a pooler that lends a connection for a transaction at a time, as PgBouncer does in \
         transaction mode: slipway needs the same one throughout, for notifications, prepared statements and settings. Give it \
         the server's own address, or one that is pooled by session (pool_mode = session); README.md, \"PostgreSQL\", says how \
         many connections it takes"
    )]
    Pooled,
    /// Nothing can be written there, and what is read may be promoted to something else.
    #[error(
        "the database address leads to a standby, which takes no writes: give it the primary's. An account of slipway_auditor's \
         may read there"
    )]
    Standby,
    #[error("cannot {doing}: the database role may not; README.md, \"Roles\", says which may")]
    Denied {
        doing: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("cannot migrate the database")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("cannot {doing}")]
    Database {
        doing: &'static str,
        #[source]
        source: sqlx::Error,
    },
}

/// What there can be too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    ClustersPerOwner,
    TotalWorkers,
    Admission,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ClustersPerOwner => "clusters per owner",
            Self::TotalWorkers => "workers of all clusters together",
            Self::Admission => "launches under way",
        })
    }
}

fn of_another_build(newest: Option<i64>, wanted: Option<i64>) -> String {
    let wanted = wanted.unwrap_or_default();
    match newest {
        None => "the database has no schema yet: run `slipway migrate` as the role that is to own it".to_owned(),
        Some(newest) if newest < wanted => format!(
            "the database's schema is at {newest} and this slipway needs {wanted}: run `slipway migrate` as the owner of the schema"
        ),
        Some(newest) => format!(
            "the database's schema is at {newest}, which is a newer slipway's; this one knows {wanted}: run the newer one. \
             Nothing was changed"
        ),
    }
}

/// What the server calls it, by <https://www.postgresql.org/docs/current/errcodes-appendix.html>; `SW…` are slipway's own.
pub(super) fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}

impl StoreError {
    /// The log has what this build does not know; another may.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable { .. })
    }

    /// It is in the archive.
    pub fn is_archived(&self) -> bool {
        matches!(self, Self::Archived { .. })
    }

    /// Reads the error code that `slipway.log_from` raises.
    pub(crate) fn reading(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| match code(&source).as_deref() {
            Some("SW410") => Self::Archived { what: "some of what comes after this position".to_owned() },
            _ => Self::database(doing)(source),
        }
    }

    pub(crate) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| match code(&source).as_deref() {
            Some("42501") => Self::Denied { doing, source },
            Some("SW503") => Self::Standby,
            _ => Self::Database { doing, source },
        }
    }

    /// Reads the error codes that `slipway.append` raises.
    pub(crate) fn append(source: sqlx::Error) -> Self {
        let Some(raised) = source.as_database_error() else {
            return Self::database(APPEND)(source);
        };
        match (raised.code().as_deref(), raised.message()) {
            // 40P01: a deadlock, which only a migration under way can cause.
            (Some("SW409" | "40001" | "40P01" | "23505"), _) => Self::Conflict,
            (Some("SW401"), _) => Self::Forgotten,
            (Some("SW422"), _) => Self::KeyReused,
            (Some("SW429"), "clusters_per_owner") => Self::OverLimit(Limit::ClustersPerOwner),
            (Some("SW429"), "admission") => Self::OverLimit(Limit::Admission),
            (Some("SW429"), _) => Self::OverLimit(Limit::TotalWorkers),
            _ => Self::database(APPEND)(source),
        }
    }
}
