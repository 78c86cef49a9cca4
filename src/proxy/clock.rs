//! The one place of the proxy that reads a clock.

use std::fmt;
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};

/// Tells the time of day in milliseconds since 1970. A test gives its own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The machine's clock as of its last tick, at most some milliseconds ago: it is read several times
    /// per request, which the exact one would make felt.
    pub fn system() -> Self {
        Self::from_fn(|| {
            // This clock exists on every Linux; without it no time is later than any other.
            clock_gettime(ClockId::CLOCK_REALTIME_COARSE)
                .map_or(0, |time| time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000)
        })
    }

    pub fn from_fn(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
