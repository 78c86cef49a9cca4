//! A class that presses the button at once, and is let in by and by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use slipway::clock::Clock;
use slipway::domain::line::Throttle;
use slipway::domain::{ClusterId, Command, StopReason};
use slipway::service::admission::Admission;
use sqlx::Row;

use crate::harness::{eventually, launch, subject};
use crate::house::House;
use crate::simulated::Simulated;

impl House {
    fn admit(&self, name: &str, throttle: Throttle) {
        let admission = Admission::new(self.service.clone(), subject(name), throttle);
        let (bell, stop) = (self.bell.subscribe(), self.stop.subscribe());
        tokio::spawn(async move { admission.run(bell, stop).await });
    }

    /// A launch that waits for its turn.
    async fn in_line(&self) -> ClusterId {
        let done = self.service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
        self.bell.send_replace(());
        done.cluster.id
    }

    /// Waiting, launching, running.
    async fn counts(&self) -> (i64, i64, i64) {
        let row = sqlx::query(
            "SELECT count(*) FILTER (WHERE state #>> '{phase,name}' = 'waiting'),
                    count(*) FILTER (WHERE state #>> '{phase,name}' = 'launching'),
                    count(*) FILTER (WHERE status = 'running') FROM slipway.cluster",
        )
        .fetch_one(&self.pool)
        .await
        .expect("counts");
        (row.get(0), row.get(1), row.get(2))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_of_200_is_launched_10_at_a_time_and_everybody_gets_a_cluster() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    let throttle = Throttle { at_once: 10, per_second: 0.0 };
    for name in ["worker:1", "worker:2"] {
        house.work(name, &runtime, Clock::system());
        house.admit(name, throttle);
    }
    let over = Arc::new(AtomicBool::new(false));
    let most = {
        let (pool, over) = (house.pool.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            let mut most = 0;
            while !over.load(Ordering::SeqCst) {
                let under_way =
                    "SELECT count(*) FROM slipway.cluster WHERE state #>> '{phase,name}' = 'launching'";
                let now: i64 = sqlx::query_scalar(under_way).fetch_one(&pool).await.expect("a count");
                most = most.max(now);
            }
            most
        })
    };
    // Of those who press at the same moment nobody can say who came first: of these twenty and the next there can.
    let mut ids = vec![];
    for _ in 0..10 {
        ids.extend(join_all((0..20).map(|_| house.in_line())).await);
    }
    let mut before = 0;
    while before < 200 {
        // However slow the machine is, it goes on.
        before = eventually("more of them to run", async || {
            house.bell.send_replace(());
            let (.., running) = house.counts().await;
            (running > before || running == 200).then_some(running)
        })
        .await;
    }
    over.store(true, Ordering::SeqCst);
    let most = most.await.expect("it counted");
    assert!((1..=10).contains(&most), "{most} at once");
    let went = "SELECT id FROM slipway.cluster ORDER BY admitted_at, id";
    let went: Vec<String> = sqlx::query_scalar(went).fetch_all(&house.pool).await.expect("an order");
    for (place, id) in went.iter().enumerate() {
        let came = ids.iter().position(|other| other.to_string() == *id).expect("it is of the class") / 20 * 20;
        assert!(
            (came.saturating_sub(12)..came + 32).contains(&place),
            "first come, first served: {came} went {place}"
        );
    }
    for id in ids {
        let kinds = house.kinds(id).await;
        assert_eq!(kinds[..2], ["LaunchRequested", "Admitted"]);
        assert_eq!(kinds.iter().filter(|kind| **kind == "BecameReady").count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cancels_while_waiting_is_free_at_once_and_nothing_was_started() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    runtime.mute.store(true, Ordering::SeqCst);
    house.work("worker:1", &runtime, Clock::system());
    house.admit("worker:1", Throttle { at_once: 1, per_second: 0.0 });
    let first = house.in_line().await;
    eventually("the first to be let in", async || (house.counts().await == (0, 1, 0)).then_some(())).await;
    let second = house.in_line().await;
    let third = house.in_line().await;
    house.tell(second, Command::Stop { reason: StopReason::Owner }).await;
    house.becomes(second, "stopped").await;
    assert_eq!(house.kinds(second).await, ["LaunchRequested", "StopRequested", "Removed"]);
    assert_eq!(house.service.store().line().await.expect("the line").waiting, [third]);

    runtime.mute.store(false, Ordering::SeqCst);
    house.becomes(first, "running").await;
    house.becomes(third, "running").await;
    assert!(!runtime.clusters().contains_key(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_once_it_has_admitted_a_launch_leaves_it_to_another() {
    let house = House::new().await;
    let id = house.in_line().await;
    let admission = Admission::new(house.service.clone(), subject("dying"), Throttle::FREE);
    admission.round().await.expect("admitted");
    drop(admission);
    let runtime = Simulated::sound();
    house.work("heir", &runtime, Clock::system());
    house.becomes(id, "running").await;
    assert_eq!(house.kinds(id).await[..2], ["LaunchRequested", "Admitted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_in_line_counts_neither_as_launching_nor_as_living() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    // Its launch was asked for two days ago, as far as this worker's clock goes; its lifetime is one day.
    let two_days_on = || Clock::from_fn(|| Utc::now() + TimeDelta::days(2));
    let id = house.in_line().await;
    house.work("worker:1", &runtime, two_days_on());
    house.service.store().resync(Duration::ZERO).await.expect("queued");
    house.bell.send_replace(());
    eventually("a look at it", async || house.is_quiet().await.then_some(())).await;
    let row = house.service.store().cluster(id).await.expect("an answer").expect("a row");
    assert_eq!((row.cluster.phase.status(), row.lives_since()), ("launching", None));
    assert_eq!(house.kinds(id).await, ["LaunchRequested"], "it has not failed");
    assert!(runtime.clusters().is_empty() && runtime.calls() == 0, "nothing was begun");

    house.tell(id, Command::Admit).await;
    house.becomes(id, "running").await;
    let row = house.service.store().cluster(id).await.expect("an answer").expect("a row");
    assert!(row.lives_since() == row.admitted_at && row.admitted_at > Some(row.launched_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_hangs_gives_its_place_up_when_it_has_failed() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    runtime.mute.store(true, Ordering::SeqCst);
    house.work("worker:1", &runtime, Clock::from_fn(|| Utc::now() + TimeDelta::minutes(6)));
    house.admit("worker:1", Throttle { at_once: 1, per_second: 0.0 });
    let ids = join_all((0..3).map(|_| house.in_line())).await;
    for id in ids {
        house.becomes(id, "failed").await;
    }
    house.is_tidy().await;
}
