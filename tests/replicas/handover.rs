//! A new process takes over the address of an old one.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::house::House;
use crate::load::{Load, notebook};
use crate::process::{Process, free};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_takes_over_under_load_and_each_has_logged_what_it_answered() {
    let house = House::new().await;
    let (folder, target) = (tempfile::tempdir().expect("a folder"), notebook().await);
    let path = format!("/{}", house.running(target.address).await);
    let (listen, log) = (free(), folder.path().join("access.log"));
    let log_file = log.display().to_string();
    let options = ["--reuse-port", "--threads", "2", "--access-log", "json", "--access-log-file", &log_file];
    let mut proxy = Process::ready(folder.path(), listen, &house.url, &options).await;
    let load = Load::on(listen, &format!("{path}/lab?a=1&token=secret"), 16);
    let mut dropped = 0.0;
    for _ in 0..3 {
        load.goes_on(200).await;
        let next = Process::ready(folder.path(), listen, &house.url, &options).await;
        proxy.signal(Signal::SIGTERM);
        dropped += proxy.metric("access_log_dropped_total").await.unwrap_or_default();
        proxy.finishes().await;
        proxy = next;
    }
    load.goes_on(200).await;
    assert_eq!(load.end().await, []);
    proxy.stop().await;
    let text = std::fs::read_to_string(&log).expect("the access log");
    assert!(!text.contains("secret"), "no token is logged");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.len() >= 800, "{} lines, {dropped} dropped", lines.len());
    assert!(lines.iter().all(|line| line["target"] == format!("{path}/lab?a=1&token=[redacted]")));
    assert!(lines.iter().filter(|line| line["status"] == 200).count() >= 800);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let house = House::new().await;
    let (folder, target) = (tempfile::tempdir().expect("a folder"), notebook().await);
    let path = format!("/{}", house.running(target.address).await);
    let mut proxy = Process::ready(folder.path(), free(), &house.url, &["--drain-tunnels", "10m"]).await;
    let mut socket = crate::load::Socket::open(proxy.listen, &path).await;
    proxy.signal(Signal::SIGTERM);
    crate::harness::eventually("it to stop", async || (proxy.readiness().await? == 503).then_some(())).await;
    assert!(socket.echoes().await, "there is time");
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.ended().await.code(), Some(130));
    assert!(!socket.echoes().await);
}
