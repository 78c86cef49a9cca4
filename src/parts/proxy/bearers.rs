//! By whom the proxy's guests may be known: the tokens of programs, and whose cookies count no more, as the database has them.

use std::time::Duration;

use tokio::time::sleep;

use super::Endless;
use crate::error_chain::chain;
use crate::proxy::{Bearer, Doorman};
use crate::store::{Store, StoreError};

/// How often they are read: a token that is revoked opens nothing a moment later.
const LEARN: Duration = Duration::from_millis(500);

pub(super) async fn learn(store: &Store, doorman: &Doorman) -> Result<(), StoreError> {
    let tokens = store.valid_tokens().await?.into_iter().map(|token| {
        let bearer = token.bearer;
        (token.hash, Bearer { subject: bearer.subject, admin: bearer.admin, expires_at: token.expires_at })
    });
    doorman.learn(tokens.collect());
    doorman.forget(store.forgotten().await?.into_iter().collect());
    Ok(())
}

/// While the database is away the tokens known last count on: nobody can revoke one meanwhile. A proxy that has
/// started without it knows none, and lets in whoever needs none.
pub(super) async fn learn_on(store: &Store, doorman: Option<&Doorman>) -> Endless {
    let Some(doorman) = doorman else { return std::future::pending().await };
    loop {
        sleep(LEARN).await;
        if let Err(error) = learn(store, doorman).await {
            tracing::warn!(error = %chain(&error), "cannot read the tokens; those known count on");
        }
    }
}
