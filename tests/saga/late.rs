//! Workers that come too late with what they saw.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slipway::clock::Clock;
use slipway::domain::{Command, Observation, StopReason};
use slipway::service::reconcile::{Patience, Verdict, reconcile};

use crate::harness::{eventually, subject};
use crate::house::House;
use crate::simulated::Simulated;

const PATIENCE: Patience = Patience { call: Duration::from_secs(20), launch: Duration::from_secs(300) };

#[tokio::test(flavor = "multi_thread")]
async fn a_late_ready_does_not_bring_a_stopped_cluster_back() {
    let house = House::new().await;
    let id = house.launched().await;
    let late = Simulated::sound();
    late.slow.store(true, Ordering::SeqCst);
    let (service, runtime) = (house.service.clone(), Arc::clone(&late));
    let pass = tokio::spawn(async move {
        reconcile(&service, &*runtime, &subject("late"), &Clock::system(), PATIENCE, id).await
    });
    eventually("the late one to have looked", async || (late.looking.load(Ordering::SeqCst) == 1).then_some(()))
        .await;
    house.tell(id, Command::Stop { reason: StopReason::Owner }).await;
    house.tell(id, Command::Report(Observation::Absent)).await;
    late.let_go.notify_one();
    assert_eq!(pass.await.expect("it ends").expect("and well"), Verdict::Settled);
    assert_eq!(house.kinds(id).await, ["LaunchRequested", "Admitted", "StopRequested", "Removed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_saw_the_same_record_it_once() {
    let house = House::new().await;
    let id = house.launched().await;
    let runtime = Simulated::sound();
    runtime.slow.store(true, Ordering::SeqCst);
    let passes: Vec<_> = ["one", "two"]
        .into_iter()
        .map(|name| {
            let (service, runtime) = (house.service.clone(), Arc::clone(&runtime));
            tokio::spawn(async move {
                reconcile(&service, &*runtime, &subject(name), &Clock::system(), PATIENCE, id).await
            })
        })
        .collect();
    eventually("both to have looked", async || (runtime.looking.load(Ordering::SeqCst) == 2).then_some(())).await;
    runtime.let_go.notify_waiters();
    for pass in passes {
        assert_eq!(pass.await.expect("it ends").expect("and well"), Verdict::Settled);
    }
    let kinds = ["LaunchRequested", "Admitted", "StepReached", "StepReached", "BecameReady", "Scaled"];
    assert_eq!(house.kinds(id).await, kinds);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_gets_its_own_lost_lease_back_ends_the_older_pass() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    runtime.hangs.store(true, Ordering::SeqCst);
    let worker = house.work("one", &runtime, Clock::system());
    let id = house.launched().await;
    eventually("it to begin", async || (runtime.starting() == 1).then_some(())).await;
    runtime.hangs.store(false, Ordering::SeqCst);
    let ran_out = "UPDATE slipway.work SET due_at = clock_timestamp()";
    sqlx::query(ran_out).execute(&house.pool).await.expect("the lease has run out");
    house.bell.send_replace(());
    house.becomes(id, "running").await;
    // Long before its patience of 20 s ends it.
    let ended = eventually("the older pass to end", async || (runtime.starting() == 0).then_some(()));
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it was stopped");
    house.stop.send_replace(true);
    worker.await.expect("it ends");
}
