//! What fails again and again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use slipway::clock::Clock;
use slipway::domain::{Command, Event, ParkReason, StopReason};

use crate::harness::eventually;
use crate::house::House;
use crate::simulated::Simulated;

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_failed_8_times_has_failed_with_its_error_and_is_removed() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    runtime.down.store(true, Ordering::SeqCst);
    house.work("one", &runtime, Clock::system());
    let id = house.launched().await;
    let why = eventually("the launch to fail", async || {
        house.hurry().await;
        let events = house.service.store().stream(id).await.expect("events");
        events.into_iter().find_map(|recorded| match recorded.event {
            Event::LaunchFailed { why } => Some(why),
            _ => None,
        })
    })
    .await;
    let begins = format!("it could not be set up, 8 times in a row: start of {id} went wrong: call 8 was to fail");
    assert_eq!(why, begins);
    eventually("the removal to be tried", async || {
        house.hurry().await;
        (runtime.calls() > 9).then_some(())
    })
    .await;
    runtime.down.store(false, Ordering::SeqCst);
    eventually("the end", async || {
        house.hurry().await;
        (house.kinds(id).await == ["LaunchRequested", "Admitted", "LaunchFailed", "Removed"]).then_some(())
    })
    .await;
    house.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_failed_8_times_is_parked_with_its_error_and_tried_again_at_the_next_resync() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    house.work("one", &runtime, Clock::system());
    let id = house.launched().await;
    house.becomes(id, "running").await;
    runtime.down.store(true, Ordering::SeqCst);
    house.tell(id, Command::Stop { reason: StopReason::Owner }).await;
    let letter = eventually("the removal to be given up", async || {
        house.hurry().await;
        house.parked(id).await
    })
    .await;
    assert!(letter.starts_with(&format!("removal of {id} went wrong: call ")), "{letter}");
    assert!(house.is_quiet().await, "it is not tried meanwhile");
    assert!(runtime.clusters().contains_key(&id), "it is still there");
    let given_up = async || {
        let events = house.service.store().stream(id).await.expect("events");
        events.into_iter().filter(|recorded| recorded.event.kind() == "Parked").collect::<Vec<_>>()
    };
    let told = eventually("the log to tell of it", async || given_up().await.pop()).await;
    let why = format!("it could not be removed, 8 times in a row: {letter}");
    assert_eq!(told.event, Event::Parked { reason: ParkReason::Failed { why } });
    assert_eq!((told.actor.as_str(), told.causation.is_some()), ("one", true));

    let calls = runtime.calls();
    house.service.store().resync(Duration::ZERO).await.expect("queued");
    house.bell.send_replace(());
    eventually("the next failure", async || {
        (runtime.calls() > calls).then_some(())?;
        house.parked(id).await
    })
    .await;
    let ids: Vec<_> = given_up().await.iter().map(|recorded| recorded.event_id).collect();
    assert_eq!(ids, [told.event_id], "the log is told once");

    runtime.down.store(false, Ordering::SeqCst);
    house.service.store().resync(Duration::ZERO).await.expect("queued");
    house.bell.send_replace(());
    house.becomes(id, "stopped").await;
    assert!(runtime.clusters().is_empty());
    house.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_parking_and_giving_up_leaves_no_launch_behind_for_ever() {
    let house = House::new().await;
    let id = house.launched().await;
    let lease = house.service.store().claim("dying", 1, Duration::from_secs(60)).await.expect("a claim").remove(0);
    assert!(house.service.store().fail(&lease, "no room", Duration::ZERO, true).await.expect("parked"));
    let runtime = Simulated::sound();
    house.work("heir", &runtime, Clock::system());
    house.service.store().resync(Duration::ZERO).await.expect("queued");
    house.bell.send_replace(());
    house.becomes(id, "running").await;
    assert_eq!(house.parked(id).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_runs_and_can_no_longer_be_kept_up_is_stopped_with_the_reason() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    house.work("one", &runtime, Clock::system());
    let id = house.running().await;
    runtime.refuses.store(true, Ordering::SeqCst);
    house.tell(id, Command::Scale { workers: crate::harness::workers(3) }).await;
    house.becomes(id, "stopped").await;
    let events = house.service.store().stream(id).await.expect("events");
    let reason = StopReason::Failed { why: "there is no such image".to_owned() };
    assert!(events.iter().any(|recorded| recorded.event == Event::StopRequested { reason: reason.clone() }));
    house.is_tidy().await;
}
