//! How fast the log takes events, and how soon a follower has a new route. `ops/bench/log/run` runs it.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints and may panic"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use slipway::domain::{
    Access, Cluster, ClusterId, Command, Endpoint, Engine, Event, Launch, Limits, Observation, RouteChange,
    cluster,
};
use slipway::parts::Base;
use slipway::service::{Service, routes::Router};
use slipway::store::Store;
use slipway::store::events::{Append, Caps, Meta};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::mpsc;

const WRITERS: u64 = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("usage: log-bench DATABASE_URL");
    let pool = PgPoolOptions::new().max_connections(40).connect(&url).await.unwrap();
    let store = Store::over(pool.clone());
    store.migrate().await.unwrap();
    let plain = "CREATE TABLE plain (pos bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id text, version bigint,
                   type text, data jsonb, actor text, at timestamptz DEFAULT clock_timestamp(), UNIQUE (stream_id, version))";
    sqlx::raw_sql(plain).execute(&pool).await.unwrap();
    throughput(&pool, &store).await;
    latency(&store).await;
}

/// One row of the table: what is done, and events a second in each round.
struct Contender {
    name: &'static str,
    kind: Kind,
    rates: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A table with one unique index and nothing else: what the machine gives at most.
    Plain,
    /// The same under one lock, as stores do that need a gap-free order from a counter.
    Locked,
    /// The log, one event a transaction or many.
    Log(usize),
}

async fn throughput(pool: &PgPool, store: &Store) {
    let mut contenders = [
        Contender { name: "plain INSERT", kind: Kind::Plain, rates: vec![] },
        Contender { name: "INSERT under an advisory lock", kind: Kind::Locked, rates: vec![] },
        Contender { name: "slipway, 1 event a transaction", kind: Kind::Log(1), rates: vec![] },
        Contender { name: "slipway, 50 events a transaction", kind: Kind::Log(50), rates: vec![] },
    ];
    for _ in 0..ROUNDS {
        for contender in &mut contenders {
            contender.rates.push(round(pool, store, contender.kind).await);
        }
    }
    println!("append, {WRITERS} writers, median of {ROUNDS} rounds of {} s, interleaved", ROUND.as_secs());
    let base = median(&contenders[0].rates);
    for contender in &contenders {
        let rate = median(&contender.rates);
        println!("  {:<34} {rate:>9.0} events/s   {:>6.2} of plain", contender.name, rate / base);
    }
}

async fn round(pool: &PgPool, store: &Store, kind: Kind) -> f64 {
    let (count, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let writers = (0..WRITERS).map(|_| {
        let (pool, store, count) = (pool.clone(), store.clone(), Arc::clone(&count));
        tokio::spawn(async move {
            let id = ClusterId::from_number(rand::random_range(100_000_000_000..=999_999_999_999)).unwrap();
            let mut writer = Writer { pool, store, id, version: 0, state: None };
            while began.elapsed() < ROUND {
                count.fetch_add(writer.write(kind).await, Ordering::Relaxed);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

struct Writer {
    pool: PgPool,
    store: Store,
    id: ClusterId,
    version: i64,
    state: Option<Cluster>,
}

impl Writer {
    async fn write(&mut self, kind: Kind) -> u64 {
        match kind {
            Kind::Log(batch) => self.append(batch).await,
            Kind::Plain => self.insert("").await,
            Kind::Locked => self.insert("WITH l AS MATERIALIZED (SELECT pg_advisory_xact_lock(1)) ").await,
        }
    }

    async fn insert(&mut self, lock: &str) -> u64 {
        self.version += 1;
        let from = if lock.is_empty() { "" } else { " FROM l" };
        let sql = format!(
            "{lock}INSERT INTO plain (stream_id, version, type, data, actor) SELECT $1, $2, 'ScaleRequested', '{{\"workers\": 3}}', 'x'{from}"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(self.id.to_string()).bind(self.version);
        query.execute(&self.pool).await.unwrap();
        1
    }

    /// Everything that a decision writes: head, event, hash, indexes, read model, work.
    async fn append(&mut self, batch: usize) -> u64 {
        let first = self.state.is_none();
        let events: Vec<Event> = if first {
            vec![launch_event()]
        } else {
            let workers = |n: usize| ((self.version as usize + n) % 8 + 1) as i64;
            (0..batch).map(|n| Event::ScaleRequested { workers: workers(n).try_into().unwrap() }).collect()
        };
        let before = self.state.clone();
        let after = events
            .iter()
            .fold(before.clone(), |state, event| Some(cluster::evolve(self.id, state, event).unwrap()))
            .unwrap();
        // Usage is one row for everyone, whose lock would be what is measured; only launches, scales and stops take it.
        let charged = Cluster { workers: after.workers, ..before.clone().unwrap_or_else(|| after.clone()) };
        let append = Append {
            id: self.id,
            expected: self.version,
            events: &events,
            before: Some(&charged),
            after: &after,
            meta: &Meta::by("bench".parse().unwrap()),
            wake: true,
            caps: Caps::NONE,
            key: None,
        };
        self.store.append(append).await.unwrap();
        self.version += events.len() as i64;
        self.state = Some(after);
        events.len() as u64
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

fn launch_event() -> Event {
    let Launch { owner, profile, workers, materials, limits, access: _ } = launch();
    Event::LaunchRequested { owner, profile, workers, materials, limits }
}

/// From the commit of BecameReady to the route in a follower of the log, through NOTIFY and the horizon.
async fn latency(store: &Store) {
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
        let owner: slipway::domain::Subject = "bench".parse().unwrap();
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

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
