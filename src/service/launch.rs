//! A launch: the command that makes its own name, or takes what a pool keeps ready.

use tokio::time::Instant;

use super::execute::{ExecuteError, Executed, Service};
use crate::domain::{Claim, ClusterId, Command, Launch, Refusal, Subject};
use crate::store::append::{Meta, RequestKey};

/// Names tried before the service gives up; the later ones are longer.
const TRIES: u32 = 8;
/// Clusters of a pool that others may have been faster to claim, before one is launched.
const CLAIMS: u32 = 20;

impl Service {
    /// Launches a cluster under a random free name, or answers with the earlier one if the key was used before.
    ///
    /// # Errors
    /// As [`Service::execute`].
    pub async fn launch(
        &self,
        launch: Launch,
        by: impl Into<Meta>,
        key: Option<&RequestKey>,
    ) -> Result<Executed, ExecuteError> {
        let (meta, command) = (by.into(), Command::Launch(launch));
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.execute(random_name(attempt), &command, &meta, key).await {
                Err(ExecuteError::Refused(Refusal::Exists(_))) if attempt < TRIES => {}
                outcome => return outcome,
            }
        }
    }

    /// The same, but takes a cluster that the pool keeps ready, if there is one.
    ///
    /// # Errors
    /// As [`Service::execute`].
    pub async fn claim_or_launch(
        &self,
        launch: Launch,
        pool: Option<Subject>,
        by: impl Into<Meta>,
        key: Option<&RequestKey>,
    ) -> Result<Executed, ExecuteError> {
        let meta = by.into();
        let Some(pool) = pool else { return self.launch(launch, meta, key).await };
        let (began, profile) = (Instant::now(), launch.profile.clone());
        let Launch { owner, workers, access, .. } = launch.clone();
        let command = Command::Claim(Claim { pool: pool.clone(), owner, workers, access });
        for _ in 0..CLAIMS {
            let Some(taken) = self.shelf.take(self.store(), &pool).await? else { break };
            match self.execute(taken.id(), &command, &meta, key).await {
                // Another process was faster, or it is no longer as it should be: the next one may do.
                Err(ExecuteError::Refused(Refusal::NotClaimable(_)) | ExecuteError::Busy(_)) => {}
                outcome => {
                    if outcome.as_ref().is_ok_and(|done| !done.repeated) {
                        self.meters().claimed(&profile, began.elapsed());
                    }
                    return outcome;
                }
            }
        }
        let outcome = self.launch(launch, meta, key).await;
        if outcome.as_ref().is_ok_and(|done| !done.repeated) {
            self.meters().pool_was_empty(&profile);
        }
        outcome
    }
}

/// Six digits at first; three more after some collisions, which only a very full house has.
fn random_name(attempt: u32) -> ClusterId {
    let (least, most) = if attempt <= 3 { (100_000, 999_999) } else { (100_000_000, 999_999_999) };
    ClusterId::from_number(rand::random_range(least..=most)).expect("both ranges have valid numbers only")
}
