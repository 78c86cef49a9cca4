//! A class's traffic that never pauses: what fails of it while the proxies under it are killed or replaced.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};

use super::client::Client;
use super::websockets::{echo_once, open};
use super::{quantile, told_to_stop};

/// One of so many requests is slow, so that some are under way at any moment.
const SLOW_EACH: u32 = 10;
const MESSAGE_EVERY: Duration = Duration::from_secs(1);
/// No answer by then is none.
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    path: String,
    /// Requests a second, of all connections
    #[arg(long, default_value = "2000")]
    rate: u32,
    #[arg(long, default_value = "64")]
    connections: u32,
    #[arg(long, default_value = "200")]
    websockets: u32,
}

/// What happened; times are seconds since 1970, as the driver knows when it killed.
#[derive(Debug, Default)]
struct Seen {
    times: Vec<Duration>,
    again: Vec<f64>,
    failed: Vec<(f64, String)>,
    messages: u32,
    closed: Vec<(f64, String)>,
    refused: Vec<(f64, String)>,
}

type Log = Arc<Mutex<Seen>>;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Goes on until it is told to stop.
pub async fn run(options: Options) -> Value {
    let (log, mut tasks) = (Log::default(), JoinSet::new());
    let period = Duration::from_secs(1) * options.connections / options.rate;
    for number in 0..options.connections {
        let first = period * number / options.connections;
        tasks.spawn(requests(options.clone(), Arc::clone(&log), number, first, period));
    }
    for number in 0..options.websockets {
        let first = MESSAGE_EVERY * number / options.websockets;
        tasks.spawn(messages(options.clone(), Arc::clone(&log), first));
    }
    told_to_stop().await;
    tasks.shutdown().await;
    let mut seen = std::mem::take(&mut *log.lock().unwrap());
    json!({
        "requests": seen.times.len() + seen.failed.len(),
        "p99_ms": quantile(&mut seen.times, 0.99),
        "again": seen.again,
        "failed": seen.failed,
        "messages": seen.messages,
        "closed": seen.closed,
        "refused": seen.refused,
    })
}

async fn requests(options: Options, log: Log, number: u32, first: Duration, period: Duration) {
    let mut client = Client::new(options.to);
    let mut ticks = interval_at((Instant::now() + first).into(), period);
    // What is late is sent at once: the rate does not depend on the answers.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let slow = format!("{}slow", options.path);
    let mut count = number;
    loop {
        ticks.tick().await;
        count = count.wrapping_add(1);
        let path = if count.is_multiple_of(SLOW_EACH) { &slow } else { &options.path };
        let (at, sent) = (now(), Instant::now());
        let outcome = match ask(&mut client, path).await {
            Err(broken) if broken.again => {
                log.lock().unwrap().again.push(at);
                ask(&mut client, path).await
            }
            outcome => outcome,
        };
        let mut log = log.lock().unwrap();
        match outcome {
            Ok(200) => log.times.push(sent.elapsed()),
            Ok(status) => log.failed.push((at, format!("status {status}"))),
            Err(broken) => log.failed.push((at, broken.why)),
        }
    }
}

async fn ask(client: &mut Client, path: &str) -> Result<u16, super::client::Broken> {
    match timeout(WITHIN, client.get(path)).await {
        Ok(outcome) => outcome.map(|status| status.as_u16()),
        Err(_) => Err(super::client::Broken { again: false, why: "no answer".into() }),
    }
}

/// A WebSocket that is opened anew when it is closed, as JupyterLab's are.
async fn messages(options: Options, log: Log, first: Duration) {
    sleep(first).await;
    loop {
        let at = now();
        match timeout(WITHIN, open(options.to, Ipv4Addr::LOCALHOST.into(), &options.path)).await {
            Ok(Ok(mut socket)) => loop {
                if let Err(why) = echo_once(&mut socket).await {
                    log.lock().unwrap().closed.push((now(), why));
                    break;
                }
                log.lock().unwrap().messages += 1;
                sleep(MESSAGE_EVERY).await;
            },
            Ok(Err(why)) => log.lock().unwrap().refused.push((at, why)),
            Err(_) => log.lock().unwrap().refused.push((at, "no answer".into())),
        }
        sleep(MESSAGE_EVERY / 10).await;
    }
}
