//! A proxy, kept up to date from the log, whose activity goes back to the database.

mod activity;
mod bearers;
mod lag;
mod snapshot;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use self::activity::Uses;
use self::snapshot::{Keeper, Snapshot};
use super::Base;
use crate::domain::Keyring;
use crate::error_chain::chain;
use crate::proxy::{AccessLog, Doorman, Phase, Place, Proxy, ServerTls, Settings, serve_admin, serve_on_threads};
use crate::service::patience::{Patience, is_away, is_changing};
use crate::service::routes::Router;
use crate::shutdown::stopped;
use crate::store::{Store, StoreError};

/// A database that has not answered by then is away, as far as a start is concerned.
const SOON: Duration = Duration::from_secs(2);
/// How often certificate and key are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// What the last activity gets to be written down in.
const LAST: Duration = Duration::from_secs(2);

/// What the proxy serves beside clusters, and how.
#[derive(Debug)]
pub struct ProxyOptions {
    /// Where requests go that no cluster's route matches: the API.
    pub fallback: Option<SocketAddr>,
    /// Asked of those who read the routes.
    pub admin_token: Option<String>,
    /// By which visitors are known. Without one every route is open to all.
    pub keyring: Option<Keyring>,
    pub settings: Settings,
    pub tls: Option<Arc<ServerTls>>,
    /// Threads that serve, at least one.
    pub threads: usize,
    /// Where the routes are kept for a start without the database.
    pub snapshot: Option<PathBuf>,
    pub access_log: Option<AccessLog>,
}

/// Loads the routes, then serves until told to stop and the requests under way are answered. Whether it does can be
/// asked at the admin address from the start.
///
/// # Errors
/// When it cannot listen, or the log has what this build cannot read.
pub async fn run(
    base: &Base,
    options: ProxyOptions,
    place: Place,
    admin: TcpListener,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let ProxyOptions { fallback, admin_token, keyring, settings, tls, threads, snapshot, access_log } = options;
    let doorman = keyring.map(|keyring| Arc::new(Doorman::new(keyring)));
    let proxy = Arc::new(Proxy { doorman, settings, tls, access_log, ..Proxy::new(Arc::default(), fallback) });
    let (end, ended) = watch::channel(false);
    let serving = async {
        let outcome = serve_routes(base, &proxy, threads, snapshot, place, stop).await;
        end.send_replace(true);
        outcome
    };
    let answering = serve_admin(admin, Arc::clone(&proxy), admin_token, stopped(ended));
    let (outcome, ()) = tokio::join!(serving, answering);
    outcome
}

async fn serve_routes(
    base: &Base,
    proxy: &Arc<Proxy>,
    threads: usize,
    snapshot: Option<PathBuf>,
    place: Place,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let store = &base.store;
    let router = Router::default();
    let uses = Uses::new(store, &router, &proxy.routes, &proxy.standing);
    let loaded = tokio::select! {
        loaded = load(store, &router, proxy, &uses, snapshot.clone()) => loaded?,
        () = stopped(stop.clone()) => return Ok(()),
    };
    let keeper = Keeper::new(snapshot, &router, proxy, &uses);
    let listener = place.into_listener().context("cannot listen")?;
    proxy.standing.enter(Phase::Serving);
    tracing::info!(routes = proxy.routes.len(), "the proxy has its routes and serves");

    let apply = |changes| proxy.routes.apply(changes);
    let reached = || proxy.standing.log_read(proxy.clock.now_ms());
    let following = router.follow(store, base.bell.clone(), loaded, apply, reached);
    let certificates = async {
        match &proxy.tls {
            Some(tls) => tls.follow(LOOK).await,
            None => std::future::pending().await,
        }
    };
    let draining = async {
        stopped(stop.clone()).await;
        proxy.standing.enter(Phase::Draining);
        tracing::info!("stopping: what is under way is finished");
        Ok(())
    };
    let serving = async {
        tokio::try_join!(serve_on_threads(threads, listener, Arc::clone(proxy), stop.clone()), draining)
            .context("the proxy cannot serve")
    };
    tokio::select! {
        served = serving => { served?; }
        outcome = following => return outcome.context("the proxy cannot follow the log"),
        never = uses.keep() => match never {},
        never = keeper.keep() => match never {},
        never = lag::watch(store, &router, proxy) => match never {},
        never = bearers::learn_on(store, proxy.doorman.as_deref()) => match never {},
        () = certificates => anyhow::bail!("the certificate is no longer followed"),
    }
    if timeout(LAST, uses.flush()).await.is_err() {
        tracing::warn!("the database does not take the last activity");
    }
    keeper.write().await;
    let log = Arc::clone(proxy);
    let flushed = tokio::task::spawn_blocking(move || log.access_log.as_ref().map(AccessLog::flush));
    flushed.await.context("the access log's end was not written")?;
    Ok(())
}

/// Fills the table from the log if the database answers soon, else from the snapshot, else from the log as soon as the
/// database answers. True if it is that of the log.
async fn load(
    store: &Store,
    router: &Router,
    proxy: &Proxy,
    uses: &Uses<'_>,
    path: Option<PathBuf>,
) -> anyhow::Result<bool> {
    let kept = match path {
        Some(path) => Snapshot::read(path).await.unwrap_or_else(|error| {
            tracing::error!("{error:#}; it is not used, the routes are read from the database");
            None
        }),
        None => None,
    };
    let why = match timeout(SOON, from_log(store, router, proxy, uses)).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) if is_changing(&error) => Some(Some(error)),
        Ok(Err(fatal)) => return Err(fatal).context("cannot read the routes from the log"),
        Err(_elapsed) => Some(None),
    };
    let from_snapshot = kept.map(|kept| (kept.take_up(router, proxy, uses, why.is_some()), kept.written_at));
    let Some(error) = why else {
        return Ok(true);
    };
    let told = error.as_ref().map_or_else(|| "it does not answer".to_owned(), |error| chain(error).to_string());
    match (from_snapshot, error) {
        (Some((position, written)), _) => {
            tracing::warn!(
                database = told, %position, %written, routes = proxy.routes.len(),
                "the database is away: serving the routes of the snapshot, and trying again"
            );
            Ok(false)
        }
        (None, Some(error @ (StoreError::Schema { .. } | StoreError::Denied { .. }))) => Err(error.into()),
        (None, _) => {
            tracing::warn!(database = told, "the database is away and there is no snapshot: waiting for it");
            let mut patience = Patience::to("read the routes yet");
            loop {
                match from_log(store, router, proxy, uses).await {
                    Err(error) if is_away(&error) => patience.wait(&error).await,
                    outcome => return outcome.context("cannot read the routes from the log").map(|()| true),
                }
            }
        }
    }
}

async fn from_log(store: &Store, router: &Router, proxy: &Proxy, uses: &Uses<'_>) -> Result<(), StoreError> {
    router.load(store, |changes| proxy.routes.apply(changes)).await?;
    if let Some(doorman) = &proxy.doorman {
        bearers::learn(store, doorman).await?;
    }
    uses.learn().await
}

/// What never ends by itself.
type Endless = Infallible;
