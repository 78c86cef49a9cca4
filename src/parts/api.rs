//! The API and the page.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Base, listen};
use crate::clock::Clock;
use crate::domain::{Keyring, Profile};
use crate::http::{AccessCode, Api, serve, serve_health};
use crate::service::Service;
use crate::service::feed::Feed;
use crate::service::line::SharedLine;
use crate::shutdown::stopped;
use crate::store::events::Caps;

/// What the API offers, and to whom.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    pub profiles: Vec<Profile>,
    pub caps: Caps,
    pub access_code: Option<String>,
    /// Where to answer whether it is alive and what it counts, if anywhere: not where everybody comes by.
    pub health_listen: Option<SocketAddr>,
}

/// Serves until told to stop.
///
/// # Errors
/// When an event of the log cannot be read.
pub async fn run(
    base: &Base,
    keyring: Keyring,
    config: ApiConfig,
    listener: TcpListener,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let feed = Feed::default();
    let service = Service::new(base.store.clone(), config.caps).counting(Arc::clone(&base.meters));
    let health = match config.health_listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let health = {
        let (service, stop) = (service.clone(), stop.clone());
        async move {
            if let Some(listener) = health {
                serve_health(listener, || true, service, stopped(stop)).await;
            }
        }
    };
    let api = Arc::new(Api {
        service,
        feed: feed.clone(),
        line: SharedLine::new(base.store.clone()),
        keyring,
        profiles: config.profiles,
        access_code: config.access_code.map(AccessCode::new),
        clock: Clock::system(),
        stop,
    });
    tokio::select! {
        ((), ()) = async { tokio::join!(serve(listener, api), health) } => Ok(()),
        Err(error) = feed.run(&base.store, base.bell.clone()) => Err(error).context("the API cannot follow the log"),
    }
}
