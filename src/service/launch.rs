//! A launch: the command that makes its own name.

use uuid::Uuid;

use super::execute::{ExecuteError, Executed, Service};
use crate::domain::{ClusterId, Command, Launch, Refusal, Subject};
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
        actor: Subject,
        key: Option<&RequestKey>,
    ) -> Result<Executed, ExecuteError> {
        let meta = Meta { actor, correlation: Uuid::now_v7(), causation: None };
        let command = Command::Launch(launch);
        let mut taken = random_name(0);
        for attempt in 0..TRIES {
            let id = random_name(attempt);
            match self.execute(id, &command, &meta, key).await {
                Err(ExecuteError::Refused(Refusal::Exists(id))) => taken = id,
                outcome => return outcome,
            }
        }
        Err(ExecuteError::Refused(Refusal::Exists(taken)))
    }
}

/// Six digits at first; three more after some collisions, which only a very full house has.
fn random_name(attempt: u32) -> ClusterId {
    let (least, most) = if attempt < 3 { (100_000, 999_999) } else { (100_000_000, 999_999_999) };
    ClusterId::from_number(rand::random_range(least..=most)).expect("both ranges have valid numbers only")
}
