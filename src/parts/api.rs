//! The API and the page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Base, watched};
use crate::clock::Clock;
use crate::domain::{Cidr, Keyring, Profile};
use crate::http::{AccessCode, Api, Origins, serve};
use crate::service::Service;
use crate::service::feed::Feed;
use crate::service::line::SharedLine;
use crate::service::people::{self, Forgotten};
use crate::store::append::Caps;

/// What the API offers, and to whom.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    pub profiles: Vec<Profile>,
    pub caps: Caps,
    pub access_code: Option<String>,
    /// Where to answer whether it is alive and what it counts, if anywhere: not where everybody comes by.
    pub health_listen: Option<SocketAddr>,
    /// Those whose word counts on where a request comes from.
    pub trusted: Vec<Cidr>,
    /// How long that is kept; not at all for zero.
    pub keep_addresses: Duration,
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
    let service = Service::new(base.store.clone(), config.caps).counting(Arc::clone(&base.meters));
    let (feed, forgotten) = (Feed::default(), Forgotten::default());
    let health = watched(config.health_listen, service.clone(), Some(feed.clone()), stop.clone(), || true).await?;
    let keep = config.keep_addresses;
    forgotten.learn(&base.store).await.context("cannot read who was forgotten")?;
    let api = Arc::new(Api {
        service,
        feed: feed.clone(),
        line: SharedLine::new(base.store.clone()),
        keyring,
        profiles: config.profiles,
        access_code: config.access_code.map(AccessCode::new),
        origins: Origins { trusted: config.trusted, kept: !keep.is_zero() },
        forgotten: forgotten.clone(),
        clock: Clock::system(),
        stop,
    });
    tokio::select! {
        ((), ()) = async { tokio::join!(serve(listener, api), health) } => Ok(()),
        Err(error) = feed.run(&base.store, base.bell.clone()) => Err(error).context("the API cannot follow the log"),
        never = forgotten.learn_on(&base.store) => match never {},
        never = people::prune_on(&base.store, keep) => match never {},
    }
}
