//! Who tells the other processes of an append, by a NOTIFY, and when.
//!
//! Commits that have one wait for each other in the whole server, for the disk as well, and each wakes everybody. So only an append that
//! is the only one of its process has one in its own transaction: it is heard as soon as the append can be seen. Of many, one that
//! follows them tells of all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// A process that has been quiet may ring so often at once, and then once in each gap.
const AT_ONCE: u32 = 16;
const GAP: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Bell {
    under_way: AtomicUsize,
    unheard: Notify,
    pace: Mutex<Pace>,
}

/// An append, until it has ended.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    bell: &'a Bell,
    /// Whether it is to ring in its own transaction.
    pub rings: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.bell.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bell {
    pub(super) fn new() -> Self {
        Self { under_way: AtomicUsize::new(0), unheard: Notify::new(), pace: Mutex::new(Pace(Instant::now())) }
    }

    pub(super) fn begin(&self) -> UnderWay<'_> {
        let is_alone = self.under_way.fetch_add(1, Ordering::Relaxed) == 0;
        UnderWay { bell: self, rings: is_alone && self.pace(|pace| pace.takes(Instant::now())) }
    }

    /// Something was appended, and nobody was told.
    pub(super) fn owe(&self) {
        self.unheard.notify_one();
    }

    /// Until it is time to tell the others of what they were not told.
    pub(super) async fn due(&self) {
        self.unheard.notified().await;
        let turn = self.pace(|pace| pace.reserve(Instant::now()));
        sleep_until(turn).await;
    }

    fn pace<T>(&self, ask: impl FnOnce(&mut Pace) -> T) -> T {
        ask(&mut self.pace.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When the gaps of all that was sent are over.
#[derive(Debug)]
struct Pace(Instant);

impl Pace {
    /// The earliest time for one more, which is then spent.
    fn reserve(&mut self, now: Instant) -> Instant {
        let turn = self.next(now);
        self.0 = self.0.max(now) + GAP;
        turn
    }

    /// Whether one more may be sent now, which is then spent.
    fn takes(&mut self, now: Instant) -> bool {
        let takes = self.next(now) <= now;
        if takes {
            self.reserve(now);
        }
        takes
    }

    fn next(&self, now: Instant) -> Instant {
        self.0.checked_sub(GAP * (AT_ONCE - 1)).unwrap_or(now).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_sent_at_once_and_then_one_in_each_gap() {
        let start = Instant::now();
        let mut pace = Pace(start);
        let waits = (0..AT_ONCE + 3).map(|_| (pace.reserve(start) - start).as_millis()).collect::<Vec<_>>();
        let (at_once, then) = waits.split_at(AT_ONCE as usize);
        assert_eq!((at_once, then), (&[0; AT_ONCE as usize][..], &[10, 20, 30][..]));
        let now = start + GAP * 5;
        let next = [(); 3].map(|()| pace.takes(now));
        assert_eq!(next, [true, true, false], "what was not used is there again");
        let later = now + Duration::from_secs(60);
        let taken = (0..AT_ONCE * 2).filter(|_| pace.takes(later)).count();
        assert_eq!(taken, AT_ONCE as usize, "but no more than that");
    }

    #[test]
    fn who_is_not_alone_leaves_it_to_others() {
        let bell = Bell::new();
        let first = bell.begin();
        let second = bell.begin();
        assert_eq!((first.rings, second.rings), (true, false));
        drop((first, second));
        assert!(bell.begin().rings);
    }
}
