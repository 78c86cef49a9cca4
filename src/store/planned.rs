//! Connections on which each statement is planned once, for what is asked most: appends, what readers of the log have not seen, and taking and
//! finishing work.
//!
//! The pool asks a connection whether it is alive when it is given back: two round trips for what is one. Here a connection is given back
//! only by a call that ended, so there is nothing to ask; one that broke, or whose call was dropped half-way, is closed.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};
use sqlx::{Connection, PgConnection};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::session;

/// All that is looked for here is found by an index, in its order: a plan made once is right for ever. Left to itself Postgres makes most
/// of them anew at each call, for each partition of the log, and reads and sorts tables whole that were small when it did.
const PLANS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_sort = off; \
                     SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

#[derive(Debug, Clone)]
pub(super) struct Planned {
    options: Arc<PgConnectOptions>,
    idle: Arc<Mutex<Vec<Idle>>>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl Planned {
    /// At most `most` connections, made when there is need of them.
    pub(super) fn new(options: Arc<PgConnectOptions>, most: usize) -> Self {
        Self { options, idle: Arc::default(), permits: Arc::new(Semaphore::new(most)) }
    }

    /// Runs one query on a connection that nobody else uses.
    pub(super) async fn run<T>(
        &self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let _permit = self.permits.acquire().await.map_err(|_closed| sqlx::Error::PoolClosed)?;
        let mut connection = match self.awake().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let outcome = query(&mut connection).await;
        match &outcome {
            Err(error) if is_lost(error) => self.lock().clear(), // All that are idle are likely to be lost as well.
            Ok(_) | Err(_) => self.lock().push(Idle { connection, since: Instant::now() }),
        }
        outcome
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let making = async {
            let mut connection = session::connect(&self.options).await?;
            session::say(&mut connection, PLANS).await?;
            Ok(connection)
        };
        timeout(session::PATIENCE, making).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// One that is idle, and alive for all that can be known.
    async fn awake(&self) -> Option<PgConnection> {
        let Idle { mut connection, since } = self.lock().pop()?;
        if since.elapsed() < session::FRESH
            || matches!(timeout(session::PATIENCE, connection.ping()).await, Ok(Ok(())))
        {
            return Some(connection);
        }
        self.lock().clear();
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the connection is: the server did not answer, or did and then ended it, as one that is being stopped does.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(raised) => raised
            .try_downcast_ref::<PgDatabaseError>()
            .is_none_or(|raised| matches!(raised.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        _ => true,
    }
}
