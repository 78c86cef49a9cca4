//! Options that several commands and binaries share.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::profiles::ProfilesOptions;
use crate::domain::line::Throttle;
use crate::domain::profile::{MOST_MATERIALS, can_be_cloned};
use crate::domain::{Access, Cidr, Keyring, Limits, Profile, ProfileName, Repository, Shape, WorkerCount};
use crate::parts::api::ApiConfig;
use crate::parts::worker::WorkerOptions;
use crate::store::append::Caps;
use crate::up;

/// Where the installation keeps its state.
#[derive(Debug, Clone, Args)]
pub struct DatabaseOptions {
    /// Folder of everything that `slipway up` keeps [default: /var/lib/slipway for root, else ~/.local/share/slipway]
    #[arg(long, global = true, env = "SLIPWAY_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// PostgreSQL 13 or newer to use instead of the data folder's own, like postgres://user:password@host/name
    #[arg(long, global = true, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
}

impl DatabaseOptions {
    pub fn data_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.data_dir {
            return Ok(dir.clone());
        }
        if nix::unistd::geteuid().is_root() {
            return Ok("/var/lib/slipway".into());
        }
        let home = std::env::home_dir().context("there is no home folder: name a --data-dir")?;
        Ok(home.join(".local/share/slipway"))
    }

    pub fn url(&self) -> anyhow::Result<String> {
        match &self.database_url {
            Some(url) => Ok(url.clone()),
            None => Ok(up::database_url(&std::path::absolute(self.data_dir()?)?)),
        }
    }
}

/// The installation key, for binaries without a data folder.
#[derive(Debug, Clone, Args)]
pub struct KeyOptions {
    /// The installation key: at least 32 random bytes in hexadecimal, the same for all parts
    #[arg(long, env = "SLIPWAY_KEY", hide_env_values = true)]
    key: String,
}

impl From<String> for KeyOptions {
    fn from(key: String) -> Self {
        Self { key }
    }
}

impl KeyOptions {
    pub fn keyring(&self) -> anyhow::Result<Keyring> {
        Keyring::from_hex(&self.key).context("--key (SLIPWAY_KEY): make one with `openssl rand -hex 32`")
    }
}

/// What may be launched where there is no file of profiles.
#[derive(Debug, Clone, Args)]
pub struct ProfileOptions {
    /// Workers of a launch that does not say how many
    #[arg(long = "default-workers", env = "SLIPWAY_WORKERS", default_value = "2", value_name = "N")]
    default_workers: WorkerCount,
    /// The most workers that one cluster may have
    #[arg(long, env = "SLIPWAY_MAX_WORKERS", default_value = "16", value_name = "N")]
    max_workers: WorkerCount,
    /// Stop a cluster that nobody has used for so long; 0s: never
    #[arg(long, env = "SLIPWAY_IDLE_LIMIT", default_value = "1h", value_name = "TIME", value_parser = humantime::parse_duration)]
    idle_limit: Duration,
    /// Stop a cluster so long after its launch, used or not; 0s: never
    #[arg(long, env = "SLIPWAY_LIFETIME", default_value = "12h", value_name = "TIME", value_parser = humantime::parse_duration)]
    lifetime: Duration,
    /// Git repository that every launch clones unless it names its own, like https://host/course.git@2026; may be repeated
    #[arg(
        long = "default-materials",
        env = "SLIPWAY_MATERIALS",
        value_delimiter = ',',
        value_name = "REPOSITORY"
    )]
    default_materials: Vec<Repository>,
    /// Who may enter a cluster beside its owner, who can change it: owner (nobody), class (whoever is signed in), public (anybody)
    #[arg(long, env = "SLIPWAY_ACCESS", default_value_t, value_name = "WHO")]
    access: Access,
}

impl ProfileOptions {
    pub fn profile(&self) -> anyhow::Result<Profile> {
        anyhow::ensure!(
            self.default_workers <= self.max_workers,
            "--default-workers {} is more than --max-workers {}",
            self.default_workers,
            self.max_workers
        );
        anyhow::ensure!(
            can_be_cloned(&self.default_materials),
            "--default-materials: at most {MOST_MATERIALS} repositories can be cloned, each into a folder of its own"
        );
        let name: ProfileName = "default".parse()?;
        Ok(Profile {
            name,
            title: "Jupyter and Dask".to_owned(),
            description: "A notebook server with a Dask scheduler and workers of your own".to_owned(),
            workers: self.default_workers,
            materials: self.default_materials.clone(),
            limits: Limits {
                workers: self.max_workers,
                idle_seconds: seconds(self.idle_limit, "--idle-limit")?,
                lifetime_seconds: seconds(self.lifetime, "--lifetime")?,
            },
            access: self.access,
            shape: Shape::default(),
            pool: None,
        })
    }
}

fn seconds(duration: Duration, option: &str) -> anyhow::Result<u32> {
    u32::try_from(duration.as_secs()).with_context(|| format!("{option} is longer than a century"))
}

