//! The route table of the log, as changes for a proxy.

use tokio::sync::{mpsc, oneshot, watch};

use super::follow::Follower;
use crate::domain::{RouteChange, RouteTable};
use crate::store::clusters::Routed;
use crate::store::{Store, StoreError};

/// Sends all routes there are, rings `loaded`, then sends every change as it is recorded.
/// Runs until it is dropped or nobody listens.
///
/// # Errors
/// When the routes cannot be read at the start, or an event cannot be read at any time.
pub async fn routes(
    store: &Store,
    bell: watch::Receiver<()>,
    changes: mpsc::Sender<RouteChange>,
    loaded: oneshot::Sender<()>,
) -> Result<(), StoreError> {
    let mut table = RouteTable::default();
    let (routed, position) = store.routed().await?;
    for cluster in routed {
        let Routed { id, version, endpoint, door, since } = cluster;
        for change in table.start_at(id, version, endpoint.as_ref(), door, since) {
            if changes.send(change).await.is_err() {
                return Ok(());
            }
        }
    }
    let _ = loaded.send(());
    let mut log = Follower::new(store, bell, position);
    loop {
        for recorded in log.next().await? {
            for change in table.apply(recorded.cluster, recorded.version, &recorded.event, recorded.recorded_at) {
                if changes.send(change).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
