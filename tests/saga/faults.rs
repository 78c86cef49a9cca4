//! Workers that fail, hang, die and come too late.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use slipway::clock::Clock;
use slipway::domain::{Command, StopReason};
use slipway::store::Store;

use crate::harness::{eventually, workers};
use crate::house::House;
use crate::simulated::Simulated;

const WHOLE: [&str; 10] = [
    "LaunchRequested",
    "Admitted",
    "StepReached",
    "StepReached",
    "BecameReady",
    "Scaled",
    "ScaleRequested",
    "Scaled",
    "StopRequested",
    "Removed",
];

/// From the click to nothing left, under a runtime whose `fails_at`-th call fails; returns how many calls it took.
async fn a_life(fails_at: u64) -> u64 {
    let house = House::new().await;
    let runtime = Simulated::failing_at(fails_at);
    let worker = house.work("one", &runtime, Clock::system());
    let id = house.launched().await;
    house.becomes(id, "running").await;
    house.tell(id, Command::Scale { workers: workers(5) }).await;
    eventually("5 workers", async || (runtime.clusters().get(&id) == Some(&5)).then_some(())).await;
    eventually("the count to be recorded", async || (house.kinds(id).await.len() == 8).then_some(())).await;
    house.tell(id, Command::Stop { reason: StopReason::Owner }).await;
    house.becomes(id, "stopped").await;
    assert_eq!(house.kinds(id).await, WHOLE, "with call {fails_at} failing");
    assert!(runtime.clusters().is_empty());
    house.is_tidy().await;
    house.stop.send_replace(true);
    worker.await.expect("the worker ends when told to");
    runtime.calls()
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_effect_fails_once_the_story_is_the_same() {
    let calls = a_life(0).await;
    assert!(calls >= 6, "start, look, scale, look, remove, look: {calls}");
    join_all((1..=calls).map(a_life)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_again_at_what_is_as_it_should_be_records_nothing_and_repairs_what_is_not() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    house.work("one", &runtime, Clock::system());
    let id = house.running().await;
    for _ in 0..3 {
        let before = runtime.calls();
        house.service.store().touch(&[id]).await.expect("queued");
        house.bell.send_replace(());
        eventually("one more look", async || (runtime.calls() >= before + 2).then_some(())).await;
    }
    assert_eq!(house.kinds(id).await.len(), 6, "nothing new");
    runtime.world().remove(&id);
    eventually("the queue to be quiet", async || house.is_quiet().await.then_some(())).await;
    house.service.store().resync(Duration::ZERO).await.expect("queued");
    house.bell.send_replace(());
    eventually("the repair", async || (runtime.clusters().get(&id) == Some(&2)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_worker_had_begun_another_one_ends_after_the_lease() {
    let mut house = House::new().await;
    house.lease = Duration::from_millis(600);
    let (stuck, sound) = (Simulated::sound(), Simulated::sound());
    stuck.hangs.store(true, Ordering::SeqCst);
    let dying = house.work("dying", &stuck, Clock::system());
    let id = house.launched().await;
    eventually("the first to begin", async || (stuck.most_at_once.load(Ordering::SeqCst) == 1).then_some(()))
        .await;
    house.work("heir", &sound, Clock::system());
    assert!(sound.clusters().is_empty(), "not while the lease is kept up");
    dying.abort();
    house.becomes(id, "running").await;
    assert_eq!(sound.most_at_once.load(Ordering::SeqCst), 1);
    let first: Vec<_> = house.kinds(id).await.into_iter().take(5).collect();
    assert_eq!(first, WHOLE[..5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_gives_its_work_back_at_once() {
    let house = House::new().await;
    let stuck = Simulated::sound();
    stuck.hangs.store(true, Ordering::SeqCst);
    let worker = house.work("one", &stuck, Clock::system());
    house.launched().await;
    eventually("it to begin", async || (stuck.most_at_once.load(Ordering::SeqCst) == 1).then_some(())).await;
    house.stop.send_replace(true);
    worker.await.expect("it ends");
    let free = house.service.store().claim("next", 1, Duration::from_secs(1)).await.expect("a claim");
    assert_eq!(free.len(), 1, "the lease of 20 s need not run out");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_work_fails_with_its_reason_and_is_removed() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    runtime.refuses.store(true, Ordering::SeqCst);
    house.work("one", &runtime, Clock::system());
    let id = house.launched().await;
    house.becomes(id, "failed").await;
    assert_eq!(house.kinds(id).await, ["LaunchRequested", "Admitted", "LaunchFailed", "Removed"]);
    let row = Store::over(house.pool.clone()).launches(Default::default(), 1).await.expect("a row").remove(0);
    assert_eq!(row.failure.as_deref(), Some("there is no such image"));
    house.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_takes_too_long_has_failed() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    runtime.mute.store(true, Ordering::SeqCst);
    house.work("one", &runtime, Clock::from_fn(|| Utc::now() + TimeDelta::minutes(6)));
    let id = house.launched().await;
    house.becomes(id, "failed").await;
    assert_eq!(house.kinds(id).await, ["LaunchRequested", "Admitted", "StepReached", "LaunchFailed", "Removed"]);
    assert!(runtime.clusters().is_empty());
    house.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_never_start_the_same_cluster_at_once() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    for name in ["one", "two", "three"] {
        house.work(name, &runtime, Clock::system());
    }
    let ids = join_all((0..20).map(|_| house.launched())).await;
    for id in ids {
        house.becomes(id, "running").await;
        let starts = house.kinds(id).await.into_iter().filter(|kind| *kind == "BecameReady").count();
        assert_eq!(starts, 1);
    }
}
