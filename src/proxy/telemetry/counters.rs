//! What one listener has counted: written by its connections without waiting for anybody, read by whoever asks.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::exposition::Histogram;

/// Statuses that are counted: what is no status counts as the nearest.
const STATUSES: RangeInclusive<u16> = 100..=599;

/// Answers by their status.
#[derive(Debug)]
pub struct Statuses(Box<[AtomicU64]>);

impl Default for Statuses {
    fn default() -> Self {
        Self(STATUSES.map(|_| AtomicU64::new(0)).collect())
    }
}

impl Statuses {
    pub(crate) fn count(&self, status: u16) {
        count(&self.0[usize::from(status.clamp(*STATUSES.start(), *STATUSES.end()) - STATUSES.start())]);
    }

    /// How often each was answered, of those that were.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        STATUSES.zip(counts).filter(|(_, count)| *count > 0)
    }
}

/// The counters of one listener. The sums over all listeners are the proxy's.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub statuses: Statuses,
    /// Requests to change the protocol, and all others.
    pub upgrades: AtomicU64,
    pub plain: AtomicU64,
    /// Requests by how long they took; each is counted once.
    pub took: Histogram,
    pub connections: AtomicU64,
    pub tunnels: AtomicU64,
    pub accepted: AtomicU64,
    pub pool_hits: AtomicU64,
    pub pool_misses: AtomicU64,
    pub pool_idle: AtomicU64,
    pub connect_failures: AtomicU64,
}

impl Counters {
    /// A request that was answered, or given up, so long after it was read.
    pub(crate) fn request(&self, status: u16, took: Duration) {
        self.statuses.count(status);
        self.took.record(took);
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts something as there for as long as it lives.
#[derive(Debug)]
pub(crate) struct Live<'a>(&'a AtomicU64);

impl<'a> Live<'a> {
    pub(crate) fn of(gauge: &'a AtomicU64) -> Self {
        count(gauge);
        Self(gauge)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The counters of all listeners that a proxy has, or had.
#[derive(Debug, Default)]
pub struct Stats(Mutex<Vec<Arc<Counters>>>);

impl Stats {
    /// Counters for one more listener.
    pub(crate) fn open(&self) -> Arc<Counters> {
        let counters = Arc::<Counters>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counters));
        counters
    }

    /// How often each status was answered.
    pub(crate) fn statuses(&self) -> BTreeMap<u16, u64> {
        let mut sums = BTreeMap::new();
        for lane in self.all() {
            for (status, count) in lane.statuses.all() {
                *sums.entry(status).or_default() += count;
            }
        }
        sums
    }

    /// How often a change of protocol was asked for, and how often anything else.
    pub(crate) fn requests(&self) -> (u64, u64) {
        let lanes = self.all();
        let sum =
            |of: fn(&Counters) -> &AtomicU64| lanes.iter().map(|lane| of(lane).load(Ordering::Relaxed)).sum();
        (sum(|lane| &lane.upgrades), sum(|lane| &lane.plain))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Counters>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
