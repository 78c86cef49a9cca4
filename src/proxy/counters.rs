//! What one listener has counted: written by its connections without waiting for anybody, read by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper ends of the histogram's buckets, in microseconds. What takes longer is in one more bucket.
pub(super) const BUCKETS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// The counters of one listener. The sums over all listeners are the proxy's.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// By the first digit of the status, from 1 on.
    pub classes: [AtomicU64; 5],
    /// Requests by how long they took; each is counted once.
    pub took: [AtomicU64; BUCKETS.len() + 1],
    pub took_us: AtomicU64,
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
    pub(super) fn request(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, self.classes.len()) - 1;
        count(&self.classes[class]);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|&end| us <= end).unwrap_or(BUCKETS.len());
        count(&self.took[bucket]);
        self.took_us.fetch_add(us, Ordering::Relaxed);
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts something as there for as long as it lives.
#[derive(Debug)]
pub(super) struct Live<'a>(&'a AtomicU64);

impl<'a> Live<'a> {
    pub(super) fn of(gauge: &'a AtomicU64) -> Self {
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
    pub(super) fn open(&self) -> Arc<Counters> {
        let counters = Arc::<Counters>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counters));
        counters
    }

    pub(super) fn all(&self) -> Vec<Arc<Counters>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
