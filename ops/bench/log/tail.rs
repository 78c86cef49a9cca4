//! From the log's beginning to a route table, beside the same rows as they are.

use std::time::Instant;

use futures_util::TryStreamExt;
use slipway::domain::RouteTable;
use slipway::parts::Base;
use slipway::service::follow::Follower;
use slipway::store::events::Position;

use super::{Log, median};
use crate::size::fill;

const ROUNDS: usize = 5;
/// What a follower reads of each event, in whatever order it lies there.
const ROWS: &str =
    "COPY (SELECT epoch, tx, pos, stream_id, version, event_id, type, schema_version, data, actor, correlation_id,
                  causation_id, recorded_at FROM slipway.event) TO STDOUT";

pub async fn run(log: Log, events: u64) {
    fill(&log, events).await;
    let [mut copied, mut tailed] = [const { Vec::<f64>::new() }; 2];
    for _ in 0..ROUNDS {
        copied.push(copy(&log, events).await);
        tailed.push(tail(&log, events).await);
    }
    let (copied, tailed) = (median(&copied), median(&tailed));
    println!("{events} events, medians of {ROUNDS} rounds, in turn");
    println!("  COPY to a client         {copied:>9.0} events/s");
    println!("  into a route table       {tailed:>9.0} events/s   {:>5.2}", tailed / copied);
}

/// Rows a second, of which nothing is made.
async fn copy(log: &Log, events: u64) -> f64 {
    let began = Instant::now();
    let mut connection = log.pool.acquire().await.unwrap();
    let mut rows = connection.copy_out_raw(ROWS).await.unwrap();
    let mut bytes = 0;
    while let Some(piece) = rows.try_next().await.unwrap() {
        bytes += piece.len();
    }
    assert!(bytes as u64 > events * 100, "{bytes}");
    events as f64 / began.elapsed().as_secs_f64()
}

/// Events a second, by what every proxy follows the log with.
async fn tail(log: &Log, events: u64) -> f64 {
    let base = Base::over(log.store.clone());
    let began = Instant::now();
    let mut follower = Follower::new(&log.store, base.bell.clone(), Position::default());
    let (mut table, mut read) = (RouteTable::default(), 0);
    while read < events {
        let batch = follower.next().await.unwrap();
        assert!(batch.unreadable.is_empty());
        read += batch.recorded.len() as u64;
        for recorded in &batch.recorded {
            drop(table.apply(recorded.cluster, recorded.version, &recorded.event, recorded.recorded_at));
        }
    }
    events as f64 / began.elapsed().as_secs_f64()
}
