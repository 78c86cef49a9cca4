//! Clusters that an organiser has put aside.

use std::sync::Arc;
use std::time::Duration;

use slipway::clock::Clock;
use slipway::domain::{ClusterId, Command, ParkReason};

use crate::harness::{eventually, workers};
use crate::house::House;
use crate::simulated::Simulated;

/// A cluster that runs and was put aside, which a worker has taken note of.
async fn put_aside(house: &House, runtime: &Arc<Simulated>) -> ClusterId {
    house.work("one", runtime, Clock::system());
    let id = house.running().await;
    let why = "the node is being repaired".to_owned();
    house.tell(id, Command::Park { reason: ParkReason::Admin { why } }).await;
    eventually("the work to be put aside", async || {
        let sql = "SELECT stream_id FROM slipway.work WHERE parked_at IS NOT NULL AND due_at IS NULL";
        sqlx::query_scalar::<_, String>(sql).fetch_optional(&house.pool).await.expect("an answer")
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_aside_is_left_alone_until_it_is_requeued() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    let id = put_aside(&house, &runtime).await;
    let letters = house.service.store().dead_letters().await.expect("letters");
    let letter = &letters[0];
    assert_eq!((letters.len(), letter.cluster, letter.attempts), (1, id, 0));
    assert_eq!(letter.by.as_deref(), Some("alice"));
    assert_eq!(letter.why.as_deref(), Some("the node is being repaired"));

    runtime.world().remove(&id);
    house.service.store().touch(&[id]).await.expect("hinted");
    house.service.store().resync(Duration::ZERO).await.expect("queued");
    assert!(house.service.store().make_live_due().await.expect("queued").iter().all(|(due, _)| *due != id));
    house.bell.send_replace(());
    // By the time another one has come up all that was due has been seen to.
    house.running().await;
    assert!(!runtime.clusters().contains_key(&id), "nobody has brought it back");
    assert_eq!(house.service.store().dead_letters().await.expect("letters"), letters);

    house.tell(id, Command::Requeue { why: None }).await;
    eventually("it to be brought back", async || runtime.clusters().contains_key(&id).then_some(())).await;
    assert_eq!(house.service.store().dead_letters().await.expect("letters"), vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_wants_something_of_it_ends_that() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    let id = put_aside(&house, &runtime).await;
    house.tell(id, Command::Scale { workers: workers(5) }).await;
    eventually("the workers", async || (runtime.clusters().get(&id) == Some(&5)).then_some(())).await;
    assert_eq!(house.service.store().dead_letters().await.expect("letters"), vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_lost_learns_from_the_log_what_was_put_aside() {
    let house = House::new().await;
    let runtime = Simulated::sound();
    let id = put_aside(&house, &runtime).await;
    let calls = runtime.calls();
    sqlx::raw_sql("DELETE FROM slipway.work").execute(&house.pool).await.expect("lost");
    house.service.store().rebuild(&[id]).await.expect("rebuilt");
    house.bell.send_replace(());
    eventually("it to be put aside again", async || {
        let letters = house.service.store().dead_letters().await.expect("letters");
        let work = house.service.store().work(id).await.expect("an answer")?;
        (letters.len() == 1 && work.parked_at.is_some()).then_some(())
    })
    .await;
    assert_eq!(runtime.calls(), calls, "and nobody has touched it");
}
