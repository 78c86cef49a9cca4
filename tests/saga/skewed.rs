//! Workers whose clocks do not agree.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use slipway::clock::Clock;
use slipway::domain::{Command, StopReason};

use crate::harness::eventually;
use crate::house::House;
use crate::simulated::Simulated;

fn ahead_by(seconds: i64) -> Clock {
    Clock::from_fn(move || Utc::now() + TimeDelta::seconds(seconds))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_a_day_ahead_takes_no_lease_early_and_whoever_is_behind_none_late() {
    let mut house = House::new().await;
    house.lease = Duration::from_millis(900);
    let (stuck, sound) = (Simulated::sound(), Simulated::sound());
    stuck.hangs.store(true, Ordering::SeqCst);
    let behind = house.work("behind", &stuck, ahead_by(-86_400));
    let id = house.launched().await;
    eventually("it to begin", async || (stuck.starting() == 1).then_some(())).await;
    house.work("ahead", &sound, ahead_by(86_400));
    // Three times as long as the lease lasts without a heartbeat.
    let mut beats = std::collections::BTreeSet::new();
    eventually("the lease to be kept up", async || {
        let row = "SELECT due_at, lease_owner FROM slipway.work";
        let (due, owner): (chrono::DateTime<Utc>, Option<String>) =
            sqlx::query_as(row).fetch_one(&house.pool).await.expect("a row");
        assert_eq!(owner.as_deref(), Some("behind"));
        beats.insert(due);
        (beats.len() > 9).then_some(())
    })
    .await;
    assert_eq!(sound.calls(), 0);
    behind.abort();
    // For the one who is a day ahead the launch takes a day too long; but it is there.
    house.becomes(id, "running").await;
    assert_eq!(sound.clusters().keys().collect::<Vec<_>>(), [&id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_minutes_more_or_less_change_nothing() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    for (name, ahead) in [("ahead", 120), ("behind", -120)] {
        house.work(name, &runtime, ahead_by(ahead));
    }
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(house.launched().await);
    }
    for id in &ids {
        house.becomes(*id, "running").await;
        house.tell(*id, Command::Stop { reason: StopReason::Owner }).await;
    }
    for id in ids {
        house.becomes(id, "stopped").await;
        let kinds = house.kinds(id).await;
        let versions = house.service.store().stream(id).await.expect("events");
        assert!(
            versions.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at),
            "the server's clock alone"
        );
        assert_eq!(kinds.last(), Some(&"Removed"));
        assert_eq!(kinds.iter().filter(|kind| **kind == "BecameReady").count(), 1, "{kinds:?}");
    }
    house.is_tidy().await;
}
