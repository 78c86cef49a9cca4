//! Notebook first: while others wait for their notebooks, nobody's workers are started.
//!
//! A class that launches at once asks the API server, the schedulers and the nodes for far more workers than
//! notebooks. Held back for the little while that the notebooks take, the workers make nobody wait.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::manifest::SCHEDULER;
use super::mirror::{Mirror, View};
use crate::clock::Clock;
use crate::domain::ClusterId;

/// A notebook that takes longer, such as one that waits for a machine, holds nobody back any more.
const PATIENCE_SECONDS: i64 = 10;
/// While somebody is held.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who is held back.
#[derive(Default)]
pub struct Gate {
    held: Mutex<HashSet<ClusterId>>,
    some: Notify,
}

impl Gate {
    /// Whether this cluster's workers may be started now. If not, it is held until [`open`](Self::open) names it.
    pub fn admits(&self, id: ClusterId, mirror: &Mirror, now: DateTime<Utc>) -> bool {
        let admits = !mirror.any(|other, view| other != id && awaits_notebook(view, now));
        if !admits {
            self.held().insert(id);
            self.some.notify_one();
        }
        admits
    }

    /// Waits until somebody is held and no longer needs to be, and names them.
    pub async fn open(&self, mirror: &Mirror, clock: &Clock) -> Vec<ClusterId> {
        loop {
            if self.held().is_empty() {
                self.some.notified().await;
            }
            if !mirror.any(|_, view| awaits_notebook(view, clock.now())) {
                return self.held().drain().collect();
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashSet<ClusterId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn awaits_notebook(view: &View, now: DateTime<Utc>) -> bool {
    let Some(namespace) = view.namespace.as_ref().filter(|_| !view.is_terminating()) else {
        return false;
    };
    let created = namespace.metadata.creation_timestamp.as_ref().map(super::pod::time);
    created.is_some_and(|created| (now - created).num_seconds() < PATIENCE_SECONDS)
        && !view.pods.get(SCHEDULER).is_some_and(|pod| pod.is_ready())
}
