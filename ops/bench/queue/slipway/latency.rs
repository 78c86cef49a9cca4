//! How soon a job starts when there is nothing else to do.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slipway::parts::Base;
use slipway::service::worker::ROUND;
use slipway::store::claim::Frontier;
use slipway::store::{Store, listen};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until};

use super::clients::Wanting;

const LEASE: Duration = Duration::from_secs(30);

/// Enqueueing and work have a process's connections each, and nothing but the database between them.
pub async fn run(database: &str, samples: usize) -> Value {
    let (asking, working) =
        (Base::connect(database, 8, true).await.unwrap(), Base::connect(database, 8, false).await.unwrap());
    let (started, mut starts) = mpsc::unbounded_channel();
    let worker = tokio::spawn(work(working.store.clone(), working.bell.clone(), started));
    let mut client = Wanting::launch(&asking.store).await;
    starts.recv().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let mut milliseconds = Vec::new();
    for _ in 0..samples {
        sleep(Duration::from_millis(rand::random_range(20..60))).await;
        let began = Instant::now();
        client.want(&asking.store).await;
        let start: Instant = starts.recv().await.unwrap();
        milliseconds.push((start - began).as_secs_f64() * 1000.0);
    }
    worker.abort();
    json!({"milliseconds": milliseconds})
}

async fn work(store: Store, mut bell: watch::Receiver<()>, started: mpsc::UnboundedSender<Instant>) {
    let mut frontier = Frontier::default();
    loop {
        let began = tokio::time::Instant::now();
        bell.borrow_and_update();
        let leases = store.take("bench", 32, LEASE, &mut frontier).await.unwrap().leases;
        leases.iter().for_each(|_| started.send(Instant::now()).unwrap());
        store.finish_all(&leases).await.unwrap();
        listen::wait(&mut bell).await;
        sleep_until(began + ROUND).await;
    }
}
