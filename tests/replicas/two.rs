//! Two proxies on one log, behind a balancer.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::balancer::Balancer;
use crate::harness::eventually;
use crate::house::House;
use crate::load::{Load, Socket, notebook};
use crate::process::{Process, free};

/// A WebSocket through the first, and one through the second.
async fn on_each(balancer: &Balancer, path: &str) -> [Socket; 2] {
    let (mut first, mut second) = (None, None);
    loop {
        let socket = Socket::open(balancer.address, path).await;
        match balancer.whose(socket.port()) {
            Some(0) => first = Some(socket),
            _ => second = Some(socket),
        }
        if first.is_some() && second.is_some() {
            return [first, second].map(|socket| socket.expect("one of each"));
        }
    }
}

const DRAIN: [&str; 4] = ["--drain-tunnels", "1s", "--threads", "2"];

#[tokio::test(flavor = "multi_thread")]
async fn both_have_each_change_as_soon_as_it_is_committed() {
    let house = House::new().await;
    let (folder, target) = (tempfile::tempdir().expect("a folder"), notebook().await);
    let start = || Process::ready(folder.path(), free(), &house.url, &[]);
    let proxies = [start().await, start().await];
    let mut took = Vec::new();
    for _ in 0..9 {
        let id = house.running(target.address).await;
        let committed = Instant::now();
        for proxy in &proxies {
            eventually("the route", async || proxy.has_route(&format!("/{id}")).await.then_some(())).await;
        }
        took.push(committed.elapsed());
        house.stop(id).await;
        for proxy in &proxies {
            eventually("its end", async || (!proxy.has_route(&format!("/{id}")).await).then_some(())).await;
        }
    }
    took.sort();
    // Far less than the second after which a proxy looks unasked: on a busy machine, too.
    assert!(took[took.len() / 2] < Duration::from_millis(500), "{took:?}");
    for proxy in proxies {
        eventually("it to have the whole log", async || {
            (proxy.metric("log_lag_seconds").await? == 0.0 && proxy.metric("log_lag_events").await? == 0.0)
                .then_some(())
        })
        .await;
        proxy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_is_killed_only_what_it_was_at_fails_and_it_comes_back_with_all_routes() {
    let house = House::new().await;
    let (folder, target) = (tempfile::tempdir().expect("a folder"), notebook().await);
    let path = format!("/{}", house.running(target.address).await);
    let start = |listen| Process::ready(folder.path(), listen, &house.url, &DRAIN);
    let (mut first, second) = (start(free()).await, start(free()).await);
    let balancer = Balancer::over(vec![first.listen, second.listen]).await;
    let load = Load::on(balancer.address, &path, 16);
    let [mut of_first, mut of_second] = on_each(&balancer, &path).await;
    assert!(of_first.echoes().await && of_second.echoes().await, "WebSockets work through both");
    load.goes_on(200).await;

    first.signal(Signal::SIGKILL);
    first.ended().await;
    load.goes_on(400).await;
    assert!(!of_first.echoes().await && of_second.echoes().await, "what the other carries goes on");
    let other = format!("/{}", house.running(target.address).await);
    let first = start(first.listen).await;
    assert!(
        first.has_route(&path).await && first.has_route(&other).await,
        "all routes before it says it is ready"
    );
    load.goes_on(400).await;
    assert!(first.metric("requests_total{class=\"2xx\"}").await > Some(0.0), "it has its part of the load again");
    for (port, why) in load.end().await {
        assert_eq!(balancer.whose(port), Some(0), "a request that the other had failed: {why}");
    }
    drop(of_second);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_restarted_one_after_the_other_and_no_request_fails() {
    let house = House::new().await;
    let (folder, target) = (tempfile::tempdir().expect("a folder"), notebook().await);
    let path = format!("/{}", house.running(target.address).await);
    let start = |listen| Process::ready(folder.path(), listen, &house.url, &DRAIN);
    let mut proxies = vec![start(free()).await, start(free()).await];
    let balancer = Balancer::over(proxies.iter().map(|proxy| proxy.listen).collect()).await;
    let load = Load::on(balancer.address, &path, 16);
    for which in 0..2 {
        let mut sockets = on_each(&balancer, &path).await;
        load.goes_on(200).await;
        let old = proxies.remove(0);
        old.signal(Signal::SIGTERM);
        eventually("it to say that it stops", async || (old.readiness().await? == 503).then_some(())).await;
        let listen = old.listen;
        old.finishes().await;
        // It has let its own live for as long as it was told; those of the other replica go on.
        assert!(!sockets[which].echoes().await && sockets[1 - which].echoes().await, "round {which}");
        load.goes_on(200).await;
        proxies.push(start(listen).await);
        load.goes_on(200).await;
    }
    assert_eq!(load.end().await, []);
    for proxy in proxies {
        proxy.stop().await;
    }
}
