//! `slipway-proxy`: the way to every cluster, for installations of several processes.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use slipway::cli::{DatabaseOptions, FrontArgs, KeyOptions, ProxyArgs, end, start_logging};
use slipway::parts::{self, Base, proxy::ProxyOptions};
use slipway::proxy::Place;
use slipway::shutdown;
use tokio::net::{TcpListener, lookup_host};

/// Serves every cluster under its path, and what lies elsewhere from the API.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[arg(long, env = "SLIPWAY_LISTEN", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Address of route listing, metrics and probes; for operators only
    #[arg(long, env = "SLIPWAY_ADMIN_LISTEN", default_value = "127.0.0.1:8001")]
    admin_listen: SocketAddr,
    /// Asked of those who read the route listing
    #[arg(long, env = "SLIPWAY_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// Where slipway-api listens, as address or name with a port; a name is looked up once
    #[arg(long, env = "SLIPWAY_API", value_name = "HOST:PORT")]
    api: Option<String>,
    #[command(flatten)]
    front: FrontArgs,
    #[command(flatten)]
    proxy: ProxyArgs,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    key: KeyOptions,
}

#[tokio::main]
async fn main() -> ExitCode {
    end("slipway-proxy", run(Options::parse()).await)
}

async fn run(options: Options) -> anyhow::Result<()> {
    start_logging(true, "warn,slipway=info");
    let stop = shutdown::on_signal()?;
    let Options { listen, admin_listen, admin_token, api, front, proxy, database, key } = options;
    let place =
        Place::bind(listen, proxy.reuse_port).with_context(|| format!("cannot listen on {listen} (--listen)"))?;
    let admin = TcpListener::bind(admin_listen).await;
    let admin = admin.with_context(|| format!("cannot listen on {admin_listen} (--admin-listen)"))?;
    let base = Base::lazily(&database.url()?, 8)?;
    let fallback = match &api {
        Some(api) => lookup_host(api).await.with_context(|| format!("cannot find --api {api}"))?.next(),
        None => None,
    };
    let keyring = Some(key.keyring()?);
    let how = ProxyOptions { keyring, ..proxy.options(front.settings(), front.tls()?, fallback, admin_token)? };
    parts::proxy::run(&base, how, place, admin, stop).await
}
