//! Takes away what nobody uses, and looks after what was forgotten. One at a time is on duty.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::execute::Service;
use crate::clock::Clock;
use crate::domain::{ClusterId, Command, Endpoint, IdleEvidence, Phase, StopReason, Subject};
use crate::error_chain::chain;
use crate::runtime::Runtime;
use crate::store::append::Meta;
use crate::store::clusters::ClusterRow;

const DUTY: &str = "keeper";

/// How often the keeper does what.
#[derive(Debug, Clone)]
pub struct KeeperConfig {
    /// The actor of what it records.
    pub name: Subject,
    /// Between two rounds; a third of the term of duty.
    pub every: Duration,
    /// Between two times that all live clusters are looked at whether or not anything is known to be wrong.
    pub resync: Duration,
    /// When use could first be seen. What went before does not count as idle: nobody can use a cluster
    /// while slipway is stopped.
    pub watching_since: DateTime<Utc>,
}

pub struct Keeper<R> {
    service: Service,
    runtime: Arc<R>,
    clock: Clock,
    config: KeeperConfig,
    /// This process among those that would do it.
    holder: String,
}

impl<R: Runtime> Keeper<R> {
    pub fn new(service: Service, runtime: Arc<R>, clock: Clock, config: KeeperConfig) -> Self {
        Self { service, runtime, clock, config, holder: Uuid::new_v4().to_string() }
    }

    /// Keeps, whenever it is this process's turn, until `stop` is set.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let (mut resync_at, mut epoch) = (Instant::now(), None);
        while !*stop.borrow() {
            match self.service.store().lead(DUTY, &self.holder, self.config.every * 3).await {
                Ok(true) => {
                    let mut resync = None;
                    if Instant::now() >= resync_at {
                        resync_at = Instant::now() + self.config.resync;
                        resync = Some(self.config.resync / 10);
                    }
                    if let Err(error) = self.round(resync, &mut epoch).await {
                        tracing::warn!(error = %format!("{error:#}"), "a round of the keeper failed");
                    }
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %chain(&error), "cannot take the keeper's duty"),
            }
            tokio::select! {
                _ = stop.changed() => {}
                () = sleep(self.config.every) => {}
            }
        }
        if let Err(error) = self.service.store().resign(DUTY, &self.holder).await {
            tracing::debug!(%error, "cannot resign; the term will run out");
        }
    }

    /// One round over the log's partitions and all clusters. A cluster that cannot be judged is left for the next one. `resync` is within
    /// what time all clusters are to be looked at, if they are; in another epoch than that of the last round they are looked at
    /// at once, since the log may have lost what was done by it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn round(&self, resync: Option<Duration>, epoch: &mut Option<i16>) -> anyhow::Result<()> {
        let store = self.service.store();
        let now = store.horizon().await?.epoch();
        let goes_on = *epoch.get_or_insert(now) == now;
        store.extend_log().await?;
        for row in store.live().await? {
            if let Some(reason) = self.judge(&row).await {
                self.stop(row.cluster.id, reason).await;
            }
        }
        if let Some(spread) = if goes_on { resync } else { Some(Duration::ZERO) } {
            let queued = store.resync(spread).await?;
            *epoch = Some(now);
            tracing::debug!(queued, "all clusters that are not gone will be looked at");
            self.sweep_orphans().await?;
            store.tidy().await?;
        }
        Ok(())
    }

    async fn judge(&self, row: &ClusterRow) -> Option<StopReason> {
        let now = self.clock.now();
        let limits = row.cluster.limits;
        let launched_at = row.lives_since()?;
        if is_over(launched_at, limits.lifetime_seconds, now) {
            return Some(StopReason::Expired { launched_at, lifetime_seconds: limits.lifetime_seconds });
        }
        let endpoint = row.cluster.phase.endpoint()?;
        let idle_since = row.idle_since()?;
        if !is_over(idle_since.max(self.config.watching_since), limits.idle_seconds, now) {
            return None;
        }
        self.idle(row.cluster.id, endpoint, idle_since, limits.idle_seconds, now).await.map(StopReason::Idle)
    }

    /// Nobody came through the proxy for long enough. Is anything at work inside?
    async fn idle(
        &self,
        id: ClusterId,
        endpoint: &Endpoint,
        idle_since: DateTime<Utc>,
        limit_seconds: u32,
        now: DateTime<Utc>,
    ) -> Option<IdleEvidence> {
        let activity = match self.runtime.activity(id, endpoint).await {
            Ok(Some(activity)) => activity,
            Ok(None) => {
                // Not running, so nothing is at work in it.
                return Some(IdleEvidence {
                    last_activity: idle_since,
                    limit_seconds,
                    kernels: 0,
                    tasks_in_flight: None,
                });
            }
            Err(error) => {
                tracing::warn!(cluster = %id, error = %chain(&error), "cannot tell whether it is busy; it stays");
                return None;
            }
        };
        let inside = activity.last_kernel_activity.max(activity.last_terminal_activity);
        let last_activity = idle_since.max(inside.unwrap_or(idle_since));
        let at_work = activity.busy_kernels > 0 || activity.tasks_in_flight > 0;
        (!at_work && is_over(last_activity, limit_seconds, now)).then_some(IdleEvidence {
            last_activity,
            limit_seconds,
            kernels: activity.kernels,
            tasks_in_flight: Some(activity.tasks_in_flight),
        })
    }

    async fn stop(&self, id: ClusterId, reason: StopReason) {
        tracing::info!(cluster = %id, ?reason, "stopping a cluster");
        let meta = Meta::by(self.config.name.clone());
        if let Err(error) = self.service.execute(id, &Command::Stop { reason }, &meta, None).await {
            tracing::warn!(cluster = %id, error = %chain(&error), "cannot stop a cluster; the next round will");
        }
    }

    /// Removes what the runtime has of clusters that the log does not want: left over from a lost log,
    /// or from a removal that was interrupted.
    async fn sweep_orphans(&self) -> anyhow::Result<()> {
        for id in self.runtime.list().await? {
            let known = match self.service.store().load(id).await {
                Err(error) if error.is_unreadable() => {
                    tracing::warn!(cluster = %id, error = %chain(&error), "cannot tell whether it is wanted; it stays");
                    continue;
                }
                outcome => outcome?.cluster,
            };
            let unwanted = known.is_none_or(|cluster| matches!(cluster.phase, Phase::Gone { .. }));
            if unwanted {
                tracing::warn!(cluster = %id, "removing what is left of a cluster that the log does not want");
                if let Err(error) = self.runtime.delete(id).await {
                    tracing::warn!(cluster = %id, error = %chain(&error), "cannot remove it; the next sweep will");
                }
            }
        }
        Ok(())
    }
}

/// Whether a limit in seconds has passed since a time. 0 is no limit.
fn is_over(since: DateTime<Utc>, limit_seconds: u32, now: DateTime<Utc>) -> bool {
    limit_seconds > 0 && (now - since).num_seconds() >= i64::from(limit_seconds)
}
