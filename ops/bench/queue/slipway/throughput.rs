//! Jobs a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use slipway::domain::ClusterId;
use slipway::parts::Base;
use slipway::service::worker::ROUND;
use slipway::store::claim::Frontier;
use slipway::store::{Store, listen};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::clients::Wanting;

/// Jobs that wait or run at a time at most.
const WAITING: usize = 1000;
/// Clusters that are launched, and claimed, at a time.
const CHUNK: usize = 500;
const WARM_UP: Duration = Duration::from_secs(2);
/// As many leases as a worker holds at a time.
const ROOM: usize = 32;
const LEASE: Duration = Duration::from_secs(30);

/// One of those who enqueue: its clusters, and of which of them there is no unfinished job.
struct Client {
    store: Store,
    mine: HashMap<ClusterId, Wanting>,
    idle: mpsc::UnboundedReceiver<ClusterId>,
    /// For jobs that may wait.
    room: Arc<Semaphore>,
}

impl Client {
    async fn enqueue_for(&mut self, lasts: Duration) -> u64 {
        let (began, mut jobs) = (Instant::now(), 0);
        while began.elapsed() < lasts {
            self.room.acquire().await.unwrap().forget();
            let id = self.idle.recv().await.unwrap();
            self.mine.get_mut(&id).unwrap().want(&self.store).await;
            jobs += 1;
        }
        jobs
    }
}

pub async fn run(database: &str, lasts: Duration, clients: usize, clusters: usize) -> Value {
    let base = Base::connect(database, 8, true).await.unwrap();
    let store = &base.store;
    let mut launched = Vec::new();
    while launched.len() < clusters {
        launched.extend(join_all((0..CHUNK).map(|_| Wanting::launch(store))).await);
        let leases = store.claim("before", CHUNK as i32, LEASE).await.unwrap();
        assert_eq!(store.finish_all(&leases).await.unwrap().len(), CHUNK);
    }
    let room = Arc::new(Semaphore::new(WAITING));

    let mut idle = HashMap::new();
    let (senders, mut clients): (Vec<_>, Vec<Client>) = (0..clients)
        .map(|_| {
            let (sender, idle) = mpsc::unbounded_channel();
            (sender, Client { store: store.clone(), mine: HashMap::new(), idle, room: Arc::clone(&room) })
        })
        .unzip();
    for (number, wanting) in launched.into_iter().enumerate() {
        let at = number % clients.len();
        senders[at].send(wanting.id).unwrap();
        idle.insert(wanting.id, senders[at].clone());
        clients[at].mine.insert(wanting.id, wanting);
    }
    let done = Arc::new(AtomicU64::new(0));
    let worker = tokio::spawn(work(store.clone(), base.bell.clone(), idle, room, Arc::clone(&done)));
    let (clients, _) = jobs_for(WARM_UP, clients, &done).await;
    let (_clients, result) = jobs_for(lasts, clients, &done).await;
    worker.abort();
    result
}

async fn jobs_for(lasts: Duration, clients: Vec<Client>, done: &AtomicU64) -> (Vec<Client>, Value) {
    let (began, before) = (Instant::now(), done.load(Ordering::Relaxed));
    let enqueueing = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let jobs = client.enqueue_for(lasts).await;
            (client, jobs)
        })
    });
    let (clients, jobs): (Vec<Client>, Vec<u64>) =
        join_all(enqueueing).await.into_iter().map(Result::unwrap).unzip();
    let jobs: u64 = jobs.iter().sum();
    while done.load(Ordering::Relaxed) - before < jobs {
        sleep(Duration::from_millis(1)).await;
    }
    (clients, json!({"jobs": jobs, "seconds": began.elapsed().as_secs_f64()}))
}

/// As slipway's worker does: round by round it claims as many as it has room for, and finishes together what has ended.
async fn work(
    store: Store,
    mut bell: watch::Receiver<()>,
    idle: HashMap<ClusterId, mpsc::UnboundedSender<ClusterId>>,
    room: Arc<Semaphore>,
    done: Arc<AtomicU64>,
) {
    let mut frontier = Frontier::default();
    loop {
        let began = Instant::now();
        bell.borrow_and_update();
        let leases = store.take("bench", ROOM as i32, LEASE, &mut frontier).await.unwrap().leases;
        let finished = store.finish_all(&leases).await.unwrap();
        assert_eq!(finished.len(), leases.len());
        room.add_permits(finished.len());
        for id in finished {
            done.fetch_add(1, Ordering::Relaxed);
            idle[&id].send(id).unwrap();
        }
        if leases.is_empty() {
            listen::wait(&mut bell).await;
        }
        if leases.len() < ROOM {
            sleep_until(began + ROUND).await;
        }
    }
}
