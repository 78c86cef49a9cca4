//! `slipway-worker`: makes clusters what the log asks for, for installations of several processes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use slipway::cli::{DatabaseOptions, KeyOptions, KubernetesOptions, OfferOptions, WorkerArgs, end, start_logging};
use slipway::parts::{Base, worker};
use slipway::runtime::local::{LocalConfig, LocalRuntime, passed_on};
use slipway::shutdown;

/// Runs clusters on Kubernetes; or, with --stack, as processes of this machine, in the data folder's `clusters`.
///
/// They outlive this program: the next one takes them over.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    key: KeyOptions,
    /// Python environment with the notebook stack: run clusters on this machine
    #[arg(long, env = "SLIPWAY_STACK", value_name = "DIR")]
    stack: Option<PathBuf>,
    #[command(flatten)]
    offer: OfferOptions,
    #[command(flatten)]
    worker: WorkerArgs,
    #[command(flatten)]
    kubernetes: KubernetesOptions,
}

#[tokio::main]
async fn main() -> ExitCode {
    end("slipway-worker", run(Options::parse()).await)
}

async fn run(options: Options) -> anyhow::Result<()> {
    start_logging(true, "warn,slipway=info");
    let stop = shutdown::on_signal()?;
    let (keyring, work) = (options.key.keyring()?, options.worker.offering(&options.offer)?);
    let base = Base::connect(&options.database.url()?, 16, false).await?;
    if let Some(stack) = &options.stack {
        worker::run(&base, Arc::new(on_this_machine(&options, stack)?), work, stop).await
    } else {
        let runtime = options.kubernetes.runtime(keyring, &work.profiles).await?;
        worker::run(&base, Arc::new(runtime), work, stop).await
    }
}

fn on_this_machine(options: &Options, stack: &Path) -> anyhow::Result<LocalRuntime> {
    let clusters = options.database.data_dir()?.join("clusters");
    let mut local = LocalConfig::new(clusters, stack.to_owned(), options.key.keyring()?);
    local.environment = passed_on(std::env::vars());
    Ok(LocalRuntime::new(local)?)
}
