//! Whether appends and reads take longer in a long log than in a short one.

use std::time::Instant;

use slipway::domain::{ClusterId, Endpoint, Engine};
use slipway::store::events::Position;

use super::append::{Kind, round};
use super::life::{life, write};
use super::{Log, median};

const ROUNDS: usize = 7;
/// Events of the short log, and of a read.
const SHORT: u64 = 10_000;
const BATCH: i64 = 500;
/// Of each round.
const READS: u64 = 5;
/// Clusters of each transaction that fills.
const CHUNK: u64 = 10_000;
/// The one that the others are copies of.
const FIRST: u64 = 100_000;

/// As many clusters that came and went as the first is one of, side by side: their first events, then their second ones.
const COPIES: &str = "CREATE TEMPORARY TABLE copy ON COMMIT DROP AS
    SELECT 'cluster-' || n AS id, gen_random_uuid() AS correlation, ''::bytea AS hash
      FROM generate_series($1::bigint, $2::bigint) n";
const EVENTS: &str = "WITH copied AS (
        INSERT INTO slipway.event (epoch, tx, stream_id, version, event_id, type, schema_version, data, actor,
                                   correlation_id, causation_id, recorded_at, hash)
        SELECT e.epoch, pg_current_xact_id(), c.id, e.version, i.id, e.type, e.schema_version, e.data, e.actor,
               c.correlation, NULL, e.recorded_at,
               slipway.event_hash(c.hash, c.id, e.version, i.id, e.type, e.schema_version, e.data, e.actor,
                                  c.correlation, NULL, e.recorded_at)
          FROM copy c CROSS JOIN slipway.event e CROSS JOIN LATERAL (SELECT gen_random_uuid() AS id WHERE c.id <> '') i
         WHERE e.stream_id = $1 AND e.version = $2
        RETURNING stream_id, hash)
    UPDATE copy c SET hash = copied.hash FROM copied WHERE copied.stream_id = c.id";
const HEADS: &str = "INSERT INTO slipway.stream (stream_id, version, last_tx, last_hash, first_pos)
    SELECT c.id, s.version, pg_current_xact_id(), c.hash, e.pos FROM copy c JOIN slipway.event e ON e.stream_id = c.id AND e.version = 1,
           slipway.stream s WHERE s.stream_id = $1";
const CLUSTERS: &str = "INSERT INTO slipway.cluster SELECT (jsonb_populate_record(first, jsonb_build_object(
        'id', c.id, 'state', replace(first.state::text, first.id, c.id)::jsonb))).*
      FROM copy c, slipway.cluster first WHERE first.id = $1";

pub async fn run(short: Log, long: Log, events: u64) {
    fill(&short, SHORT).await;
    fill(&long, events).await;
    let [mut appends, mut starts, mut ends] = [const { [const { Vec::<f64>::new() }; 2] }; 3];
    for _ in 0..ROUNDS {
        for (at, log) in [&short, &long].into_iter().enumerate() {
            appends[at].push(round(log, Kind::Log(1)).await);
            starts[at].push(read(log, Position::default()).await);
            ends[at].push(read(log, near_the_end(log).await).await);
        }
    }
    println!("a log of {SHORT} events and one of {events}, medians of {ROUNDS} rounds, events a second");
    for (what, [short, long]) in
        [("append, 16 writers", appends), ("read from the start", starts), ("read to the end", ends)]
    {
        let (short, long) = (median(&short), median(&long));
        println!("  {what:<22} {short:>9.0} {long:>9.0}   {:>5.2}", long / short);
    }
}

/// Until it has so many events. One that has some was filled before.
pub async fn fill(log: &Log, events: u64) {
    let began = Instant::now();
    let filled = "SELECT EXISTS (SELECT FROM slipway.event)";
    if sqlx::query_scalar::<_, bool>(filled).fetch_one(&log.pool).await.unwrap() {
        eprintln!("filled before");
        return;
    }
    let first = ClusterId::from_number(FIRST).unwrap();
    let endpoint =
        Endpoint { address: [127, 0, 0, 1].into(), ports: [(Engine::Notebook, 8888)].into(), named: [].into() };
    let life = life("bench".parse().unwrap(), endpoint, false);
    write(&log.store, first, &life).await;
    let last = FIRST + events / life.len() as u64 - 1;
    for from in (FIRST + 1..=last).step_by(CHUNK as usize) {
        let upto = last.min(from + CHUNK - 1);
        let room = (upto - from + 1) as i64 * life.len() as i64;
        sqlx::query("SELECT slipway.extend_log($1)").bind(room).execute(&log.pool).await.unwrap();
        let mut tx = log.pool.begin().await.unwrap();
        sqlx::query(COPIES).bind(from as i64).bind(upto as i64).execute(&mut *tx).await.unwrap();
        for version in 1..=life.len() {
            sqlx::query(EVENTS).bind(first.to_string()).bind(version as i64).execute(&mut *tx).await.unwrap();
        }
        for copied in [HEADS, CLUSTERS] {
            sqlx::query(copied).bind(first.to_string()).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        if (from / CHUNK).is_multiple_of(10) {
            let copied = (upto - FIRST) * life.len() as u64;
            eprintln!("{copied} of {events} events after {} s", began.elapsed().as_secs());
        }
    }
    // What filling leaves to the server is done before anything is measured.
    sqlx::raw_sql("VACUUM ANALYZE").execute(&log.pool).await.unwrap();
    sqlx::raw_sql("CHECKPOINT").execute(&log.pool).await.unwrap();
    eprintln!("filled with {events} events in {} s", began.elapsed().as_secs());
}

/// So many events before the newest.
async fn near_the_end(log: &Log) -> Position {
    let position = "SELECT epoch || '.' || tx || '.' || pos FROM slipway.event
                     ORDER BY epoch DESC, tx DESC, pos DESC OFFSET $1 LIMIT 1";
    let position = sqlx::query_scalar::<_, String>(position).bind(SHORT as i64 - 1);
    position.fetch_one(&log.pool).await.unwrap().parse().unwrap()
}

/// As a follower does, several times from there; events a second.
async fn read(log: &Log, from: Position) -> f64 {
    let (began, mut read) = (Instant::now(), 0);
    for _ in 0..READS {
        let (mut position, upto) = (from, read + SHORT - BATCH as u64);
        while read < upto {
            let batch = log.store.read_after(position, BATCH).await.unwrap();
            read += batch.len() as u64;
            position = batch.last().unwrap().position;
        }
    }
    read as f64 / began.elapsed().as_secs_f64()
}
