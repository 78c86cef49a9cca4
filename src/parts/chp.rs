//! The drop-in for configurable-http-proxy, with its routes in memory.

use tokio::sync::watch;

use crate::chp::{Bound, Plan};

/// Serves until told to stop.
///
/// # Errors
/// When something cannot be opened or served.
pub async fn run(plan: Plan, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    anyhow::ensure!(plan.database.is_none(), "--database-url (DATABASE_URL) is not served yet: unset it");
    Bound::new(plan, None).await?.serve(stop).await
}
