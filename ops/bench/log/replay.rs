//! How long `slipway replay` takes: read models made anew from a log, stream by stream.

use std::time::Instant;

use slipway::store::rebuild::TOGETHER;

use super::{Log, median, size};

const ROUNDS: usize = 3;
/// As `slipway replay` lists them.
const LISTED: i64 = 200;

pub async fn run(log: Log, events: u64) {
    size::fill(&log, events).await;
    println!("{events} events, medians of {ROUNDS} rounds, events a second");
    for (what, before) in [
        ("read models that are right", "SELECT 1"),
        ("read models that were lost", "TRUNCATE slipway.cluster, slipway.usage"),
    ] {
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            sqlx::raw_sql(before).execute(&log.pool).await.unwrap();
            sqlx::raw_sql("CHECKPOINT").execute(&log.pool).await.unwrap();
            let began = Instant::now();
            replay(&log).await;
            rates.push(events as f64 / began.elapsed().as_secs_f64());
        }
        println!("  {what:<28} {:>9.0}", median(&rates));
    }
}

async fn replay(log: &Log) {
    let mut after = String::new();
    loop {
        let ids = log.store.streams_after(&after, LISTED).await.unwrap();
        let Some(last) = ids.last() else { break };
        after = last.to_string();
        for together in ids.chunks(TOGETHER) {
            log.store.rebuild(together).await.unwrap();
        }
    }
    log.store.finish_rebuild().await.unwrap();
}
