//! A log to start from: clusters that run, and clusters that came and went, ten events each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use slipway::domain::{ClusterId, Endpoint, Engine};
use slipway::store::Store;
use tokio::task::JoinSet;

use super::life::{life, write};

/// Number of the first cluster; those that run come first.
const FIRST: u64 = 100_000;
const WRITERS: u32 = 16;
/// No owner has more clusters than the log lets one have.
const OWNERS: u64 = 1_000;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Migrated, and empty
    #[arg(long)]
    database: String,
    /// Clusters that run
    #[arg(long)]
    live: u64,
    /// Clusters that are gone
    #[arg(long, default_value = "0")]
    gone: u64,
    /// Where those that run are reached
    #[arg(long)]
    target: SocketAddr,
    /// Each has a notebook alone, and not all engines
    #[arg(long)]
    notebook_only: bool,
}

pub async fn run(options: Options) -> Value {
    let store = Store::connect(&options.database, WRITERS).await.unwrap();
    let (options, next) = (Arc::new(options), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..WRITERS {
        let (store, options, next) = (store.clone(), Arc::clone(&options), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= options.live + options.gone {
                    return;
                }
                let owner = format!("bench{}", number % OWNERS).parse().unwrap();
                let engines = if options.notebook_only { &[Engine::Notebook][..] } else { &Engine::ALL };
                let life = life(owner, endpoint(options.target, engines), number < options.live);
                write(&store, ClusterId::from_number(FIRST + number).unwrap(), &life).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let (clusters, events) = store.log_size().await.unwrap();
    json!({ "clusters": clusters, "events": events })
}

pub fn endpoint(target: SocketAddr, engines: &[Engine]) -> Endpoint {
    let ports: BTreeMap<_, _> = engines.iter().map(|engine| (*engine, target.port())).collect();
    Endpoint { address: target.ip(), ports, named: BTreeMap::new() }
}
