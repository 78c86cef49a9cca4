//! A database and the workers on it.

use std::sync::Arc;
use std::time::Duration;

use slipway::clock::Clock;
use slipway::domain::{ClusterId, Command};
use slipway::service::Service;
use slipway::service::worker::{Worker, WorkerConfig};
use sqlx::{PgPool, Row};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::{NO_CAPS, database, eventually, launch, meta, subject, writer};
use crate::simulated::Simulated;

pub struct House {
    pub pool: PgPool,
    pub service: Service,
    pub stop: watch::Sender<bool>,
    pub bell: watch::Sender<()>,
    pub lease: Duration,
}

impl House {
    pub async fn new() -> Self {
        let (pool, _) = database().await;
        let service = Service::new(writer(&pool), NO_CAPS);
        let (stop, bell) = (watch::channel(false).0, watch::channel(()).0);
        Self { pool, service, stop, bell, lease: Duration::from_secs(20) }
    }

    pub fn work(&self, name: &str, runtime: &Arc<Simulated>, clock: Clock) -> JoinHandle<()> {
        let mut config = WorkerConfig::new(subject(name));
        config.lease = self.lease;
        config.drain = Duration::from_millis(300);
        let worker = Worker::new(self.service.clone(), Arc::clone(runtime), clock, config);
        tokio::spawn(worker.run(self.bell.subscribe(), self.stop.subscribe()))
    }

    /// A launch whose turn has come.
    pub async fn launched(&self) -> ClusterId {
        let done = self.service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
        let id = done.cluster.id;
        self.service.execute(id, &Command::Admit, &meta("worker:1"), None).await.expect("admitted");
        self.bell.send_replace(());
        id
    }

    /// Nothing is due, nor will be.
    pub async fn is_quiet(&self) -> bool {
        let scheduled = "SELECT count(*) FROM slipway.work WHERE due_at IS NOT NULL";
        sqlx::query_scalar::<_, i64>(scheduled).fetch_one(&self.pool).await.expect("a count") == 0
    }

    pub async fn tell(&self, id: ClusterId, command: Command) {
        self.service.execute(id, &command, &meta("alice"), None).await.expect("a command");
        self.bell.send_replace(());
    }

    /// A cluster that runs and whose first count of workers is recorded.
    pub async fn running(&self) -> ClusterId {
        let id = self.launched().await;
        self.becomes(id, "running").await;
        eventually("the first count", async || (self.kinds(id).await.len() == 6).then_some(())).await;
        id
    }

    pub async fn becomes(&self, id: ClusterId, status: &str) {
        eventually(&format!("{id} to be {status}"), async || {
            let row = self.service.store().cluster(id).await.expect("an answer")?;
            let settled = status != "running" || row.cluster.phase.status() == "running";
            (settled && row.cluster.phase.status() == status && (status == "running" || row.gone_at.is_some()))
                .then_some(())
        })
        .await;
    }

    pub async fn kinds(&self, id: ClusterId) -> Vec<&'static str> {
        let events = self.service.store().stream(id).await.expect("events");
        events.iter().map(|recorded| recorded.event.kind()).collect()
    }

    /// Nothing is charged, nothing is due, all is verified.
    pub async fn is_tidy(&self) {
        eventually("the work to be finished", async || {
            let row = sqlx::query(
                "SELECT (SELECT count(*) FROM slipway.work WHERE due_at IS NOT NULL OR parked_at IS NOT NULL),
                        (SELECT coalesce(sum(clusters + workers), 0) FROM slipway.usage)",
            )
            .fetch_one(&self.pool)
            .await
            .expect("two counts");
            (row.get::<i64, _>(0) == 0 && row.get::<i64, _>(1) == 0).then_some(())
        })
        .await;
        assert!(self.service.store().broken_chains().await.expect("a check").is_empty());
    }

    /// As if all pauses were over.
    pub async fn hurry(&self) {
        let due =
            "UPDATE slipway.work SET due_at = clock_timestamp() WHERE lease_owner IS NULL AND due_at IS NOT NULL";
        sqlx::query(due).execute(&self.pool).await.expect("hurried");
        self.bell.send_replace(());
    }

    /// The dead letter of a cluster: its last error, if it is parked.
    pub async fn parked(&self, id: ClusterId) -> Option<String> {
        let letter = "SELECT last_error FROM slipway.work WHERE stream_id = $1 AND parked_at IS NOT NULL";
        sqlx::query_scalar(letter).bind(id.to_string()).fetch_optional(&self.pool).await.expect("an answer")
    }
}
