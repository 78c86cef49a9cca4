//! The parts that run for long: API, worker and proxy. `slipway up` runs one of each in one process,
//! the other binaries one each; they meet in the database only.

pub mod api;
pub mod chp;
pub mod proxy;
mod unwritten;
pub mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::http::serve_health;
use crate::service::Service;
use crate::service::feed::Feed;
use crate::service::meters::Meters;
use crate::shutdown::stopped;
use crate::store::{Store, StoreError, listen};

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Listens for those who watch over a part, if there is an address for them. To be awaited beside the part's work: it
/// answers them until told to stop.
async fn watched(
    address: Option<SocketAddr>,
    service: Service,
    feed: Option<Feed>,
    stop: watch::Receiver<bool>,
    is_alive: impl Fn() -> bool + Clone + Send + Sync + 'static,
) -> anyhow::Result<impl Future<Output = ()>> {
    let listener = match address {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    Ok(async {
        if let Some(listener) = listener {
            serve_health(listener, is_alive, service, feed, stopped(stop)).await;
        }
    })
}

/// A connection to the database with its wake-ups, shared by the parts of one process.
pub struct Base {
    pub store: Store,
    /// Rings when the log may have grown.
    pub bell: watch::Receiver<()>,
    /// What all parts of this process do.
    pub meters: Arc<Meters>,
    /// The wake-ups end with their owner.
    _tasks: JoinSet<()>,
}

impl Base {
    /// Connects; brings the schema up to date if `migrate`, else insists that it is. The database may have been restored.
    ///
    /// # Errors
    /// When the database does not answer or its schema is another build's.
    pub async fn connect(url: &str, connections: u32, migrate: bool) -> Result<Self, StoreError> {
        let store = Store::connect(url, connections).await?;
        if migrate {
            store.migrate().await?;
        } else {
            store.open().await?;
        }
        Ok(Self::over(store))
    }

    /// Over a database that may be away.
    ///
    /// # Errors
    /// When the address is not one.
    pub fn lazily(url: &str, connections: u32) -> Result<Self, StoreError> {
        Ok(Self::over(Store::to(url, connections)?))
    }

    /// Over a store that is ready.
    pub fn over(store: Store) -> Self {
        let (ring, bell) = watch::channel(());
        let mut tasks = JoinSet::new();
        tasks.spawn(listen::announce(store.clone()));
        tasks.spawn(listen::listen(store.clone(), ring));
        Self { store, bell, meters: Arc::default(), _tasks: tasks }
    }
}
