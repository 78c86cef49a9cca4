//! Connections that wait for the next request to the same target. Each listener has its own pool, so
//! that one that runs on a thread of its own meets nobody at the lock.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::Link;
use crate::proxy::telemetry::counters::{Counters, count};
use crate::proxy::{Settings, Target, hash};

#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
    per_target: usize,
    total: usize,
    age_ms: i64,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The latest used last.
    by_target: HashMap<Target, Vec<(Link, i64)>, hash::Build>,
    count: usize,
}

impl Pool {
    pub(crate) fn new(settings: &Settings, counters: Arc<Counters>) -> Self {
        Self {
            idle: Mutex::default(),
            per_target: settings.idle_per_target,
            total: settings.idle_total,
            age_ms: i64::try_from(settings.idle_age.as_millis()).unwrap_or(i64::MAX),
            counters,
        }
    }

    /// The connection used last of those that are still alive.
    pub(crate) fn take(&self, target: &Target, now_ms: i64) -> Option<Link> {
        let found = self.pop(target, now_ms);
        count(if found.is_some() { &self.counters.pool_hits } else { &self.counters.pool_misses });
        found
    }

    fn pop(&self, target: &Target, now_ms: i64) -> Option<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let links = idle.by_target.get_mut(target)?;
        let mut dropped = 0;
        let found = loop {
            let Some((mut link, since)) = links.pop() else { break None };
            dropped += 1;
            if now_ms - since <= self.age_ms && link.is_usable() {
                break Some(link);
            }
        };
        self.counted(&mut idle, |count| count - dropped);
        found
    }

    /// Keeps a connection whose last answer was read to its end. One too many is closed instead.
    pub(crate) fn put(&self, target: &Target, link: Link, now_ms: i64) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !link.input.is_empty() || idle.count >= self.total {
            return;
        }
        match idle.by_target.get_mut(target) {
            Some(links) if links.len() < self.per_target => links.push((link, now_ms)),
            None if self.per_target > 0 => drop(idle.by_target.insert(target.clone(), vec![(link, now_ms)])),
            Some(_) | None => return,
        }
        self.counted(&mut idle, |count| count + 1);
    }

    /// Closes what is too old or was closed by its target.
    pub(crate) fn sweep(&self, now_ms: i64) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.by_target.retain(|_, links| {
            links.retain_mut(|(link, since)| now_ms - *since <= self.age_ms && link.is_usable());
            !links.is_empty()
        });
        let left = idle.by_target.values().map(Vec::len).sum();
        self.counted(&mut idle, |_| left);
    }

    fn counted(&self, idle: &mut Idle, change: impl FnOnce(usize) -> usize) {
        idle.count = change(idle.count);
        self.counters.pool_idle.store(idle.count as u64, Ordering::Relaxed);
    }
}
