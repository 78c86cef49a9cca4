//! slipway's worker as it is, but for the objects that it makes: no more than KubeSpawner.

use std::sync::Arc;

use clap::Args;
use slipway::cli::{DatabaseOptions, KeyOptions, KubernetesOptions, ProfilesOptions, WorkerArgs, start_logging};
use slipway::clock::Clock;
use slipway::parts::{Base, worker};
use slipway::runtime::kubernetes::settings::Extent;
use slipway::runtime::kubernetes::{KubernetesRuntime, Settings};
use slipway::shutdown;

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    profiles: ProfilesOptions,
    #[command(flatten)]
    worker: WorkerArgs,
    #[command(flatten)]
    kubernetes: KubernetesOptions,
}

pub async fn work(options: Options) {
    start_logging(true, "warn,slipway=info");
    let stop = shutdown::on_signal().unwrap();
    let base = Base::connect(&options.database.url().unwrap(), 16, false).await.unwrap();
    let (config, mut tuning) = options.kubernetes.find().await.unwrap();
    tuning.extent = Extent::Notebook;
    let profiles = options.profiles.load().unwrap();
    let settings = Settings::new(options.key.keyring().unwrap(), &profiles, tuning);
    let runtime = KubernetesRuntime::connect(config, settings, Clock::system()).await.unwrap();
    worker::run(&base, Arc::new(runtime), options.worker.options(), stop).await.unwrap();
}
