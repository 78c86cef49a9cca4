//! What this process has recorded and worked at since it began.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::{Event, ProfileName};
use crate::exposition::{Histogram, Page};

/// How a pass over a cluster ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum PassEnd {
    Settled,
    LookAgain,
    /// Somebody has put the cluster aside: it is left as it is.
    PutAside,
    Failed,
    /// Something that slipway depends on was away: no fault of the cluster's.
    Unavailable,
    /// Another worker had taken the cluster over by then.
    LeaseLost,
}

impl PassEnd {
    const ALL: [Self; 6] =
        [Self::Settled, Self::LookAgain, Self::PutAside, Self::Failed, Self::Unavailable, Self::LeaseLost];

    fn label(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::LookAgain => "look_again",
            Self::PutAside => "put_aside",
            Self::Failed => "failed",
            Self::Unavailable => "unavailable",
            Self::LeaseLost => "lease_lost",
        }
    }
}

/// Counters of the service's ways, shared by all its parts in a process.
#[derive(Debug, Default)]
pub struct Meters {
    appends: Histogram,
    ready: Histogram,
    /// Events by type and reason.
    recorded: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    /// Launches of profiles with a pool, by whether there was a cluster to claim.
    pools: Mutex<BTreeMap<(ProfileName, bool), u64>>,
    conflicts: AtomicU64,
    passes: [AtomicU64; PassEnd::ALL.len()],
}

impl Meters {
    /// Events that the log has taken, after so long.
    pub(super) fn appended(&self, events: &[Event], took: Duration) {
        self.appends.record(took);
        let mut counts = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            *counts.entry((event.kind(), reason(event))).or_default() += 1;
        }
    }

    /// A launch is ready so long after the click: with its time in line, and over all tries.
    pub(super) fn became_ready(&self, after: Duration) {
        self.ready.record(after);
    }

    /// A launch got a cluster of its profile's pool, so long after the click.
    pub(super) fn claimed(&self, profile: &ProfileName, after: Duration) {
        self.ready.record(after);
        self.asked_pool(profile, true);
    }

    /// A launch found none there.
    pub(super) fn pool_was_empty(&self, profile: &ProfileName) {
        self.asked_pool(profile, false);
    }

    fn asked_pool(&self, profile: &ProfileName, had: bool) {
        let mut counts = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((profile.clone(), had)).or_default() += 1;
    }

    /// A stream had moved on, and its command was decided anew.
    pub(super) fn conflicted(&self) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn passed(&self, end: PassEnd) {
        self.passes[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Writes all of them.
    pub fn show(&self, page: &mut Page) {
        page.about(
            "events_total",
            "counter",
            "Events recorded by this process; why a cluster was stopped is its reason.",
        );
        for ((kind, reason), count) in self.recorded.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            page.line("events_total", &format!("{{type=\"{kind}\",reason=\"{reason}\"}}"), count);
        }
        let help = "From a decision to its commit, with the wait for a connection.";
        page.histogram("append_duration_seconds", help, [&self.appends].into_iter());
        let help = "Commands decided anew because their cluster had changed meanwhile.";
        page.one("append_conflicts_total", "counter", help, self.conflicts.load(Ordering::Relaxed));
        let help =
            "From the click to the notebook, over the time in line and all tries; recorded by this process.";
        page.histogram("launch_duration_seconds", help, [&self.ready].into_iter());
        let help = "Launches of this process for which a pool had a cluster ready, and for which it had none.";
        page.about("pool_launches_total", "counter", help);
        for ((profile, had), count) in self.pools.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let result = if *had { "claimed" } else { "empty" };
            page.line("pool_launches_total", &format!("{{profile=\"{profile}\",result=\"{result}\"}}"), count);
        }
        page.about("passes_total", "counter", "Looks of this process at a cluster, by how they ended.");
        for end in PassEnd::ALL {
            let count = self.passes[end as usize].load(Ordering::Relaxed);
            page.line("passes_total", &format!("{{end=\"{}\"}}", end.label()), count);
        }
    }
}

/// Of few values: what is free text is in the log.
fn reason(event: &Event) -> &'static str {
    match event {
        Event::StopRequested { reason } => reason.kind(),
        _ => "",
    }
}
