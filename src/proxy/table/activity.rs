//! When a route was last used, and which routes were used since somebody asked.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::RoutePath;

/// The routes used since they were last taken. Each is in it once, however often it was used.
#[derive(Debug, Default)]
pub(crate) struct Used(Mutex<Vec<(Arc<Activity>, i64)>>);

impl Used {
    /// Each with its first and last use since then.
    pub(crate) fn take(&self) -> Vec<(RoutePath, i64, i64)> {
        let used = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        used.into_iter()
            .map(|(activity, first_ms)| {
                // Listed again by any use from here on, so that the time read next is never the last word.
                activity.listed.store(false, Ordering::SeqCst);
                (activity.path.clone(), first_ms, activity.last_ms())
            })
            .collect()
    }
}

/// The last use of one route. It outlives a change of the route's target.
#[derive(Debug)]
pub(crate) struct Activity {
    path: RoutePath,
    last: AtomicI64,
    listed: AtomicBool,
    used: Arc<Used>,
}

impl Activity {
    pub(crate) fn new(path: RoutePath, at_ms: i64, used: Arc<Used>) -> Self {
        Self { path, last: AtomicI64::new(at_ms), listed: AtomicBool::new(false), used }
    }

    pub(crate) fn last_ms(&self) -> i64 {
        self.last.load(Ordering::SeqCst)
    }

    /// Takes over a time from elsewhere, if it is later.
    pub(crate) fn merge(&self, at_ms: i64) {
        self.last.fetch_max(at_ms, Ordering::SeqCst);
    }

    /// The route is in use now. Locks only on the first use after a [`Used::take`].
    pub(crate) fn touch(self: &Arc<Self>, now_ms: i64) {
        if self.last.load(Ordering::Relaxed) < now_ms {
            self.last.fetch_max(now_ms, Ordering::SeqCst);
            if !self.listed.load(Ordering::SeqCst) && !self.listed.swap(true, Ordering::SeqCst) {
                self.used.0.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::clone(self), now_ms));
            }
        }
    }
}
