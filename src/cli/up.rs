//! `slipway up`

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::front::FrontArgs;
use super::kubernetes::KubernetesOptions;
use super::options::{ApiOptions, DatabaseOptions, WorkerArgs, start_logging};
use crate::domain::Cidr;
use crate::shutdown;
use crate::up::{Place, UpConfig, up};

/// Runs everything on this machine until Ctrl-C, which stops everything it started. Started again,
/// it brings everything back.
///
/// Each cluster is a notebook server, a Dask scheduler and workers, as processes of this machine; students can
/// run any program on it as the user that clusters run as. Listen beyond 127.0.0.1 only where you trust them.
#[derive(Debug, Args)]
pub(super) struct Up {
    /// Address of the page, the API and the clusters
    #[arg(long, env = "SLIPWAY_LISTEN", default_value = "127.0.0.1:8000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Address of the route listing; for operators only
    #[arg(long, env = "SLIPWAY_ADMIN_LISTEN", default_value = "127.0.0.1:8001", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    #[command(flatten)]
    front: FrontArgs,
    #[command(flatten)]
    api: ApiOptions,
    /// Python environment with the notebook stack; made in the data folder if absent
    #[arg(long, env = "SLIPWAY_STACK", value_name = "DIR")]
    stack: Option<PathBuf>,
    /// User that clusters run as, where slipway runs as root
    #[arg(long, env = "SLIPWAY_CLUSTERS_AS", default_value = "nobody", value_name = "USER")]
    clusters_as: String,
    /// Memory of one worker
    #[arg(long, env = "SLIPWAY_WORKER_MEMORY", default_value = "2GiB", value_name = "SIZE")]
    worker_memory: String,
    #[command(flatten)]
    worker: WorkerArgs,
    /// Run clusters on Kubernetes instead of as processes of this machine
    #[arg(long, env = "SLIPWAY_KUBERNETES")]
    kubernetes: bool,
    #[command(flatten)]
    on: KubernetesOptions,
    /// Log in JSON
    #[arg(long, env = "SLIPWAY_LOG_JSON")]
    log_json: bool,
}

impl Up {
    pub(super) async fn run(self, database: DatabaseOptions) -> anyhow::Result<()> {
        start_logging(self.log_json, "warn,slipway=info");
        let stop = shutdown::on_signal()?;
        let place = if self.kubernetes {
            let (connection, tuning) = self.on.find().await?;
            Place::Kubernetes(Box::new(connection), tuning)
        } else {
            Place::Machine { stack: self.stack, clusters_as: self.clusters_as, worker_memory: self.worker_memory }
        };
        let settings = self.front.settings();
        // The API hears from the proxy of this process only.
        let trusted = settings.trusted.iter().copied().chain([Cidr::one(Ipv4Addr::LOCALHOST.into())]).collect();
        let api = self.api.config(trusted, None)?;
        let worker = self.worker.offering(self.api.offer())?;
        let config = UpConfig {
            data_dir: database.data_dir()?,
            listen: self.listen,
            admin_listen: self.admin_listen,
            database_url: database.database_url,
            settings,
            tls: self.front.tls()?,
            place,
            api,
            worker,
        };
        // Its clusters go on, whether or not anybody reads this.
        let say = |line: &str| drop(writeln!(std::io::stdout().lock(), "slipway: {line}"));
        up(config, say, stop).await
    }
}
