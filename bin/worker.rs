//! `slipway-worker`: makes clusters what the log asks for, for installations of several processes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use slipway::cli::{DatabaseOptions, KeyOptions, end, start_logging};
use slipway::parts::Base;
use slipway::parts::worker::{self, WorkerOptions};
use slipway::runtime::local::{LocalConfig, LocalRuntime, passed_on};
use slipway::shutdown;

/// Runs clusters as processes of this machine, in the folder `clusters` of the data folder.
///
/// They outlive this program: the next one takes them over.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    key: KeyOptions,
    /// Python environment with the notebook stack
    #[arg(long, env = "SLIPWAY_STACK", value_name = "DIR")]
    stack: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    end("slipway-worker", run(Options::parse()).await)
}

async fn run(options: Options) -> anyhow::Result<()> {
    start_logging(true, "warn,slipway=info");
    let stop = shutdown::on_signal()?;
    let clusters = options.database.data_dir()?.join("clusters");
    let mut local = LocalConfig::new(clusters, options.stack, options.key.keyring()?);
    local.environment = passed_on(std::env::vars());
    let runtime = Arc::new(LocalRuntime::new(local)?);
    let base = Base::connect(&options.database.url()?, 16, false).await?;
    worker::run(&base, runtime, WorkerOptions::default(), stop).await;
    Ok(())
}
