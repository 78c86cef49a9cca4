//! Connections for appends alone.
//!
//! The pool asks a connection whether it is alive when it is taken and again when it is given back: three
//! round trips for what is one. Here a connection is given back only by a call that ended, so there is nothing
//! to ask; one that broke, or whose call was dropped half-way, is closed.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};
use tokio::sync::Semaphore;

use super::session;

/// More would wait for each other in Postgres.
const MOST: usize = 16;

/// All that an append looks for it finds by an index, in one row of each table: a plan made once is right for ever. Left to itself
/// Postgres makes most of them anew at each call, and reads tables whole that were small when it did.
const PLANS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
                     SET enable_mergejoin = off; SET jit = off";

#[derive(Debug, Clone)]
pub(super) struct Appender {
    options: Arc<PgConnectOptions>,
    idle: Arc<Mutex<Vec<PgConnection>>>,
    permits: Arc<Semaphore>,
}

impl Appender {
    pub(super) fn new(options: Arc<PgConnectOptions>) -> Self {
        Self { options, idle: Arc::default(), permits: Arc::new(Semaphore::new(MOST)) }
    }

    /// Runs one query on a connection that nobody else uses.
    pub(super) async fn run<T>(
        &self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let _permit = self.permits.acquire().await.map_err(|_closed| sqlx::Error::PoolClosed)?;
        let mut connection = match self.pop() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let outcome = query(&mut connection).await;
        match &outcome {
            Err(error) if is_lost(error) => self.lock().clear(), // All that are idle are likely to be lost as well.
            Ok(_) | Err(_) => self.lock().push(connection),
        }
        outcome
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = session::connect(&self.options).await?;
        session::say(&mut connection, PLANS).await?;
        Ok(connection)
    }

    fn pop(&self) -> Option<PgConnection> {
        self.lock().pop()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the connection is: the server did not answer, or did and then ended it, as one that is being stopped does.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(raised) => raised
            .try_downcast_ref::<PgDatabaseError>()
            .is_none_or(|raised| matches!(raised.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        _ => true,
    }
}
