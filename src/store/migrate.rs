//! The schema: brought up to this build's, or found to be another one's.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use super::{Store, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How often a migration is begun anew that appends were in the way of.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(500);

impl Store {
    /// Brings the schema up to this build's and settles the log's epoch. Safe to run from several
    /// processes at once and on a log in use.
    ///
    /// # Errors
    /// When the database was migrated by a newer slipway, or a migration fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut left = TRIES;
        while let Err(error) = self.migrate_once().await? {
            left -= 1;
            match error {
                MigrateError::VersionMissing(newest) => {
                    return Err(StoreError::Schema { newest: Some(newest), wanted: wanted() });
                }
                error if left > 0 && is_in_the_way(&error) => {
                    tracing::info!(%error, "the log is in use: beginning the migration anew");
                    sleep(PAUSE).await;
                }
                error => return Err(StoreError::Migrate(error)),
            }
        }
        self.settle_epoch().await
    }

    /// On a connection of its own: a migration may take longer than a statement of the pool's may, but appends that
    /// wait behind its locks should not wait for long.
    async fn migrate_once(&self) -> Result<Result<(), MigrateError>, StoreError> {
        let options = self.pool.connect_options().as_ref().clone();
        let options = options.options([("statement_timeout", "0"), ("lock_timeout", "2s")]);
        let connecting = PgConnection::connect_with(&options).await;
        let mut connection = connecting.map_err(StoreError::database("connect to the database"))?;
        let outcome = MIGRATIONS.run(&mut connection).await;
        // It may still hold the lock that keeps other migrations out.
        connection.close().await.map_err(StoreError::database("end a migration"))?;
        Ok(outcome)
    }

    /// A database that was restored from a dump has transaction ids below those of its log: a new epoch begins.
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

    /// # Errors
    /// When the database does not answer, or its schema is not this build's.
    pub async fn check(&self) -> Result<(), StoreError> {
        let newest = sqlx::query_scalar!(r#"SELECT max(version) FROM _sqlx_migrations WHERE success"#)
            .fetch_one(&self.pool)
            .await;
        let newest = match newest {
            Err(error) if code(&error) == Some("42P01") => None, // there is no such table: nobody has migrated it
            outcome => outcome.map_err(StoreError::database("read the schema's version"))?,
        };
        if newest == wanted() { Ok(()) } else { Err(StoreError::Schema { newest, wanted: wanted() }) }
    }
}

fn wanted() -> Option<i64> {
    MIGRATIONS.iter().map(|migration| migration.version).max()
}

/// A deadlock with appends, or a lock that did not become free in time.
fn is_in_the_way(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    matches!(code(error), Some("40P01" | "55P03"))
}

fn code(error: &sqlx::Error) -> Option<&str> {
    let raised = error.as_database_error()?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    Some(raised.code())
}
