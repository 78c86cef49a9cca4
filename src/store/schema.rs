//! Whether the database's schema is this build's, and bringing it there.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqlSafeStr};
use tokio::time::sleep;

use super::error::code;
use super::{Store, StoreError, session};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How often a migration is begun anew that appends were in the way of.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(500);

const UNDEFINED_TABLE: &str = "42P01";

impl Store {
    /// Brings the schema up to this build's, settles the log's epoch and makes room in it. Safe to run from several processes at once and
    /// on a log in use. A role that may not change the schema is content with one that is as it should be.
    ///
    /// # Errors
    /// [`StoreError::Schema`] when it is a newer slipway's, or behind and not this role's to change. When a migration fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let newest = self.newest().await?;
        if newest > wanted() || !self.is_ours().await? {
            return self.start(newest).await;
        }
        let mut left = TRIES;
        while let Err(error) = self.migrate_once().await? {
            left -= 1;
            match error {
                error if left > 0 && is_in_the_way(&error) => {
                    tracing::info!(%error, "the log is in use: beginning the migration anew");
                    sleep(PAUSE).await;
                }
                error => return Err(StoreError::Migrate(error)),
            }
        }
        self.start(wanted()).await
    }

    /// For a program that starts to write: insists on this build's schema, settles the log's epoch and makes room in it.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn open(&self) -> Result<(), StoreError> {
        self.start(self.newest().await?).await
    }

    /// # Errors
    /// When the database does not answer, or its schema is not this build's.
    pub async fn check(&self) -> Result<(), StoreError> {
        ours(self.newest().await?)
    }

    /// On a connection of its own: a migration may take longer than a statement of the pool's may, but appends that
    /// wait behind its locks should not wait for long.
    async fn migrate_once(&self) -> Result<Result<(), MigrateError>, StoreError> {
        let doing = || StoreError::database("connect to the database");
        let mut connection = session::connect(&self.pool.connect_options()).await.map_err(doing())?;
        let settings = sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = '2s'");
        settings.execute(&mut connection).await.map_err(doing())?;
        let outcome = migrations(&connection).run(&mut connection).await;
        // It may still hold the lock that keeps other migrations out.
        connection.close().await.map_err(StoreError::database("end a migration"))?;
        Ok(outcome)
    }

    /// Whether this role may change the schema.
    async fn is_ours(&self) -> Result<bool, StoreError> {
        sqlx::query_scalar!(
            r#"SELECT coalesce((SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'slipway'),
                               has_database_privilege(current_database(), 'CREATE')) AS "ours!""#
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("look for the schema"))
    }

    /// The newest migration that was made; `None` for a database without any.
    async fn newest(&self) -> Result<Option<i64>, StoreError> {
        let newest = sqlx::query_scalar!("SELECT max(version) FROM _sqlx_migrations WHERE success");
        match newest.fetch_one(&self.pool).await {
            Err(error) if code(&error).as_deref() == Some(UNDEFINED_TABLE) => Ok(None),
            newest => newest.map_err(StoreError::database("read the schema's version")),
        }
    }

    async fn start(&self, newest: Option<i64>) -> Result<(), StoreError> {
        ours(newest)?;
        self.settle_epoch().await?;
        self.extend_log().await.map(drop)
    }

    /// A new epoch begins when the database is not where the log was written before, or has gone on from an earlier state of itself.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn settle_epoch(&self) -> Result<(), StoreError> {
        sqlx::query_scalar!(r#"SELECT slipway.settle_epoch() AS "epoch!""#)
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::database("settle the log's epoch"))?;
        Ok(())
    }
}

/// All migrations of this build, as the server of the connection takes them.
pub fn migrations(connection: &PgConnection) -> Migrator {
    let takes_all = connection.server_version_num().is_none_or(|version| version >= 140_000);
    let fit = if takes_all { Migration::clone } else { for_13 };
    Migrator::with_migrations(MIGRATIONS.iter().map(fit).collect())
}

/// Before PostgreSQL 14 `extract` gave a `double precision`, of which `round` takes no digits. What ran elsewhere stays as it is, and its
/// checksum is what tells the version; the view is the same.
fn for_13(migration: &Migration) -> Migration {
    let sql = migration.sql.as_str();
    let sql =
        sql.replace("round(coalesce(u.worker_hours, 0), 6)", "round(coalesce(u.worker_hours, 0)::numeric, 6)");
    Migration { sql: AssertSqlSafe(sql).into_sql_str(), ..migration.clone() }
}

fn wanted() -> Option<i64> {
    MIGRATIONS.iter().map(|migration| migration.version).max()
}

fn ours(newest: Option<i64>) -> Result<(), StoreError> {
    let wanted = wanted();
    if newest == wanted { Ok(()) } else { Err(StoreError::Schema { newest, wanted }) }
}

/// A deadlock with appends, or a lock that did not become free in time.
fn is_in_the_way(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    matches!(code(error).as_deref(), Some("40P01" | "55P03"))
}
