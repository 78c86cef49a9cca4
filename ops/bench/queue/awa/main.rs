//! awa on an empty database in DATABASE_URL: `throughput SECONDS CLIENTS` or `latency SAMPLES`. Prints one line of JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use awa::model::insert::params_with;
use awa::{Client, InsertOpts, JobArgs, JobResult, QueueConfig, QueueStorage, QueueStorageConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;

const QUEUE: &str = "bench";
/// Jobs that wait or run at a time at most.
const WAITING: usize = 1000;
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize, Deserialize, JobArgs)]
struct Job {
    number: u64,
}

#[derive(Clone)]
struct Bench {
    pool: PgPool,
    store: Arc<QueueStorage>,
    room: Arc<Semaphore>,
    jobs: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let database = std::env::var("DATABASE_URL").unwrap();
    let pool = PgPoolOptions::new().max_connections(50).connect(&database).await.unwrap();
    awa::migrations::run(&pool).await.unwrap();
    let config = QueueStorageConfig::default();
    let store = Arc::new(QueueStorage::new(config.clone()).unwrap());
    store.install(&pool).await.unwrap();
    // With one, its default, those who enqueue wait for each other's commits: a third of the jobs.
    let shards = "INSERT INTO awa.queue_meta (queue, enqueue_shards) VALUES ($1, 16)
                  ON CONFLICT (queue) DO UPDATE SET enqueue_shards = 16";
    sqlx::query(shards).bind(QUEUE).execute(&pool).await.unwrap();

    let (started, starts) = mpsc::unbounded_channel();
    let bench = Bench { pool, store, room: Arc::new(Semaphore::new(WAITING)), jobs: Arc::default() };
    let room = Arc::clone(&bench.room);
    // As in its author's study: no deadlines, which is its faster path, and no figures for its pages.
    let queue = QueueConfig {
        max_workers: 128,
        poll_interval: Duration::from_millis(50),
        deadline_duration: Duration::ZERO,
        ..QueueConfig::default()
    };
    let client = Client::builder(bench.pool.clone())
        .queue(QUEUE, queue)
        .queue_stats_interval(Duration::from_secs(300))
        .runtime_snapshot_interval(Duration::from_secs(300))
        .queue_storage(config, Duration::from_secs(1), Duration::from_millis(250))
        .register::<Job, _, _>(move |_job, _context| {
            started.send(Instant::now()).unwrap();
            room.add_permits(1);
            async { Ok(JobResult::Completed) }
        })
        .build()
        .unwrap();
    client.start().await.unwrap();
    let number: u64 = words[1].parse().unwrap();
    let result = match words[0].as_str() {
        "throughput" => {
            let clients = words[2].parse().unwrap();
            bench.throughput(WARM_UP, clients).await;
            bench.throughput(Duration::from_secs(number), clients).await
        }
        _ => bench.latency(number, starts).await,
    };
    println!("{result}");
    client.shutdown(Duration::from_secs(5)).await;
}

impl Bench {
    async fn enqueue(&self) {
        self.room.acquire().await.unwrap().forget();
        let job = Job { number: self.jobs.fetch_add(1, Ordering::Relaxed) };
        let opts = InsertOpts { queue: QUEUE.into(), ..InsertOpts::default() };
        self.store.enqueue_params_batch(&self.pool, &[params_with(&job, opts).unwrap()]).await.unwrap();
    }

    async fn throughput(&self, lasts: Duration, clients: usize) -> Value {
        let (began, before) = (Instant::now(), self.jobs.load(Ordering::Relaxed));
        let clients = (0..clients).map(|_| {
            let bench = self.clone();
            tokio::spawn(async move {
                while began.elapsed() < lasts {
                    bench.enqueue().await;
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        let jobs = self.jobs.load(Ordering::Relaxed);
        while (self.store.queue_counts(&self.pool, QUEUE).await.unwrap().terminal as u64) < jobs {
            sleep(Duration::from_millis(10)).await;
        }
        json!({"jobs": jobs - before, "seconds": began.elapsed().as_secs_f64()})
    }

    async fn latency(&self, samples: u64, mut starts: mpsc::UnboundedReceiver<Instant>) -> Value {
        let mut milliseconds = vec![];
        sleep(Duration::from_secs(1)).await;
        for _ in 0..samples {
            sleep(Duration::from_millis(rand::random_range(20..60))).await;
            let began = Instant::now();
            self.enqueue().await;
            milliseconds.push((starts.recv().await.unwrap() - began).as_secs_f64() * 1000.0);
        }
        json!({"milliseconds": milliseconds})
    }
}
