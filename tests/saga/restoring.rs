//! What ran the clusters is lost behind slipway's back; they come back from the log alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use slipway::clock::Clock;
use slipway::domain::{ClusterId, Command, StopReason};
use slipway::service::restore::{Progress, Restore};
use sqlx::Row;

use crate::harness::{eventually, workers};
use crate::house::House;
use crate::simulated::Simulated;

impl House {
    /// As the log has them, nothing being due.
    async fn all_settled(&self) {
        eventually("all passes to be over", async || {
            let due = "SELECT count(*) FROM slipway.work WHERE due_at IS NOT NULL";
            let due: i64 = sqlx::query_scalar(due).fetch_one(&self.pool).await.expect("a count");
            (due == 0).then_some(())
        })
        .await;
    }

    async fn claims(&self, id: ClusterId) -> i64 {
        let claims = "SELECT lease_token FROM slipway.work WHERE stream_id = $1";
        sqlx::query(claims).bind(id.to_string()).fetch_one(&self.pool).await.expect("a row").get(0)
    }

    async fn restore(&self) -> Restore {
        Restore::begin(self.service.store().clone()).await.expect("begun")
    }
}

async fn over(restore: &mut Restore) -> Progress {
    eventually("all to be back, failed or stopped", async || {
        restore.look().await.expect("an answer");
        restore.is_over().then_some(restore.progress())
    })
    .await
}

fn progress(clusters: usize, back: usize, failed: usize, stopped: usize) -> Progress {
    Progress { clusters, back, failed, stopped }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_live_clusters_come_back_with_their_ids_and_sizes_once_a_worker_has_seen_to_them() {
    let (house, runtime) = (House::new().await, Simulated::sound());
    let worker = house.work("worker:one", &runtime, Clock::system());
    let [first, second, third] = [house.running().await, house.running().await, house.running().await];
    house.tell(second, Command::Scale { workers: workers(4) }).await;
    house.tell(third, Command::Stop { reason: StopReason::Owner }).await;
    house.becomes(third, "stopped").await;
    house.all_settled().await;
    house.stop.send_replace(true);
    worker.await.expect("the worker ends");
    runtime.world().clear();

    let mut restore = house.restore().await;
    restore.look().await.expect("an answer");
    assert_eq!(restore.progress(), progress(2, 0, 0, 0), "the log says that they run, but nobody has looked");
    assert!(!restore.is_taken() && !restore.is_over());
    let why: Vec<_> = restore.missing().into_iter().map(|missing| missing.why).collect();
    assert_eq!(why, ["no worker has seen to it yet"; 2]);

    house.stop.send_replace(false);
    house.work("worker:two", &runtime, Clock::system());
    assert_eq!(over(&mut restore).await, progress(2, 2, 0, 0));
    assert!(restore.is_taken() && restore.missing().is_empty());
    assert_eq!(runtime.clusters(), HashMap::from([(first, 2), (second, 4)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_began_before_the_loss_does_not_count() {
    let (house, runtime) = (House::new().await, Simulated::sound());
    house.work("worker:one", &runtime, Clock::system());
    let id = house.running().await;
    house.all_settled().await;
    // A pass sees the cluster, and tells only after it is lost.
    runtime.slow.store(true, Ordering::SeqCst);
    house.service.store().touch(&[id]).await.expect("hinted");
    let looking = async |runtime: &Arc<Simulated>| {
        eventually("a pass to look", async || (runtime.looking.load(Ordering::SeqCst) == 1).then_some(())).await;
    };
    looking(&runtime).await;
    runtime.world().clear();
    let (mut restore, before) = (house.restore().await, house.claims(id).await);
    runtime.let_go.notify_one();
    eventually("one more pass", async || (house.claims(id).await > before).then_some(())).await;
    looking(&runtime).await;
    restore.look().await.expect("an answer");
    assert_eq!(restore.progress(), progress(1, 0, 0, 0));
    assert_eq!(restore.missing()[0].why, "it is being started");
    runtime.slow.store(false, Ordering::SeqCst);
    runtime.let_go.notify_one();
    assert_eq!(over(&mut restore).await, progress(1, 1, 0, 0));
    assert_eq!(runtime.clusters(), HashMap::from([(id, 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_come_back_is_told_with_its_reason_and_what_was_stopped_is_not_missed() {
    let (house, runtime) = (House::new().await, Simulated::sound());
    let worker = house.work("worker:one", &runtime, Clock::system());
    let [refused, stopped] = [house.running().await, house.running().await];
    house.all_settled().await;
    house.stop.send_replace(true);
    worker.await.expect("the worker ends");
    runtime.world().clear();
    runtime.refuses.store(true, Ordering::SeqCst);
    let mut restore = house.restore().await;
    house.tell(stopped, Command::Stop { reason: StopReason::Owner }).await;
    house.stop.send_replace(false);
    house.work("worker:two", &runtime, Clock::system());
    assert_eq!(over(&mut restore).await, progress(2, 0, 1, 1));
    let missing = restore.missing();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].cluster, refused);
    assert!(missing[0].why.to_lowercase().contains("there is no such image"), "{}", missing[0].why);
}
