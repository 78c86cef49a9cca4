//! What those who watch over a part read of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use slipway::domain::{ClusterId, Command, StopReason};
use slipway::http::serve_health;
use tokio::net::TcpListener;

use crate::client::Client;
use crate::harness::{eventually, meta};
use crate::server::Server;

/// Somebody who watches, and whether what is watched is alive.
async fn watcher(server: &Server) -> (Client, Arc<AtomicBool>) {
    let alive = Arc::new(AtomicBool::new(true));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let is_alive = {
        let alive = Arc::clone(&alive);
        move || alive.load(Ordering::Relaxed)
    };
    let feed = Some(server.feed.clone());
    tokio::spawn(serve_health(listener, is_alive, server.service.clone(), feed, std::future::pending()));
    (Client::new(address), alive)
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|known| known == *line), "{line} in {text}");
    }
}

#[tokio::test]
async fn what_waits_and_what_was_recorded_is_counted() {
    let server = Server::start().await;
    let (watcher, _alive) = watcher(&server).await;
    let mut ids = vec![];
    for _ in 0..3 {
        ids.push(server.browser().await.post("/api/clusters", json!({"workers": 2})).await.is(202).id());
    }
    let before = watcher.get("/metrics").await.is(200);
    assert_eq!(before.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let waiting = [
        "slipway_database_up 1",
        "slipway_launches_in_line 3",
        "slipway_work_due 0",
        "slipway_clusters_live 3",
        "slipway_workers_wanted 6",
        "slipway_launch_duration_seconds_count 0",
    ];
    has(&before.text(), &waiting);

    let tell = async |id: &str, command: Command| {
        let id: ClusterId = id.parse().expect("a valid id");
        server.service.execute(id, &command, &meta("worker:test"), None).await.expect("it is recorded");
    };
    tell(&ids[0], Command::Admit).await;
    tell(&ids[1], Command::Admit).await;
    server.make_ready(&ids[0], 2).await;
    tell(&ids[0], Command::Stop { reason: StopReason::Admin }).await;
    let text = watcher.get("/metrics").await.is(200).text();
    let counted = [
        "slipway_launches_in_line 1",
        "slipway_work_due 2",
        "slipway_work_leased 0",
        "slipway_work_parked 0",
        "slipway_clusters_live 2",
        "slipway_launch_duration_seconds_count 1",
        "slipway_append_duration_seconds_count 4",
        "slipway_events_total{type=\"Admitted\",reason=\"\"} 2",
        "slipway_events_total{type=\"BecameReady\",reason=\"\"} 1",
        "slipway_events_total{type=\"StopRequested\",reason=\"admin\"} 1",
        "slipway_passes_total{end=\"lease_lost\"} 0",
    ];
    has(&text, &counted);

    let leases = server.store.claim("worker:other", 1, Duration::from_secs(30)).await.expect("a claim");
    assert!(server.store.fail(&leases[0], "no room", Duration::ZERO, true).await.expect("an answer"), "parked");
    server.store.claim("worker:other", 1, Duration::from_secs(30)).await.expect("a claim");
    let text = watcher.get("/metrics").await.is(200).text();
    has(&text, &["slipway_work_due 0", "slipway_work_leased 1", "slipway_work_parked 1"]);
}

#[tokio::test]
async fn how_far_the_listeners_are_behind_the_log_is_told() {
    let server = Server::start().await;
    let (watcher, _alive) = watcher(&server).await;
    let lag = async |events: &str| {
        eventually("the lag", async || {
            let text = watcher.get("/metrics").await.is(200).text();
            let seconds = text.lines().find_map(|line| line.strip_prefix("slipway_log_lag_seconds "));
            let seconds = seconds.map(|seconds| seconds.parse::<f64>().expect("a number"));
            text.lines().any(|line| line == format!("slipway_log_lag_events {events}")).then_some(seconds)?
        })
        .await
    };
    assert_eq!(lag("0").await, 0.0);
    // Nothing is shown that an older transaction may still get before.
    let mut older = server.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut *older).await.expect("it may write");
    server.browser().await.post("/api/clusters", json!({"workers": 2})).await.is(202);
    eventually("some of it to pass", async || (lag("1").await > 0.0).then_some(())).await;
    older.rollback().await.expect("an end");
    assert_eq!(lag("0").await, 0.0);
}

#[tokio::test]
async fn whether_it_is_alive_is_told_beside() {
    let server = Server::start().await;
    let (watcher, alive) = watcher(&server).await;
    watcher.get("/healthz").await.is(200);
    alive.store(false, Ordering::Relaxed);
    watcher.get("/healthz").await.is(503);
    watcher.get("/metrics").await.is(200);
}
