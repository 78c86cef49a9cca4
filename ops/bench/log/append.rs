//! Appends, beside plain inserts on the same server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use slipway::domain::{Cluster, ClusterId, Event, Launch, cluster};
use slipway::store::append::{Append, Caps, Meta};
use sqlx::AssertSqlSafe;

use super::{Log, launch, median};

const WRITERS: u64 = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);

/// One row of the table: what is done, and events a second in each round.
struct Contender {
    name: &'static str,
    kind: Kind,
    rates: Vec<f64>,
}

#[derive(Clone, Copy)]
pub enum Kind {
    /// A table with one unique index and nothing else: what the machine gives at most.
    Plain,
    /// The same under one lock, as stores do that need a gap-free order from a counter.
    Locked,
    /// The log, one event a transaction or many.
    Log(usize),
}

pub async fn run(log: &Log) {
    let plain = "CREATE TABLE plain (pos bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id text, version bigint,
                   type text, data jsonb, actor text, at timestamptz DEFAULT clock_timestamp(), UNIQUE (stream_id, version))";
    sqlx::raw_sql(plain).execute(&log.pool).await.unwrap();
    let mut contenders = [
        Contender { name: "plain INSERT", kind: Kind::Plain, rates: vec![] },
        Contender { name: "INSERT under an advisory lock", kind: Kind::Locked, rates: vec![] },
        Contender { name: "slipway, 1 event a transaction", kind: Kind::Log(1), rates: vec![] },
        Contender { name: "slipway, 50 events a transaction", kind: Kind::Log(50), rates: vec![] },
    ];
    for _ in 0..ROUNDS {
        for contender in &mut contenders {
            contender.rates.push(round(log, contender.kind).await);
        }
    }
    println!("append, {WRITERS} writers, median of {ROUNDS} rounds of {} s, interleaved", ROUND.as_secs());
    let base = median(&contenders[0].rates);
    for contender in &contenders {
        let rate = median(&contender.rates);
        println!("  {:<34} {rate:>9.0} events/s   {:>6.2} of plain", contender.name, rate / base);
    }
}

/// Events a second of all writers together.
pub async fn round(log: &Log, kind: Kind) -> f64 {
    let (count, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let writers = (0..WRITERS).map(|_| {
        let (log, count) = (log.clone(), Arc::clone(&count));
        tokio::spawn(async move {
            let id = ClusterId::from_number(rand::random_range(100_000_000_000..=999_999_999_999)).unwrap();
            let mut writer = Writer { log, id, version: 0, state: None };
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
    log: Log,
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
        query.execute(&self.log.pool).await.unwrap();
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
        self.log.store.append(append).await.unwrap();
        self.version += events.len() as i64;
        self.state = Some(after);
        events.len() as u64
    }
}

fn launch_event() -> Event {
    let Launch { owner, profile, workers, materials, limits, access: _ } = launch();
    Event::LaunchRequested { owner, profile, workers, materials, limits }
}
