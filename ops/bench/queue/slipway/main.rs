//! slipway's queue at the work that `ops/bench/queue/run` compares, on an empty database.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints and may panic"
)]

mod clients;
mod latency;
mod takeover;
mod throughput;

use std::time::Duration;

use clap::Parser;

/// Prints one line of JSON.
#[derive(Parser)]
struct Options {
    #[arg(long, env = "DATABASE_URL")]
    database: String,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Parser)]
enum Scenario {
    /// Enqueues one job a transaction, claims and completes
    Throughput {
        seconds: u64,
        clients: usize,
        /// That take turns, each with one job at a time; in hundreds
        #[arg(default_value = "1000")]
        clusters: usize,
        /// Jobs a second of all together, instead of as many as can be done
        #[arg(long)]
        rate: Option<u32>,
    },
    /// From enqueueing to the start, one job at a time
    Latency { samples: usize },
    /// Kills a worker that holds a hundred leases of so many seconds
    Takeover { lease: u64 },
    /// Is such a worker
    Hold { name: String, lease: u64 },
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let result = match options.scenario {
        Scenario::Throughput { seconds, clients, clusters, rate } => {
            throughput::run(&options.database, Duration::from_secs(seconds), clients, clusters, rate).await
        }
        Scenario::Latency { samples } => latency::run(&options.database, samples).await,
        Scenario::Takeover { lease } => takeover::run(&options.database, Duration::from_secs(lease)).await,
        Scenario::Hold { name, lease } => {
            return takeover::hold(&options.database, &name, Duration::from_secs(lease)).await;
        }
    };
    println!("{result}");
}
