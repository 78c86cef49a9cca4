//! How fast the log takes events and gives them, how soon a follower has a new route, and what a long log costs. `ops/bench/log/run` runs it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints and may panic"
)]

mod append;
mod latency;
#[path = "../lib/life.rs"]
mod life;
mod replay;
mod size;
mod tail;

use clap::Parser;
use slipway::domain::{Access, Launch, Limits};
use slipway::store::Store;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// Each on databases of its own, which it migrates.
#[derive(Parser)]
enum Scenario {
    /// Appends beside plain inserts
    Append { database: String },
    /// From a commit to the route in a follower
    Latency { database: String },
    /// Appends and reads of a short log beside those of a long one
    Size {
        short: String,
        long: String,
        /// Of the long one; the short one has 10,000
        #[arg(long, default_value = "10000000")]
        events: u64,
    },
    /// All read models made anew
    Replay {
        database: String,
        #[arg(long, default_value = "1000000")]
        events: u64,
    },
    /// All events into a route table, beside COPY of the same rows
    Tail {
        database: String,
        #[arg(long, default_value = "1000000")]
        events: u64,
    },
}

#[tokio::main]
async fn main() {
    match Scenario::parse() {
        Scenario::Append { database } => append::run(&Log::at(&database).await).await,
        Scenario::Latency { database } => latency::run(&Log::at(&database).await.store).await,
        Scenario::Size { short, long, events } => {
            size::run(Log::at(&short).await, Log::at(&long).await, events).await;
        }
        Scenario::Replay { database, events } => replay::run(Log::at(&database).await, events).await,
        Scenario::Tail { database, events } => tail::run(Log::at(&database).await, events).await,
    }
}

/// A log, and the database that it is in.
#[derive(Clone)]
struct Log {
    pool: PgPool,
    store: Store,
}

impl Log {
    async fn at(database: &str) -> Self {
        let pool = PgPoolOptions::new().max_connections(40).connect(database).await.unwrap();
        let store = Store::over(pool.clone());
        store.migrate().await.unwrap();
        Self { pool, store }
    }
}

fn launch() -> Launch {
    Launch {
        owner: "bench".parse().unwrap(),
        profile: "default".parse().unwrap(),
        workers: 2.try_into().unwrap(),
        materials: vec![],
        limits: Limits { workers: 8.try_into().unwrap(), idle_seconds: 3600, lifetime_seconds: 0 },
        access: Access::Owner,
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
