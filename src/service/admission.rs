//! Lets launches in, owners taking turns, as fast as the pace allows. Every worker's process does it; the append
//! of each admission enforces the pace over all of them.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::execute::{ExecuteError, Service};
use super::reconcile::meta;
use crate::domain::line::Throttle;
use crate::domain::{Command, Subject};
use crate::error_chain::chain;
use crate::store::{Limit, StoreError, listen};

/// While others wait, there is another look at least so often and at most so often.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

pub struct Admission {
    service: Service,
    /// The actor of what it records.
    name: Subject,
    throttle: Throttle,
}

impl Admission {
    pub fn new(service: Service, name: Subject, throttle: Throttle) -> Self {
        Self { service, name, throttle }
    }

    /// Admits, until `stop` is set.
    pub async fn run(&self, mut bell: watch::Receiver<()>, mut stop: watch::Receiver<bool>) {
        let mut known = false;
        while !*stop.borrow() {
            bell.borrow_and_update();
            let round = async {
                if !known {
                    self.service.store().set_throttle(self.throttle).await?;
                    known = true;
                }
                self.round().await
            };
            let wait = match round.await {
                // The bell rings for places, but not for the time that passes.
                Ok(true) if self.throttle.per_second > 0.0 => {
                    Duration::from_secs_f64(1.0 / self.throttle.per_second.max(0.5)).clamp(LOOK.0, LOOK.1)
                }
                Ok(_) => listen::POLL,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot admit launches; trying again");
                    listen::POLL
                }
            };
            tokio::select! {
                _ = stop.changed() => {}
                () = listen::wait(&mut bell) => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Admits those whose turn it is; whether others have to wait on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn round(&self) -> Result<bool, ExecuteError> {
        let turn = self.service.store().turn().await?;
        let mut room = turn.room;
        if room == 0 {
            return Ok(turn.any);
        }
        for id in turn.line {
            if room == 0 {
                return Ok(true);
            }
            // One after the other: who is admitted has seen everybody before it admitted, or gone.
            let stream = match self.service.store().load(id).await {
                Err(error) if error.is_unreadable() => {
                    tracing::error!(cluster = %id, error = %chain(&error), "a newer worker has to admit it");
                    continue;
                }
                outcome => outcome?,
            };
            let meta = meta(&self.name, &stream);
            match self.service.execute(id, &Command::Admit, &meta, None).await {
                Ok(_) => room -= 1,
                Err(ExecuteError::Store(StoreError::OverLimit(Limit::Admission))) => return Ok(true), // another was faster
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}
