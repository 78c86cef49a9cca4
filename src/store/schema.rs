//! Whether the database's schema is this build's, and bringing it there.

use super::{Store, StoreError};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The schema as it is.
struct Found {
    newest: Option<i64>,
    /// This role may change it.
    ours: bool,
}

impl Store {
    /// Brings the schema up to this build's and settles the log's epoch. Safe to run from several processes at once and
    /// on a log in use. A role that may not change the schema is content with one that is as it should be.
    ///
    /// # Errors
    /// [`StoreError::Schema`] when it is a newer slipway's, or behind and not this role's to change. When a migration fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let found = self.found().await?;
        if !found.ours || found.newest > wanted() {
            return self.start(found.newest).await;
        }
        // Outside the pool's limits: a migration may take longer than a statement may.
        MIGRATIONS.run(&self.pool).await.map_err(StoreError::Migrate)?;
        self.start(wanted()).await
    }

    /// For a program that starts to write: insists on this build's schema and settles the log's epoch.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn open(&self) -> Result<(), StoreError> {
        self.start(self.found().await?.newest).await
    }

    /// # Errors
    /// When the database does not answer, or its schema is not this build's.
    pub async fn check(&self) -> Result<(), StoreError> {
        ours(self.newest().await?)
    }

    async fn found(&self) -> Result<Found, StoreError> {
        let row = sqlx::query!(
            r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "exists!",
                      coalesce((SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'slipway'),
                               has_database_privilege(current_database(), 'CREATE')) AS "ours!""#
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("look for the schema"))?;
        let newest = if row.exists { self.newest().await? } else { None };
        Ok(Found { newest, ours: row.ours })
    }

    async fn newest(&self) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar!(r#"SELECT max(version) FROM _sqlx_migrations WHERE success"#)
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::database("read the schema's version"))
    }

    async fn start(&self, newest: Option<i64>) -> Result<(), StoreError> {
        ours(newest)?;
        sqlx::query_scalar!(r#"SELECT slipway.settle_epoch() AS "epoch!""#)
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::database("settle the log's epoch"))?;
        Ok(())
    }
}

fn wanted() -> Option<i64> {
    MIGRATIONS.iter().map(|migration| migration.version).max()
}

fn ours(newest: Option<i64>) -> Result<(), StoreError> {
    let wanted = wanted();
    if newest == wanted { Ok(()) } else { Err(StoreError::Schema { newest, wanted }) }
}
