//! `slipway-api`: the API and the page, for installations of several processes.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use slipway::cli::{ApiOptions, DatabaseOptions, KeyOptions, end, start_logging};
use slipway::domain::Cidr;
use slipway::parts::{Base, api};
use slipway::shutdown;
use tokio::net::TcpListener;

/// Serves the API and the page. Put slipway-proxy before it, which serves the clusters as well.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[arg(long, env = "SLIPWAY_LISTEN", default_value = "127.0.0.1:8002")]
    listen: SocketAddr,
    /// slipway's proxies and what stands in front of them: those whose X-Forwarded-For tells where a launch comes from
    #[arg(
        long = "trusted-proxy",
        env = "SLIPWAY_TRUSTED_PROXY",
        value_name = "NETWORK",
        value_delimiter = ',',
        default_value = "127.0.0.0/8,::1"
    )]
    trusted: Vec<Cidr>,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    api: ApiOptions,
    /// Address of /healthz and /metrics, for those who watch over it [default: none]
    #[arg(long, env = "SLIPWAY_HEALTH_LISTEN", value_name = "ADDRESS")]
    health_listen: Option<SocketAddr>,
}

#[tokio::main]
async fn main() -> ExitCode {
    end("slipway-api", run(Options::parse()).await)
}

async fn run(options: Options) -> anyhow::Result<()> {
    start_logging(true, "warn,slipway=info");
    let keyring = options.key.keyring()?;
    let config = options.api.config(options.trusted, options.health_listen)?;
    let stop = shutdown::on_signal()?;
    let listener = TcpListener::bind(options.listen).await?;
    let base = Base::connect(&options.database.url()?, 32, false).await?;
    tracing::info!(address = %listener.local_addr()?, "serving");
    api::run(&base, keyring, config, listener, stop).await
}
