//! Connections that wait for the next request to the same target. Each listener has its own pool, so
//! that one that runs on a thread of its own meets nobody at the lock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Link;
use crate::proxy::{Settings, Target, hash};

#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
    per_target: usize,
    total: usize,
    age_ms: i64,
}

#[derive(Debug, Default)]
struct Idle {
    /// The latest used last.
    by_target: HashMap<Target, Vec<(Link, i64)>, hash::Build>,
    count: usize,
}

impl Pool {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            idle: Mutex::default(),
            per_target: settings.idle_per_target,
            total: settings.idle_total,
            age_ms: i64::try_from(settings.idle_age.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// The connection used last of those that are still alive.
    pub(crate) fn take(&self, target: &Target, now_ms: i64) -> Option<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let links = idle.by_target.get_mut(target)?;
        let mut dropped = 0;
        let found = loop {
            let Some((link, since)) = links.pop() else { break None };
            dropped += 1;
            if now_ms - since <= self.age_ms && link.is_usable() {
                break Some(link);
            }
        };
        idle.count -= dropped;
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
        idle.count += 1;
    }

    /// Closes what is too old or was closed by its target.
    pub(crate) fn sweep(&self, now_ms: i64) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.by_target.retain(|_, links| {
            links.retain(|(link, since)| now_ms - since <= self.age_ms && link.is_usable());
            !links.is_empty()
        });
        idle.count = idle.by_target.values().map(Vec::len).sum();
    }
}
