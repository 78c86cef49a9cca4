//! From the commit of the event that makes a cluster ready to the first request that reaches it, on each proxy.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use slipway::domain::{Access, ClusterId, Command, Engine, Launch, Limits, Observation};
use slipway::parts::Base;
use slipway::service::Service;
use slipway::store::Store;
use slipway::store::append::{Caps, Meta};
use tokio::time::sleep;

use super::client::Client;
use super::quantile;
use super::seed::endpoint;

/// Between two requests to the same proxy: also how exact the times are.
const ASK_EVERY: Duration = Duration::from_millis(1);
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long)]
    database: String,
    /// The replicas
    #[arg(long, value_delimiter = ',')]
    proxies: Vec<SocketAddr>,
    #[arg(long)]
    target: SocketAddr,
    #[arg(long, default_value = "500")]
    samples: u32,
}

pub async fn run(options: Options) -> Value {
    let base = Base::over(Store::connect(&options.database, 8).await.unwrap());
    let service = Service::new(base.store.clone(), Caps::NONE);
    let mut clients: Vec<_> = options.proxies.iter().map(|proxy| Client::new(*proxy)).collect();
    let mut times: Vec<Vec<Duration>> = vec![vec![]; clients.len()];
    for sample in 0..options.samples {
        let id = service
            .launch(launch(), "bench".parse::<slipway::domain::Subject>().unwrap(), None)
            .await
            .unwrap()
            .cluster
            .id;
        let seen = Observation::Present {
            steps: vec![],
            endpoint: Some(endpoint(options.target, &[Engine::Notebook])),
            workers_ready: 0,
        };
        let meta = Meta::by("bench".parse().unwrap());
        service.execute(id, &Command::Report(seen), &meta, None).await.unwrap();
        let committed = Instant::now();
        let routed = join_all(clients.iter_mut().map(|client| first_answer(client, id))).await;
        for (times, at) in times.iter_mut().zip(routed) {
            times.push(at - committed);
        }
        // At no fixed place in anybody's period.
        sleep(Duration::from_millis(u64::from(sample) % 23)).await;
    }
    let slower = (0..times[0].len()).map(|sample| times.iter().map(|of| of[sample]).max().unwrap());
    let (mut slower, mut all): (Vec<_>, Vec<_>) = (slower.collect(), times.concat());
    json!({
        "samples": options.samples,
        "p50_ms": quantile(&mut all, 0.5),
        "p99_ms": quantile(&mut all, 0.99),
        "most_ms": quantile(&mut all, 1.0),
        "slower_p50_ms": quantile(&mut slower, 0.5),
        "slower_p99_ms": quantile(&mut slower, 0.99),
    })
}

async fn first_answer(client: &mut Client, id: ClusterId) -> Instant {
    let (path, began) = (format!("/{id}/"), Instant::now());
    while began.elapsed() < WITHIN {
        match client.get(&path).await {
            Ok(status) if status == 200 => return Instant::now(),
            Ok(_) => sleep(ASK_EVERY).await,
            Err(broken) => panic!("{path} is not answered: {}", broken.why),
        }
    }
    panic!("{path} is not routed within {WITHIN:?}");
}

fn launch() -> Launch {
    Launch {
        owner: "bench".parse().unwrap(),
        profile: "default".parse().unwrap(),
        workers: 2.try_into().unwrap(),
        materials: vec![],
        limits: Limits { workers: 8.try_into().unwrap(), idle_seconds: 0, lifetime_seconds: 0 },
        access: Access::Public,
    }
}
