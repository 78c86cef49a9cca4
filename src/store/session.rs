//! What slipway needs of a connection: a session of its own, for as long as it lasts.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};
use tokio::time::timeout;

use super::{Store, StoreError};

/// An open write transaction anywhere in the server holds up every reader of the log, hence the limits.
/// The search path is set because the default one begins with the user's own schema: for a user who is called
/// slipway, sqlx would keep its record of migrations in there, and not find the one in public.
///
/// By SET, as poolers drop or refuse them among the startup parameters.
const SETTINGS: &str = "SET search_path = public; SET idle_in_transaction_session_timeout = '5s'; \
                        SET statement_timeout = '60s'; SET lock_timeout = '10s'";

/// Whoever writes is let in to a primary only, and each new connection looks whether it is where the log was written before: one that was
/// promoted has no older connections then. Auditors may read a standby.
const ENTER: &str = "DO $$ BEGIN
    IF has_function_privilege(to_regprocedure('slipway.enter()'), 'EXECUTE') THEN
        IF pg_is_in_recovery() THEN
            RAISE EXCEPTION 'this server is a standby' USING ERRCODE = 'SW503';
        END IF;
        PERFORM slipway.enter();
    END IF;
END $$";

/// A pooler makes whoever finds all of its connections taken wait: then there are too few for slipway as well.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that was used a moment ago is not asked whether it is alive.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// How a connection of slipway's is made.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options: PgConnectOptions = url.parse().map_err(StoreError::database("read the database address"))?;
    // Since PostgreSQL 12 the default is as exact, and PgBouncer refuses a connection that asks for more.
    Ok(options.application_name("slipway").extra_float_digits(None))
}

pub(super) async fn connect(options: &Arc<PgConnectOptions>) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    settle(&mut connection).await?;
    Ok(connection)
}

pub(super) async fn settle(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    say(connection, SETTINGS).await?;
    say(connection, ENTER).await
}

impl Store {
    /// Insists on a primary, unless this role may only read, and that each connection has a session of its own. A pooler that
    /// lends one for the length of a transaction loses notifications, prepared statements and settings, and that shows late and in odd
    /// places.
    ///
    /// # Errors
    /// [`StoreError::Standby`]; [`StoreError::Pooled`] when two connections were seen to share one; when the database does not answer.
    pub async fn check_sessions(&self) -> Result<(), StoreError> {
        let doing = || StoreError::database("look whether connections have sessions of their own");
        let options = self.pool.connect_options();
        let seen = timeout(PATIENCE, are_shared(&options)).await;
        let shared = seen.map_err(|_elapsed| sqlx::Error::PoolTimedOut).and_then(|seen| seen).map_err(doing())?;
        if shared { Err(StoreError::Pooled) } else { Ok(()) }
    }
}

/// A pooler lends what was given back last, or what was given back first: so they are given back in either order.
async fn are_shared(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut two = [PgConnection::connect_with(options).await?, PgConnection::connect_with(options).await?];
    // Said here, as the pool tells nobody why a connection of its own was refused.
    say(&mut two[0], ENTER).await?;
    let mut first = None;
    let mut shared = false;
    for order in [[0, 1], [1, 0]] {
        for connection in &mut two {
            say(connection, "BEGIN").await?;
        }
        for which in order {
            say(&mut two[which], "COMMIT").await?;
        }
        let seen = [process(&mut two[0]).await?, process(&mut two[1]).await?];
        shared |= seen[0] == seen[1] || *first.get_or_insert_with(|| seen.clone()) != seen;
    }
    for connection in two {
        connection.close().await?;
    }
    Ok(shared)
}

/// Prepares no statement, as that would be the session's.
pub(super) async fn say(connection: &mut PgConnection, what: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(what).execute(connection).await.map(drop)
}

/// The server's process behind a connection.
async fn process(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::raw_sql("SELECT pg_backend_pid()::text").fetch_one(connection).await?.try_get(0)
}
