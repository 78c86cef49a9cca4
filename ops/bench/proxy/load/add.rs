//! Routes posted as JupyterHub posts them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::Client;
use super::quantile;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The REST API
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    token: String,
    #[arg(long, default_value = "10000")]
    routes: usize,
    #[arg(long, default_value = "32")]
    at_once: usize,
    /// Where the routes lead
    #[arg(long)]
    target: String,
    /// The routes are at this and a number
    #[arg(long, default_value = "/user/u")]
    prefix: String,
}

pub async fn run(options: Options) -> Value {
    let options = Arc::new(options);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for _ in 0..options.at_once {
        tasks.spawn(post_many(Arc::clone(&options), Arc::clone(&next)));
    }
    let (mut times, mut failed) = (Vec::new(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (taken, wrong) = done.unwrap();
        times.extend(taken);
        failed.extend(wrong);
    }
    json!({
        "seconds": began.elapsed().as_secs_f64(),
        "added": times.len(),
        "failed": failed.len(),
        "why": failed.first(),
        "p50_ms": quantile(&mut times, 0.5),
        "p99_ms": quantile(&mut times, 0.99),
    })
}

async fn post_many(options: Arc<Options>, next: Arc<AtomicUsize>) -> (Vec<std::time::Duration>, Vec<String>) {
    let (mut client, mut times, mut failed) = (Client::new(options.to), Vec::new(), Vec::new());
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= options.routes {
            return (times, failed);
        }
        let sent = Instant::now();
        match client.ask(post(&options, number)).await {
            Ok(status) if status == 201 => times.push(sent.elapsed()),
            Ok(status) => failed.push(format!("the answer was {status}")),
            Err(broken) => failed.push(broken.why),
        }
    }
}

fn post(options: &Options, number: usize) -> Request<Full<Bytes>> {
    let body =
        json!({ "target": options.target, "jupyterhub": true, "user": format!("u{number}"), "server_name": "" });
    Request::post(format!("/api/routes{}{number}", options.prefix))
        .header("host", "localhost")
        .header("authorization", format!("token {}", options.token))
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))
        .unwrap()
}
