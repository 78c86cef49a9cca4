//! Launches a class at once, in one of several ways, and times what the apiserver tells of it. `ops/bench/launch/run`
//! runs it.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints and may panic"
)]

mod bare;
mod clicks;
mod floor;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use slipway::cli::ProfilesOptions;
use tokio::time::sleep;

use watch::Seen;

/// KUBECONFIG is that of the watch which times the pods; it is nobody's whose requests are counted.
#[derive(Debug, Parser)]
struct Options {
    #[arg(long, default_value = "100")]
    launches: usize,
    /// Of each launch
    #[arg(long, default_value = "4")]
    workers: u16,
    /// How many of them to wait for
    #[arg(long)]
    wait_for: Option<u16>,
    /// The clicks come one after the other within so many seconds, and all at one instant if none
    #[arg(long, default_value = "0")]
    over: f64,
    /// What is not there after so long has failed
    #[arg(long, default_value = "120")]
    within: u64,
    #[command(subcommand)]
    way: Way,
}

#[derive(Debug, Subcommand)]
enum Way {
    /// Objects as slipway makes them, created by nothing but requests
    Floor {
        /// Kubeconfig of the requests
        #[arg(long = "as")]
        kubeconfig: PathBuf,
        #[arg(long, default_value = "32")]
        at_once: usize,
        /// Only namespaces and notebooks' pods
        #[arg(long)]
        bare: bool,
        #[arg(long)]
        key: String,
        #[command(flatten)]
        profiles: ProfilesOptions,
    },
    /// POST /api/clusters
    Slipway {
        #[arg(long)]
        proxy: SocketAddr,
        #[arg(long)]
        routes: SocketAddr,
    },
    /// POST /hub/api/users/NAME/server
    Hub {
        #[arg(long)]
        hub: SocketAddr,
        #[arg(long)]
        routes: SocketAddr,
        #[arg(long)]
        token: String,
    },
    /// Not a way, but slipway's worker for one: it makes only namespaces and notebooks' pods, until it is told to stop
    BareWorker(Box<bare::Options>),
}

/// What became of one launch, in time since the first click.
#[derive(Debug, Clone)]
struct Launch {
    /// By which its pods and its route are known.
    key: String,
    clicked: Instant,
    answered: Instant,
    refused: Option<String>,
}

/// When the first segment of each path was first listed among a proxy's routes.
type Routed = Arc<Mutex<BTreeMap<String, Instant>>>;

#[tokio::main]
async fn main() {
    let options = Options::parse();
    if let Way::BareWorker(options) = options.way {
        return bare::work(*options).await;
    }
    let (count, workers) = (options.launches, usize::from(options.workers));
    let over = Duration::from_secs_f64(options.over);
    let seen = watch::pods().await;
    let routed = Routed::default();
    let began = Instant::now();
    let (launches, has_routes, wanted_workers) = match options.way {
        Way::Floor { kubeconfig, at_once, bare, key, profiles } => {
            let floor = floor::Floor::new(&kubeconfig, at_once, &key, profiles, workers, bare).await;
            (floor.launch(count).await, false, if bare { 0 } else { workers })
        }
        Way::Slipway { proxy, routes } => {
            tokio::spawn(clicks::poll_routes(routes, None, 0, routed.clone()));
            let wanted = options.wait_for.map_or(workers, usize::from);
            (clicks::slipway(proxy, count, over, workers).await, true, wanted)
        }
        Way::Hub { hub, routes, token } => {
            tokio::spawn(clicks::poll_routes(routes, Some(token.clone()), 1, routed.clone()));
            (clicks::hub(hub, &token, count, over).await, true, 0)
        }
        Way::BareWorker(_) => unreachable!("it has worked and ended"),
    };
    let deadline = began + Duration::from_secs(options.within);
    let is_complete = |launch: &Launch| {
        let pods = seen.lock().unwrap();
        let pods = pods.get(&launch.key);
        launch.refused.is_some()
            || pods.is_some_and(|pods| pods.notebook.is_some() && pods.workers.len() >= wanted_workers)
                && (!has_routes || routed.lock().unwrap().contains_key(&launch.key))
    };
    while Instant::now() < deadline && !launches.iter().all(is_complete) {
        sleep(Duration::from_millis(50)).await;
    }
    println!("{}", report(&launches, &seen, &routed, wanted_workers, has_routes));
}

fn report(launches: &[Launch], seen: &Seen, routed: &Routed, workers: usize, has_routes: bool) -> Value {
    let (seen, routed) = (seen.lock().unwrap(), routed.lock().unwrap());
    let first = launches.iter().map(|launch| launch.clicked).min().unwrap();
    let mut failed = Vec::new();
    let rows: Vec<Value> = launches
        .iter()
        .map(|launch| {
            // From its own click; `all_by` in the driver takes the burst's beginning.
            let since = |at: Instant| (at - launch.clicked).as_secs_f64();
            let pods = seen.get(&launch.key);
            let notebook = pods.and_then(|pods| pods.notebook);
            let last_worker = pods.and_then(|pods| pods.workers.get(workers.checked_sub(1)?).copied());
            let route = routed.get(&launch.key).copied();
            let lacks = [
                launch.refused.clone(),
                notebook.is_none().then(|| "no notebook".to_owned()),
                (workers > 0 && last_worker.is_none()).then(|| "not all workers".to_owned()),
                (has_routes && route.is_none()).then(|| "no route".to_owned()),
            ];
            failed.extend(lacks.into_iter().flatten().next().map(|why| format!("{}: {why}", launch.key)));
            json!({
                "clicked": (launch.clicked - first).as_secs_f64(),
                "answered": since(launch.answered),
                "notebook": notebook.map(since),
                "route": route.map(since),
                "workers": last_worker.map(since),
            })
        })
        .collect();
    json!({ "launches": rows, "failed": failed })
}
