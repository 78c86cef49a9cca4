//! What a connection to a client is at: waiting for a request, busy with some, or unable to write. Kept by
//! hand, as a timer set anew for each request would cost more than routing it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::proxy::Clock;

#[derive(Debug)]
pub(crate) struct Pulse {
    /// Requests under way. HTTP/1 has one at most.
    busy: AtomicUsize,
    resting_since: AtomicI64,
    /// Since when the client takes nothing more of what is to be written; [`FLOWING`] if it does.
    stuck_since: AtomicI64,
    /// Since when it has made no room for more of an answer that is there; only where HTTP/2 holds it up.
    offered_since: AtomicI64,
    /// What is under way is the last; only HTTP/1 is told here.
    ending: AtomicBool,
    clock: Clock,
}

const FLOWING: i64 = i64::MAX;

impl Pulse {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            busy: AtomicUsize::new(0),
            resting_since: AtomicI64::new(clock.now_ms()),
            stuck_since: AtomicI64::new(FLOWING),
            offered_since: AtomicI64::new(FLOWING),
            ending: AtomicBool::new(false),
            clock,
        }
    }

    /// A request begins.
    pub(crate) fn work(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is over.
    pub(crate) fn rest(&self) {
        if self.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.resting_since.store(self.clock.now_ms(), Ordering::Relaxed);
        }
    }

    /// No request is read any more.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Nothing more can be written for now.
    pub(crate) fn stuck(&self) {
        if self.stuck_since.load(Ordering::Relaxed) == FLOWING {
            self.stuck_since.store(self.clock.now_ms(), Ordering::Relaxed);
        }
    }

    pub(crate) fn flows(&self) {
        if self.stuck_since.load(Ordering::Relaxed) != FLOWING {
            self.stuck_since.store(FLOWING, Ordering::Relaxed);
        }
    }

    /// Some of an answer was given to HTTP/2, which asks for more once the client has made room.
    pub(crate) fn offered(&self) {
        self.offered_since.store(self.clock.now_ms(), Ordering::Relaxed);
    }

    /// More is asked for, or the answer is over.
    pub(crate) fn wanted(&self) {
        self.offered_since.store(FLOWING, Ordering::Relaxed);
    }

    /// How long to wait before looking again; nothing if the client has let `rest` pass without a request,
    /// or `stuck` without taking anything of its answer.
    pub(crate) fn patience(&self, rest: Duration, stuck: Duration) -> Option<Duration> {
        let left = |since: i64, limit: Duration| {
            let passed = u64::try_from(self.clock.now_ms().saturating_sub(since)).unwrap_or(0);
            limit.checked_sub(Duration::from_millis(passed)).filter(|left| !left.is_zero())
        };
        let resting = match self.busy.load(Ordering::Relaxed) {
            0 => left(self.resting_since.load(Ordering::Relaxed), rest)?,
            _ => rest,
        };
        let since = self.stuck_since.load(Ordering::Relaxed).min(self.offered_since.load(Ordering::Relaxed));
        Some(resting.min(left(since, stuck)?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn patience_ends_with_a_rest_or_a_stuck_answer_and_not_with_work() {
        let now = Arc::new(AtomicI64::new(1_000));
        let clock = Clock::from_fn({
            let now = Arc::clone(&now);
            move || now.load(Ordering::SeqCst)
        });
        let (pulse, ms) = (Pulse::new(clock), Duration::from_millis);
        let at = |time: i64| {
            now.store(time, Ordering::SeqCst);
            pulse.patience(ms(100), ms(300))
        };
        assert_eq!(at(1_040), Some(ms(60)));
        assert_eq!(at(1_100), None);
        pulse.work();
        pulse.work();
        assert_eq!(at(1_500), Some(ms(100)));
        pulse.rest();
        assert_eq!(at(1_600), Some(ms(100)), "another is still under way");
        pulse.stuck();
        assert_eq!(at(1_899), Some(ms(1)));
        assert_eq!(at(1_900), None);
        pulse.flows();
        pulse.offered();
        assert_eq!(at(2_199), Some(ms(1)));
        assert_eq!(at(2_200), None);
        pulse.wanted();
        now.store(1_900, Ordering::SeqCst);
        pulse.rest();
        assert_eq!(at(1_950), Some(ms(50)));
    }
}
