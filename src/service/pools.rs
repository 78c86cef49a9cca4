//! Keeps clusters ready that nobody has asked for yet. One process at a time is on duty.
//!
//! It looks at what is there and makes it what is wanted, so that it makes no difference what was claimed meanwhile, what has
//! failed, or where the one before it was interrupted.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

use super::execute::{ExecuteError, Service};
use crate::clock::Clock;
use crate::domain::pool::{Unclaimed, Upkeep, pause, upkeep};
use crate::domain::{Command, Pool, Profile, ProfileName, Subject};
use crate::error_chain::chain;
use crate::store::append::Meta;
use crate::store::{StoreError, listen};

const DUTY: &str = "pools";
/// Between two rounds, at least: the bell rings for whatever is recorded.
const REST: Duration = Duration::from_millis(500);

pub struct Pools {
    /// Enforces the limit of all workers together: a pool's count as anybody's.
    service: Service,
    clock: Clock,
    /// The actor of what it records.
    name: Subject,
    /// Between two rounds without a bell; a third of the term of duty.
    every: Duration,
    /// Those that have a pool.
    profiles: Vec<Profile>,
    /// This process among those that would do it.
    holder: String,
}

impl Pools {
    pub fn new(
        service: Service,
        clock: Clock,
        name: Subject,
        every: Duration,
        profiles: impl IntoIterator<Item = Profile>,
    ) -> Self {
        let profiles = profiles.into_iter().filter(|profile| profile.pool.is_some()).collect();
        Self { service, clock, name, every, profiles, holder: Uuid::new_v4().to_string() }
    }

    /// Keeps the pools, whenever it is this process's turn, until `stop` is set.
    pub async fn run(&self, mut bell: watch::Receiver<()>, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            bell.borrow_and_update();
            match self.service.store().lead(DUTY, &self.holder, self.every * 3).await {
                Ok(true) => {
                    if let Err(error) = self.round().await {
                        tracing::warn!(error = %chain(&error), "a round over the pools failed");
                    }
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %chain(&error), "cannot take the duty of the pools"),
            }
            let rung = async {
                sleep(REST).await;
                // What others have left is taken away in time.
                if self.profiles.is_empty() { std::future::pending().await } else { listen::wait(&mut bell).await }
            };
            tokio::select! {
                _ = stop.changed() => {}
                () = rung => {}
                () = sleep(self.every) => {}
            }
        }
        if let Err(error) = self.service.store().resign(DUTY, &self.holder).await {
            tracing::debug!(%error, "cannot resign; the term will run out");
        }
    }

    /// One round over all pools. What cannot be done is left for the next one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn round(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let store = self.service.store();
        let pools: Vec<(&Profile, Subject, u16)> = self
            .profiles
            .iter()
            .map(|profile| {
                let wanted = profile.pool.as_ref().map_or(0, |pool: &Pool| pool.wanted(now));
                (profile, profile.pool_owner(), wanted)
            })
            .collect();
        let noted: Vec<(&ProfileName, Subject, u16)> =
            pools.iter().map(|(profile, owner, wanted)| (&profile.name, owner.clone(), *wanted)).collect();
        store.set_pools(&noted).await?;
        let mut there = store.unclaimed().await?;
        for (profile, owner, wanted) in &pools {
            let mine: Vec<Unclaimed> = there
                .extract_if(.., |(pool, _)| *pool == owner.as_str())
                .map(|(_, cluster)| Unclaimed { is_current: true, ..cluster })
                .collect();
            let todo = upkeep(*wanted, &mine, profile.limits.lifetime_seconds, now);
            self.stop(&todo).await;
            if todo.launch > 0 && self.may_launch(owner).await? {
                self.launch(profile, todo.launch).await;
            }
        }
        // Of a profile that has changed, or has no pool any more.
        let left: Vec<Unclaimed> = there.into_iter().map(|(_, cluster)| cluster).collect();
        self.stop(&upkeep(0, &left, 0, now)).await;
        Ok(())
    }

    async fn may_launch(&self, pool: &Subject) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let failed = self.service.store().pool_failures(pool, now - TimeDelta::hours(1)).await?;
        Ok(failed.last.is_none_or(|last| now >= last + pause(failed.count)))
    }

    async fn stop(&self, todo: &Upkeep) {
        for (id, reason) in &todo.stop {
            tracing::info!(cluster = %id, ?reason, "stopping a cluster that nobody has claimed");
            let command = Command::Stop { reason: reason.clone() };
            match self.service.execute(*id, &command, &Meta::by(self.name.clone()), None).await {
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(cluster = %id, error = %chain(&error), "cannot stop it; the next round will");
                }
            }
        }
    }

    async fn launch(&self, profile: &Profile, count: u16) {
        for _ in 0..count {
            let launched = self.service.launch(profile.stock(), Meta::by(self.name.clone()), None).await;
            match launched {
                Ok(done) => {
                    tracing::info!(cluster = %done.cluster.id, profile = %profile.name, "launching one to be ready")
                }
                Err(ExecuteError::Store(StoreError::OverLimit(limit))) => {
                    return tracing::info!(profile = %profile.name, "no more can be kept ready: as many {limit} as may be");
                }
                Err(error) => {
                    return tracing::warn!(profile = %profile.name, error = %chain(&error), "cannot launch for a pool; the next round will");
                }
            }
        }
    }
}
