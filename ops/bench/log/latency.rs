//! How soon a follower of the log has what was committed.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use slipway::domain::{Command, Endpoint, Engine, Observation, RouteChange, Subject};
use slipway::parts::Base;
use slipway::service::Service;
use slipway::service::routes::Router;
use slipway::store::Store;
use slipway::store::append::{Caps, Meta};
use tokio::sync::mpsc;

use super::launch;

/// From the commit of BecameReady to the route in a follower of the log, through NOTIFY and the horizon.
pub async fn run(store: &Store) {
    let base = Base::over(store.clone());
    let (sender, mut changes) = mpsc::unbounded_channel();
    let apply = |batch: Vec<RouteChange>| batch.into_iter().for_each(|change| sender.send(change).unwrap());
    let router = Router::default();
    router.load(store, apply).await.unwrap();
    tokio::select! {
        outcome = router.follow(store, base.bell.clone(), true, apply, || ()) => outcome.unwrap(),
        () = sample_latency(store, &mut changes) => {}
    }
}

async fn sample_latency(store: &Store, changes: &mut mpsc::UnboundedReceiver<RouteChange>) {
    const SAMPLES: usize = 500;
    let service = Service::new(store.clone(), Caps::NONE);
    let mut times = Vec::new();
    for sample in 0..SAMPLES {
        let owner: Subject = "bench".parse().unwrap();
        let id = service.launch(launch(), owner, None).await.unwrap().cluster.id;
        let endpoint = Endpoint {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: [(Engine::Notebook, 1024 + sample as u16)].into(),
            named: [].into(),
        };
        let seen = Observation::Present { steps: vec![], endpoint: Some(endpoint), workers_ready: 0 };
        let meta = Meta::by("bench".parse().unwrap());
        service.execute(id, &Command::Report(seen), &meta, None).await.unwrap();
        let committed = Instant::now();
        // The launch's door comes first.
        while !matches!(changes.recv().await.unwrap(), RouteChange::Put { .. }) {}
        times.push(committed.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(Duration::from_millis(sample as u64 % 23)).await;
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((SAMPLES as f64 * share) as usize).min(SAMPLES - 1)];
    println!(
        "event to route, {SAMPLES} launches: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
