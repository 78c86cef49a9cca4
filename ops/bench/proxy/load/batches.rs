//! Routes recorded many at a time, as a program does that has them all.

use std::time::Instant;

use serde_json::{Map, Value, json};
use slipway::domain::Posted;
use slipway::service::posted::Ledger;
use slipway::store::Store;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long)]
    database: String,
    #[arg(long, default_value = "10000")]
    routes: usize,
    /// Events in one transaction
    #[arg(long, default_value = "1000")]
    at_once: usize,
    /// Where the routes lead
    #[arg(long)]
    target: String,
    /// The routes are at this and a number
    #[arg(long, default_value = "/user/u")]
    prefix: String,
}

pub async fn run(options: Options) -> Value {
    let store = Store::connect(&options.database, 4).await.unwrap();
    let (mut ledger, _) = Ledger::open(store).await.unwrap();
    let route = |number: usize| {
        let data = json!({ "target": options.target, "user": format!("u{number}"), "server_name": "" });
        let data: Map<String, Value> = serde_json::from_value(data).unwrap();
        Posted::Put { path: format!("{}{number}", options.prefix).parse().unwrap(), data }
    };
    let changes: Vec<Posted> = (0..options.routes).map(route).collect();
    let began = Instant::now();
    for batch in changes.chunks(options.at_once) {
        ledger.record(batch.to_vec()).await.unwrap();
    }
    json!({ "seconds": began.elapsed().as_secs_f64(), "added": changes.len() })
}
