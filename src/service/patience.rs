//! Waiting for a database that is away.

use std::time::Duration;

use tokio::time::sleep;

use crate::error_chain::chain;
use crate::store::StoreError;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// Between two tries: longer and longer.
#[derive(Debug)]
pub struct Patience {
    doing: &'static str,
    pause: Duration,
}

impl Patience {
    /// With what is tried, in words that follow "cannot".
    pub fn to(doing: &'static str) -> Self {
        Self { doing, pause: FIRST }
    }

    /// After a try that has failed by what passes by itself.
    pub async fn wait(&mut self, error: &StoreError) {
        tracing::warn!(error = %chain(error), "cannot {}; trying again", self.doing);
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
    }
}

/// The database does not answer, or what answers is not yet the primary.
pub fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Database { .. } | StoreError::Standby)
}

/// The same, or it is being set up, or put back to an earlier day.
pub fn is_changing(error: &StoreError) -> bool {
    is_away(error) || matches!(error, StoreError::Schema { .. } | StoreError::Denied { .. })
}
