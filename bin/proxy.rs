//! `slipway-proxy`: the way to every cluster, for installations of several processes.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use slipway::cli::{DatabaseOptions, FrontArgs, KeyOptions, end, start_logging};
use slipway::parts::Base;
use slipway::parts::proxy::{self, ProxyOptions};
use slipway::shutdown;
use tokio::net::{TcpListener, lookup_host};

/// Serves every cluster under its path, and what lies elsewhere from the API.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[arg(long, env = "SLIPWAY_LISTEN", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Address of the route listing; for operators only
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
    let keyring = Some(options.key.keyring()?);
    let stop = shutdown::on_signal()?;
    let listener = TcpListener::bind(options.listen).await?;
    let admin = TcpListener::bind(options.admin_listen).await?;
    let base = Base::connect(&options.database.url()?, 8, false).await?;
    let fallback = match &options.api {
        Some(api) => lookup_host(api).await.with_context(|| format!("cannot find --api {api}"))?.next(),
        None => None,
    };
    let (settings, tls) = (options.front.settings(), options.front.tls()?);
    let how = ProxyOptions { fallback, admin_token: options.admin_token, keyring, settings, tls };
    proxy::run(&base, how, listener, admin, stop).await
}
