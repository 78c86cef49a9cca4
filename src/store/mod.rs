//! Everything that is kept in Postgres, and all SQL.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgPool};

pub mod activity;
pub mod admission;
pub mod append;
pub mod archive;
pub mod audit;
pub mod backlog;
mod bell;
pub mod claim;
pub mod clusters;
mod error;
pub mod events;
pub mod leader;
pub mod listen;
pub mod partitions;
pub mod people;
mod planned;
pub mod pools;
mod position;
pub mod posted;
pub mod rebuild;
mod schema;
mod session;
mod snapshot;
pub mod standing;
pub mod stream;
mod sweep;
pub mod tail;
mod together;
pub mod tokens;
mod tx;
pub mod verify;
pub mod work;

use bell::Bell;
pub use error::{Limit, StoreError};
use planned::Planned;
pub use schema::migrations;
use together::Together;

/// Connections for appends: more would wait for each other in Postgres.
const APPENDING: usize = 16;
/// Connections for reading on in the log: a read takes a moment, and what follows the log is one thing or two in a process.
const READING: usize = 2;
/// Connections for taking work and finishing it, which a worker does one after the other.
const WORKING: usize = 2;

/// A handle to the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    appending: Planned,
    reading: Planned,
    working: Planned,
    together: Together,
    bell: Arc<Bell>,
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
            .acquire_timeout(session::PATIENCE)
            .test_before_acquire(false)
            .before_acquire(|connection, metadata| {
                Box::pin(async move {
                    if metadata.idle_for >= session::FRESH {
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
        let [appending, reading, working] =
            [APPENDING, READING, WORKING].map(|most| Planned::new(pool.connect_options(), most));
        let together = Together::new(appending.clone());
        Self { pool, appending, reading, working, together, bell: Arc::new(Bell::new()) }
    }
}

/// An age that the database tells, by its own clock; none when that was put back meanwhile.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
