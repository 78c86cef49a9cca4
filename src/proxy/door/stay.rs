//! How long somebody may stay who was let in: a tunnel is open for hours, and its guest may be asked to leave meanwhile.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use tokio::time::sleep;

use super::doorman::{Doorman, Proof, Unwelcome};
use super::gate::Gate;
use crate::proxy::Clock;

/// The wall clock may be set while time is waited for by another.
const LONGEST: Duration = Duration::from_secs(60);

/// The guest of a tunnel, and those who know whether they are welcome.
#[derive(Debug)]
pub(crate) struct Stay {
    pub doorman: Arc<Doorman>,
    pub gate: Arc<Gate>,
    pub proofs: Vec<Proof>,
    pub clock: Clock,
}

/// Until the door is shut to the guest, or what they came in by has ended. Nobody in particular may stay for ever.
pub(crate) async fn over(stay: Option<Stay>) -> Unwelcome {
    let Some(Stay { doorman, gate, proofs, clock }) = stay else { return pending().await };
    let by_name = proofs.iter().any(|proof| matches!(proof, Proof::Bearer(_) | Proof::Known(_)));
    loop {
        // Before the look, so that no change falls between the two.
        let (mut changed, mut relearnt) = (pin!(gate.changed()), pin!(doorman.relearnt()));
        changed.as_mut().enable();
        relearnt.as_mut().enable();
        let now = DateTime::from_timestamp_millis(clock.now_ms()).unwrap_or_default();
        let until = match doorman.still(&proofs, &gate, now) {
            Ok(until) => until,
            Err(unwelcome) => return unwelcome,
        };
        let left = until.and_then(|until| (until - now).to_std().ok()).map(|left| left.min(LONGEST));
        tokio::select! {
            () = changed => {}
            () = relearnt, if by_name => {}
            () = sleep(left.unwrap_or(Duration::MAX)), if left.is_some() => {}
        }
    }
}
