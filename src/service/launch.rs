//! A launch: the command that makes its own name.

use super::execute::{ExecuteError, Executed, Service};
use crate::domain::{ClusterId, Command, Launch, Refusal};
use crate::store::events::{Meta, RequestKey};

/// Names tried before the service gives up; the later ones are longer.
const TRIES: u32 = 8;

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
}

/// Six digits at first; three more after some collisions, which only a very full house has.
fn random_name(attempt: u32) -> ClusterId {
    let (least, most) = if attempt <= 3 { (100_000, 999_999) } else { (100_000_000, 999_999_999) };
    ClusterId::from_number(rand::random_range(least..=most)).expect("both ranges have valid numbers only")
}
