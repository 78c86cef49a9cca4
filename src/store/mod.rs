//! Everything that is kept in Postgres, and all SQL.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgPool};
use tokio::sync::Notify;

pub mod activity;
pub mod admission;
pub mod append;
mod appender;
pub mod archive;
pub mod audit;
pub mod backlog;
pub mod claim;
pub mod clusters;
mod error;
pub mod events;
pub mod leader;
pub mod listen;
pub mod partitions;
pub mod people;
pub mod pools;
mod position;
pub mod posted;
pub mod rebuild;
mod schema;
mod session;
mod snapshot;
pub mod standing;
pub mod stream;
pub mod tail;
mod together;
pub mod tokens;
mod tx;
pub mod verify;
pub mod work;

use appender::Appender;
pub use error::{Limit, StoreError};
pub use schema::migrations;
use together::Together;

/// A handle to the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    appender: Appender,
    together: Together,
    /// Rung after each append, heard by [`listen::announce`].
    appended: Arc<Notify>,
}

impl Store {
    /// Connects with at most `connections` connections, waiting up to 10 s for one.
    ///
    /// # Errors
    /// When the address is not one, the server does not answer, or a pooler lends connections for a transaction each.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, StoreError> {
        let store = Self::to(url, connections)?;
        store.check_sessions().await?;
        Ok(store)
    }

    /// As [`connect`](Self::connect), but the first call that needs a connection makes it: a server that is away
    /// now may come back.
    ///
    /// # Errors
    /// When the address is not one.
    pub fn to(url: &str, connections: u32) -> Result<Self, StoreError> {
        let options = session::options(url)?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(10))
            // A connection that was used a moment ago is not asked whether it is alive.
            .test_before_acquire(false)
            .before_acquire(|connection, metadata| {
                Box::pin(async move {
                    if metadata.idle_for >= Duration::from_secs(1) {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| Box::pin(session::settle(connection)))
            .connect_lazy_with(options);
        Ok(Self::over(pool))
    }

    /// A store over a pool that is there already, as in tests.
    pub fn over(pool: PgPool) -> Self {
        let appender = Appender::new(pool.connect_options());
        let together = Together::new(appender.clone());
        Self { pool, appender, together, appended: Arc::new(Notify::new()) }
    }
}

/// An age that the database tells, by its own clock; none when that was put back meanwhile.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
