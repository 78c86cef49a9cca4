//! Everything on one machine: a Postgres of its own, API, worker with the local runtime, and proxy.

mod key;
mod lock;
mod postgres;
mod runtime;
mod user;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::runtime::start_runtime;
use crate::domain::Keyring;
use crate::parts::Base;
use crate::parts::api::{self, ApiConfig};
use crate::parts::proxy::{self, ProxyOptions};
use crate::parts::worker::WorkerOptions;
use crate::proxy::{Place as Address, ServerTls, Settings};
use crate::runtime::kubernetes::Tuning;

pub use key::load as load_key;
pub use postgres::url as database_url;

/// Enough for the parts of one process.
const CONNECTIONS: u32 = 32;
/// What requests and tunnels get to finish in: who pressed Ctrl-C waits for it.
const DRAIN: Duration = Duration::from_secs(5);

/// What `slipway up` was asked for.
#[derive(Debug, Clone)]
pub struct UpConfig {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// Another database than the embedded one.
    pub database_url: Option<String>,
    pub place: Place,
    pub settings: Settings,
    pub tls: Option<Arc<ServerTls>>,
    pub api: ApiConfig,
    pub worker: WorkerOptions,
}

/// Where clusters run.
#[derive(Debug, Clone)]
pub enum Place {
    /// As processes of this machine, which end with slipway and come back with it.
    Machine {
        /// A Python environment that is there already.
        stack: Option<PathBuf>,
        /// The user that clusters run as when slipway runs as root.
        clusters_as: String,
        worker_memory: String,
    },
    /// On Kubernetes, where they go on without slipway.
    Kubernetes(Box<kube::Config>, Tuning),
}

/// Where the address that people open is noted for the other commands.
pub fn address_file(data_dir: &Path) -> PathBuf {
    data_dir.join("address")
}

/// Brings everything up, serves until told to stop, and stops everything it started.
///
/// # Errors
/// When a part cannot be brought up, or fails while it serves. What was started is stopped then, too.
pub async fn up(config: UpConfig, say: impl Fn(&str) + Clone, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let data_dir = prepare_folder(&config.data_dir)?;
    let _lock = lock::take(&data_dir)?;
    // Before anything is started, so that a port in use costs nobody any time.
    let listener = named(listen(config.listen), config.listen, "--listen")?;
    let admin = bind(config.admin_listen, "--admin-listen").await?;
    let keyring = key::load_or_make(&data_dir)?;

    let database = match &config.database_url {
        Some(_) => None,
        None => Some(postgres::Embedded::start(&data_dir, &say).await?),
    };
    let outcome = serve(&config, &data_dir, keyring, listener, admin, &say, stop).await;
    if let Some(database) = database {
        say("stopping Postgres");
        database.stop().await?;
    }
    outcome
}

async fn serve(
    config: &UpConfig,
    data_dir: &Path,
    keyring: Keyring,
    listener: Address,
    admin: TcpListener,
    say: &(impl Fn(&str) + Clone),
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let url = config.database_url.clone().unwrap_or_else(|| postgres::url(data_dir));
    let base = Base::connect(&url, CONNECTIONS, true).await?;
    let Some(runtime) = start_runtime(config, data_dir, &keyring, say, stop.clone()).await? else {
        return Ok(());
    };

    // The API stands behind the proxy, as it does everywhere else.
    let inner = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "the API").await?;
    let options = ProxyOptions {
        fallback: Some(inner.local_addr()?),
        admin_token: None,
        keyring: Some(keyring.clone()),
        settings: Settings { drain: DRAIN, drain_tunnels: DRAIN, ..config.settings.clone() },
        tls: config.tls.clone(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        snapshot: Some(data_dir.join("routes.snapshot")),
        access_log: None,
    };
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", listener.address()?);
    std::fs::write(address_file(data_dir), &address).context("cannot note the address")?;
    say(&format!("routes at http://{}/api/routes", admin.local_addr()?));
    say(&format!("ready: open {address}   (Ctrl-C stops everything)"));

    let (stop_all, stopping) = watch::channel(false);
    let parts = async {
        tokio::try_join!(
            api::run(&base, keyring, config.api.clone(), inner, stopping.clone()),
            proxy::run(&base, options, listener, admin, stopping.clone()),
            runtime.work(&base, config.worker.clone(), stopping.clone()),
        )
    };
    let signalled = async {
        crate::shutdown::stopped(stop).await;
        say("stopping; what is launched comes back at the next start");
        stop_all.send_replace(true);
        std::future::pending::<()>().await
    };
    let outcome = tokio::select! {
        outcome = parts => outcome.map(|_| ()),
        () = signalled => Ok(()),
    };
    runtime.end(say).await?;
    outcome
}

fn prepare_folder(data_dir: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("cannot make the data folder {}", data_dir.display()))?;
    let data_dir = data_dir.canonicalize().context("cannot resolve the data folder")?;
    Ok(data_dir)
}

/// People open the address as soon as it is printed: they wait until the routes are loaded, and are not refused.
fn listen(address: SocketAddr) -> std::io::Result<Address> {
    let place = Address::bind(address, false)?;
    place.listen()?;
    Ok(place)
}

async fn bind(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    named(TcpListener::bind(address).await, address, what)
}

fn named<T>(bound: std::io::Result<T>, address: SocketAddr, what: &str) -> anyhow::Result<T> {
    match bound {
        Ok(bound) => Ok(bound),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{address} ({what}) is in use: stop what uses it, or choose another address")
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address} ({what})")),
    }
}