/// What may be launched, and how much: the same for the API and for workers, who keep some of it ready.
#[derive(Debug, Clone, Args)]
pub struct OfferOptions {
    #[command(flatten)]
    profiles: ProfilesOptions,
    /// The most workers of all clusters together, those that are kept ready among them
    #[arg(long, env = "SLIPWAY_TOTAL_WORKERS", default_value = "200", value_name = "N")]
    total_workers: u32,
}

/// What the API offers, and to whom.
#[derive(Debug, Clone, Args)]
pub struct ApiOptions {
    #[command(flatten)]
    offer: OfferOptions,
    /// Asked of every browser before its first launch
    #[arg(long, env = "SLIPWAY_ACCESS_CODE", hide_env_values = true, value_name = "CODE")]
    access_code: Option<String>,
    /// The most clusters that one owner may have at a time
    #[arg(long, env = "SLIPWAY_CLUSTERS_PER_OWNER", default_value = "2", value_name = "N")]
    clusters_per_owner: u16,
    /// Know for so long from which address launches, scalings and stops came; 0s: never
    #[arg(long, env = "SLIPWAY_KEEP_ADDRESSES", default_value = "30d", value_name = "TIME", value_parser = humantime::parse_duration)]
    keep_addresses: Duration,
}

impl ApiOptions {
    pub fn offer(&self) -> &OfferOptions {
        &self.offer
    }

    /// With those whose word counts on where a request comes from, and an address for those who watch over it.
    pub fn config(&self, trusted: Vec<Cidr>, health_listen: Option<SocketAddr>) -> anyhow::Result<ApiConfig> {
        let access_code = self.access_code.as_deref().map(str::trim).map(str::to_owned);
        anyhow::ensure!(access_code.as_deref() != Some(""), "--access-code is empty: leave it out for none");
        Ok(ApiConfig {
            profiles: self.offer.profiles.load()?,
            caps: Caps { clusters_per_owner: self.clusters_per_owner, total_workers: self.offer.total_workers },
            access_code,
            health_listen,
            trusted,
            keep_addresses: self.keep_addresses,
        })
    }
}

/// How the worker works.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    /// The most launches under way at a time, over all workers; the others wait in line; 0: any number
    #[arg(long, env = "SLIPWAY_LAUNCHES_AT_ONCE", default_value = "50", value_name = "N")]
    launches_at_once: u32,
    /// The most launches that begin in a second, over all workers, such as 20 or 0.5; 0: any number
    #[arg(long, env = "SLIPWAY_LAUNCH_RATE", default_value = "20", value_name = "R", value_parser = rate)]
    launch_rate: f64,
    /// A launch that is not ready so long after it was let in has failed
    #[arg(long, env = "SLIPWAY_LAUNCH_WITHIN", default_value = "5m", value_name = "TIME", value_parser = humantime::parse_duration)]
    launch_within: Duration,
    /// How often idle clusters are looked for
    #[arg(long, env = "SLIPWAY_KEEP_EVERY", default_value = "10s", value_name = "TIME", value_parser = humantime::parse_duration)]
    keep_every: Duration,
    /// So long after a worker died, the others take over what it was at
    #[arg(long, env = "SLIPWAY_LEASE", default_value = "30s", value_name = "TIME", value_parser = humantime::parse_duration)]
    lease: Duration,
    /// Address of /healthz and /metrics, for those who watch over it [default: none]
    #[arg(long, env = "SLIPWAY_HEALTH_LISTEN", value_name = "ADDRESS")]
    health_listen: Option<SocketAddr>,
}

impl WorkerArgs {
    /// With nothing that is kept ready.
    pub fn options(&self) -> WorkerOptions {
        WorkerOptions {
            throttle: Throttle { at_once: self.launches_at_once, per_second: self.launch_rate },
            launch_within: self.launch_within,
            keep_every: self.keep_every.max(Duration::from_millis(100)),
            health_listen: self.health_listen,
            lease: self.lease.max(Duration::from_secs(1)),
            ..WorkerOptions::default()
        }
    }

    /// With what is on offer, some of which may be kept ready.
    ///
    /// # Errors
    /// When the profiles make no sense.
    pub fn offering(&self, offer: &OfferOptions) -> anyhow::Result<WorkerOptions> {
        let (profiles, total_workers) = (offer.profiles.load()?, offer.total_workers);
        Ok(WorkerOptions { profiles, total_workers, ..self.options() })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| *rate == 0.0 || (0.01..=10_000.0).contains(rate));
    rate.ok_or_else(|| "write launches a second from 0.01 to 10000, or 0 for any number".to_owned())
}

/// Logs to standard error. RUST_LOG chooses what; SLIPWAY's own from `info` on is the default.
pub fn start_logging(json: bool, default: &str) {
    // warp calls every browser that leaves in the middle of an answer an error.
    let default = format!("{default},warp::server=off");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours would be noise in a file.
    let logging = logging.with_ansi(std::io::stderr().is_terminal());
    // What cannot be written to standard error cannot be told there either.
    let logging = logging.log_internal_errors(false).with_span_events(FmtSpan::CLOSE);
    if json {
        logging.json().init();
    } else {
        logging.with_target(false).init();
    }
}
