//! Jobs a second.

use std::collections::{HashMap, VecDeque};
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
    mine: HashMap<ClusterId, Mine>,
    idle: mpsc::UnboundedReceiver<Finished>,
    /// Of those, what was noted already.
    ready: VecDeque<ClusterId>,
    /// For jobs that may wait.
    room: Arc<Semaphore>,
    /// When a job was to be enqueued, and how long it took from then until it was finished.
    took: Vec<(Instant, Duration)>,
}

struct Mine {
    wanting: Wanting,
    /// When its last job was to be enqueued.
    wanted: Option<Instant>,
}

/// A cluster of which there is no unfinished job, since when.
struct Finished {
    id: ClusterId,
    at: Instant,
}

impl Client {
    /// One job after another, or one each `pace`; who is late for one does not put off the next.
    async fn enqueue_for(&mut self, lasts: Duration, pace: Option<Duration>) -> u64 {
        let (began, mut jobs) = (Instant::now(), 0);
        let first = began + pace.unwrap_or_default().mul_f64(rand::random());
        while began.elapsed() < lasts {
            let turn = match pace {
                Some(pace) => first + pace * jobs,
                None => Instant::now(),
            };
            sleep_until(turn).await;
            self.room.acquire().await.unwrap().forget();
            let id = match self.ready.pop_front() {
                Some(id) => id,
                None => {
                    let finished = self.idle.recv().await.unwrap();
                    self.note(finished)
                }
            };
            let mine = self.mine.get_mut(&id).unwrap();
            mine.wanted = Some(turn);
            mine.wanting.want(&self.store).await;
            jobs += 1;
        }
        jobs.into()
    }

    fn note(&mut self, Finished { id, at }: Finished) -> ClusterId {
        let wanted = self.mine.get_mut(&id).unwrap().wanted.take();
        self.took.extend(wanted.map(|wanted| (wanted, at - wanted)));
        id
    }

    /// When all jobs are finished: how long each of them took.
    fn settle(&mut self) -> Vec<(Instant, Duration)> {
        while let Ok(finished) = self.idle.try_recv() {
            let id = self.note(finished);
            self.ready.push_back(id);
        }
        std::mem::take(&mut self.took)
    }
}

/// As many jobs as can be done, or `rate` a second.
pub async fn run(database: &str, lasts: Duration, clients: usize, clusters: usize, rate: Option<u32>) -> Value {
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
            (
                sender,
                Client {
                    store: store.clone(),
                    mine: HashMap::new(),
                    idle,
                    room: Arc::clone(&room),
                    ready: [].into(),
                    took: vec![],
                },
            )
        })
        .unzip();
    for (number, wanting) in launched.into_iter().enumerate() {
        let at = number % clients.len();
        senders[at].send(Finished { id: wanting.id, at: Instant::now() }).unwrap();
        idle.insert(wanting.id, senders[at].clone());
        clients[at].mine.insert(wanting.id, Mine { wanting, wanted: None });
    }
    let done = Arc::new(AtomicU64::new(0));
    let worker = tokio::spawn(work(store.clone(), base.bell.clone(), idle, room, Arc::clone(&done)));
    let pace = rate.map(|rate| Duration::from_secs(clients.len() as u64) / rate);
    let (clients, _) = jobs_for(WARM_UP, pace, clients, &done).await;
    let (_clients, result) = jobs_for(lasts, pace, clients, &done).await;
    worker.abort();
    result
}

/// Jobs, the seconds that all of them took, and of each tenth of the time how many a second there were, and in how many milliseconds half
/// and 99 in a hundred of them were finished.
async fn jobs_for(
    lasts: Duration,
    pace: Option<Duration>,
    clients: Vec<Client>,
    done: &AtomicU64,
) -> (Vec<Client>, Value) {
    let (began, before) = (Instant::now(), done.load(Ordering::Relaxed));
    let enqueueing = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let jobs = client.enqueue_for(lasts, pace).await;
            (client, jobs)
        })
    });
    let (mut clients, jobs): (Vec<Client>, Vec<u64>) =
        join_all(enqueueing).await.into_iter().map(Result::unwrap).unzip();
    let jobs: u64 = jobs.iter().sum();
    while done.load(Ordering::Relaxed) - before < jobs {
        sleep(Duration::from_millis(1)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let took: Vec<_> = clients.iter_mut().flat_map(Client::settle).collect();
    let tenths: Vec<Value> = (0..10)
        .map(|tenth| {
            let (from, upto) = (began + lasts * tenth / 10, began + lasts * (tenth + 1) / 10);
            let of_it = took.iter().filter(|(wanted, _)| (from..upto).contains(wanted));
            let mut milliseconds: Vec<_> = of_it.map(|(_, took)| took.as_secs_f64() * 1000.0).collect();
            milliseconds.sort_by(f64::total_cmp);
            let at = |share: f64| milliseconds.get((milliseconds.len() as f64 * share) as usize);
            let jobs_a_second = milliseconds.len() as f64 * 10.0 / lasts.as_secs_f64();
            json!({"jobs_a_second": jobs_a_second, "p50": at(0.5), "p99": at(0.99)})
        })
        .collect();
    (clients, json!({"jobs": jobs, "seconds": seconds, "tenths": tenths}))
}

/// As slipway's worker does: round by round it claims as many as it has room for, and finishes together what has ended.
async fn work(
    store: Store,
    mut bell: watch::Receiver<()>,
    idle: HashMap<ClusterId, mpsc::UnboundedSender<Finished>>,
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
            idle[&id].send(Finished { id, at: Instant::now() }).unwrap();
        }
        if leases.is_empty() {
            listen::wait(&mut bell).await;
        }
        if leases.len() < ROOM {
            sleep_until(began + ROUND).await;
        }
    }
}
