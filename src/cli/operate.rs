//! An operator's commands about clusters.

use super::connect;
use super::out::tell;
use crate::domain::{Cluster, ClusterId, Command};
use crate::error_chain::chain;
use crate::service::Service;
use crate::service::execute::ExecuteError;
use crate::store::append::Meta;

/// Executes a command and wakes those who are to act on it.
pub(super) async fn execute(service: &Service, id: ClusterId, command: &Command) -> Result<Cluster, ExecuteError> {
    let cluster = record(service, id, command).await?;
    wake(service).await;
    Ok(cluster)
}

async fn record(service: &Service, id: ClusterId, command: &Command) -> Result<Cluster, ExecuteError> {
    Ok(service.execute(id, command, &Meta::by(connect::operator()), None).await?.cluster)
}

/// Those who act on the log look at it now and then anyhow: what was recorded stands without this.
pub(super) async fn wake(service: &Service) {
    if let Err(error) = service.store().notify().await {
        tracing::warn!(error = %chain(&error), "cannot wake the others; they will see it within a second");
    }
}

/// Executes a command on each of them, whatever became of the others, and tells how it went.
///
/// # Errors
/// When it was refused for any, with what could not be done.
pub(super) async fn execute_all(
    service: &Service,
    ids: &[ClusterId],
    command: &Command,
    done: impl Fn(&Cluster) -> String,
    what: &str,
) -> anyhow::Result<()> {
    let mut failed = 0;
    for &id in ids {
        match record(service, id, command).await {
            Ok(cluster) => tell!("{id} is {}", done(&cluster)),
            Err(error) => {
                failed += 1;
                tell!("{id}: {error}");
            }
        }
    }
    wake(service).await;
    anyhow::ensure!(failed == 0, "{failed} of {} could not be {what}", ids.len());
    Ok(())
}
