//! How the proxy stands towards those who feed it: what its wiring knows, for probes and metrics.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

/// Whether the proxy should be sent requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The routes are not loaded yet.
    Loading,
    Serving,
    /// Told to stop: what is under way is finished.
    Draining,
}

/// Told by the wiring, read by `/readyz` and `/metrics`. Times are in milliseconds since 1970.
#[derive(Debug, Default)]
pub struct Standing {
    phase: AtomicU8,
    log: AtomicI64,
    lag_events: AtomicU64,
    lag_ms: AtomicU64,
    activity_pending: AtomicU64,
    snapshot: AtomicI64,
}

impl Standing {
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Loading,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// There is no way back: a proxy that drains stays at it.
    pub fn enter(&self, phase: Phase) {
        let number = match phase {
            Phase::Loading => 0,
            Phase::Serving => 1,
            Phase::Draining => 2,
        };
        self.phase.fetch_max(number, Ordering::Relaxed);
    }

    /// The log was read to its end, as far as it could be read, at this time.
    pub fn log_read(&self, at_ms: i64) {
        self.log.fetch_max(at_ms, Ordering::Relaxed);
    }

    /// So many events are in the log and not yet in the table, the oldest for so many milliseconds.
    pub fn behind(&self, events: u64, ms: u64) {
        self.lag_events.store(events, Ordering::Relaxed);
        self.lag_ms.store(ms, Ordering::Relaxed);
    }

    /// So many routes were used at a time that is not yet written down.
    pub fn activity_pending(&self, routes: usize) {
        self.activity_pending.store(routes as u64, Ordering::Relaxed);
    }

    pub fn snapshot_written(&self, at_ms: i64) {
        self.snapshot.fetch_max(at_ms, Ordering::Relaxed);
    }

    pub(crate) fn lag_events(&self) -> u64 {
        self.lag_events.load(Ordering::Relaxed)
    }

    /// How old the table may be, in milliseconds: as old as the oldest event that is missing in it, and no younger
    /// than the last time that the log was reached. None if it was never read.
    pub(crate) fn lag_ms(&self, now_ms: i64) -> Option<u64> {
        let read = self.log.load(Ordering::Relaxed);
        let silent = u64::try_from(now_ms - read).unwrap_or(0);
        // It is read every second; only what is beyond that is a delay.
        let silent = if silent < QUIET_MS { 0 } else { silent };
        (read != 0).then(|| silent.max(self.lag_ms.load(Ordering::Relaxed)))
    }

    pub(crate) fn pending(&self) -> u64 {
        self.activity_pending.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshot_age_ms(&self, now_ms: i64) -> Option<u64> {
        let written = self.snapshot.load(Ordering::Relaxed);
        (written != 0).then(|| u64::try_from(now_ms - written).unwrap_or(0))
    }
}

const QUIET_MS: u64 = 3_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_drains_is_never_ready_again() {
        let standing = Standing::default();
        assert_eq!(standing.phase(), Phase::Loading);
        standing.enter(Phase::Draining);
        standing.enter(Phase::Serving);
        assert_eq!(standing.phase(), Phase::Draining);
    }

    #[test]
    fn the_lag_is_that_of_the_oldest_missing_event_or_of_a_log_that_is_out_of_reach() {
        let standing = Standing::default();
        assert_eq!(standing.lag_ms(50_000), None, "never read");
        standing.log_read(50_000);
        assert_eq!(standing.lag_ms(51_000), Some(0));
        assert_eq!(standing.lag_ms(60_000), Some(10_000));
        standing.behind(7, 20_000);
        assert_eq!((standing.lag_events(), standing.lag_ms(60_000)), (7, Some(20_000)));
    }
}
