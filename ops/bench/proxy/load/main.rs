//! What stands behind the proxies that are compared, and the loads that no packaged tool makes. `ops/bench/proxy/run`
//! runs it; each command prints one line of JSON when it is done.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints and may panic"
)]

mod add;
mod batches;
mod client;
mod commit;
#[path = "../../lib/life.rs"]
mod life;
mod seed;
mod steady;
mod upstream;
mod websockets;

use std::time::Duration;

use clap::{Parser, Subcommand};
use slipway::shutdown::{on_signal, stopped};
use tokio::net::TcpListener;

#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Serve as a cluster does: replies, bodies and WebSocket echo
    Upstream {
        #[arg(long)]
        listen: std::net::SocketAddr,
    },
    /// Echo over many WebSockets, or hold them open
    Websockets(websockets::Options),
    /// Post routes to the REST API that configurable-http-proxy has
    Add(add::Options),
    /// Record routes in the log, many at a time
    Batches(batches::Options),
    /// Write a log of clusters that run and of clusters that are gone
    Seed(seed::Options),
    /// Time from an event's commit to the first request that is routed
    Commit(commit::Options),
    /// Requests at a fixed rate and WebSockets, while what carries them fails
    Steady(steady::Options),
}

#[tokio::main]
async fn main() {
    let report = match Options::parse().what {
        What::Upstream { listen } => {
            let listener = TcpListener::bind(listen).await.unwrap();
            return upstream::serve(listener).await;
        }
        What::Websockets(options) => websockets::run(options).await,
        What::Add(options) => add::run(options).await,
        What::Batches(options) => batches::run(options).await,
        What::Seed(options) => seed::run(options).await,
        What::Commit(options) => commit::run(options).await,
        What::Steady(options) => steady::run(options).await,
    };
    println!("{report}");
}

/// Waits until the driver has seen enough and sends SIGTERM.
async fn told_to_stop() {
    stopped(on_signal().unwrap()).await;
}

/// The value below which this share of them lies, in milliseconds; 0 of none.
fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len() as f64 * share).ceil() as usize;
    times.get(at.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
