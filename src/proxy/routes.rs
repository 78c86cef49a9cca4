//! The routes as requests see them. Readers take no lock and wait for nobody.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};

use super::activity::{Activity, Used};
use super::hash;
use super::path::{self, MAX_DEPTH};
use crate::domain::{Route, RouteChange, RoutePath};

/// A power of two. With 100,000 routes a change copies a map of about 400.
const SHARDS: usize = 256;

type Shard = HashMap<Box<str>, Arc<Entry>, hash::Build>;

/// Which path leads where. Finding a route costs one look-up per path segment, and no more segments are
/// looked at than the deepest route has, however many routes there are.
#[derive(Debug)]
pub struct Routes {
    shards: Box<[ArcSwap<Shard>]>,
    deepest: AtomicUsize,
    used: Arc<Used>,
    /// Held by writers only, so that none overwrites what another just published.
    writing: Mutex<()>,
}

/// One route in force. A request under way keeps its entry, whatever becomes of the route.
#[derive(Debug)]
pub struct Entry {
    path: RoutePath,
    route: Route,
    activity: Arc<Activity>,
}

impl Entry {
    pub fn path(&self) -> &RoutePath {
        &self.path
    }

    pub fn route(&self) -> Route {
        self.route
    }

    pub fn last_activity(&self) -> DateTime<Utc> {
        from_ms(self.activity.last_ms())
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            deepest: AtomicUsize::new(0),
            used: Arc::default(),
            writing: Mutex::default(),
        }
    }
}

impl Routes {
    /// Requests that come after this see the change; those under way are left alone.
    pub fn apply(&self, change: RouteChange) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            RouteChange::Put { path, route, since } => {
                let shard = self.shard(path.as_str());
                let current = shard.load();
                let since = since.timestamp_millis();
                let activity = match current.get(path.as_str()) {
                    Some(entry) => Arc::clone(&entry.activity),
                    None => Arc::new(Activity::new(path.clone(), since, Arc::clone(&self.used))),
                };
                activity.merge(since);
                let depth = path.as_str().bytes().filter(|&b| b == b'/').count();
                self.deepest.fetch_max(depth.min(MAX_DEPTH), Ordering::SeqCst);
                let mut next = Shard::clone(&current);
                next.insert(path.as_str().into(), Arc::new(Entry { path, route, activity }));
                shard.store(Arc::new(next));
            }
            RouteChange::Remove { path } => {
                let shard = self.shard(path.as_str());
                let mut next = Shard::clone(&shard.load());
                if next.remove(path.as_str()).is_some() {
                    shard.store(Arc::new(next));
                }
            }
        }
    }

    /// The route with the longest path that the request's raw path begins with, segment by segment, and
    /// the part of the raw path that it matched.
    pub fn find<'p>(&self, path: &'p str) -> Option<(&'p str, Arc<Entry>)> {
        path::prefixes(path, self.deepest.load(Ordering::Relaxed))
            .find_map(|(raw, name)| Some((raw, self.get(&name)?)))
    }

    /// The route of exactly this (decoded) path.
    pub fn get(&self, path: &str) -> Option<Arc<Entry>> {
        self.shard(path).load().get(path).cloned()
    }

    /// All routes, in no order.
    pub fn list(&self) -> Vec<Arc<Entry>> {
        self.shards.iter().flat_map(|shard| shard.load().values().cloned().collect::<Vec<_>>()).collect()
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.load().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last use of every route that was used since the last call, to the millisecond. A route that
    /// was removed meanwhile is among them once more.
    pub fn take_activity(&self) -> Vec<(RoutePath, DateTime<Utc>)> {
        self.used.take().into_iter().map(|(path, at)| (path, from_ms(at))).collect()
    }

    /// Seeds a use seen elsewhere or before a restart; of two times the later holds.
    pub fn record(&self, path: &RoutePath, at: DateTime<Utc>) {
        if let Some(entry) = self.get(path.as_str()) {
            entry.activity.merge(at.timestamp_millis());
        }
    }

    fn shard(&self, path: &str) -> &ArcSwap<Shard> {
        // Other bits than those by which the shard's own map places it.
        let mixed = hash::Build::default().hash_one(path) >> 40;
        &self.shards[usize::try_from(mixed).unwrap_or(0) % SHARDS]
    }
}

fn from_ms(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClusterId, Engine, Prefix};

    fn path(number: u64, engine: Engine) -> RoutePath {
        RoutePath::of(ClusterId::from_number(number).expect("six digits"), engine)
    }

    fn put(number: u64, port: u16, since_ms: i64) -> RouteChange {
        RouteChange::Put {
            path: path(number, Engine::Notebook),
            route: Route { target: ([10, 0, 0, 1], port).into(), prefix: Prefix::Keep },
            since: from_ms(since_ms),
        }
    }

    fn port(routes: &Routes, path: &str) -> Option<u16> {
        routes.find(path).map(|(_, entry)| entry.route().target.port())
    }

    #[test]
    fn a_route_matches_whole_segments_only() {
        let routes = Routes::default();
        routes.apply(put(678_343, 1, 0));
        for yes in [
            "/cluster-678343",
            "/cluster-678343/",
            "/cluster-678343/lab",
            "/cluster-678343?q",
            "/cluster%2d678343/x",
        ] {
            assert_eq!(port(&routes, yes), Some(1), "{yes}");
        }
        for no in [
            "/",
            "",
            "/cluster-6783433",
            "/cluster-678343_9000",
            "//cluster-678343",
            "/x/cluster-678343",
            "/cluster-678343%2Fx",
        ] {
            assert_eq!(port(&routes, no), None, "{no}");
        }
    }

    #[test]
    fn a_removed_route_is_gone_and_a_replaced_one_keeps_its_activity() {
        let routes = Routes::default();
        routes.apply(put(100_000, 1, 50));
        routes.record(&path(100_000, Engine::Notebook), from_ms(70));
        routes.apply(put(100_000, 2, 60));
        let entry = routes.get("/cluster-100000").expect("present");
        assert_eq!((entry.route().target.port(), entry.last_activity()), (2, from_ms(70)));
        routes.apply(RouteChange::Remove { path: path(100_000, Engine::Notebook) });
        assert!(routes.is_empty());
    }

    #[test]
    fn activity_is_taken_once_and_later_use_is_listed_again() {
        let routes = Routes::default();
        routes.apply(put(100_000, 1, 50));
        assert_eq!(routes.take_activity(), vec![]);
        let entry = routes.get("/cluster-100000").expect("present");
        entry.activity().touch(80);
        entry.activity().touch(90);
        let taken = vec![(path(100_000, Engine::Notebook), from_ms(90))];
        assert_eq!(routes.take_activity(), taken);
        assert_eq!(routes.take_activity(), vec![]);
        entry.activity().touch(85);
        assert_eq!(routes.take_activity(), vec![], "an earlier time changes nothing");
        entry.activity().touch(95);
        assert_eq!(routes.take_activity().len(), 1);
    }

    #[test]
    fn many_routes_are_all_found() {
        let routes = Routes::default();
        for number in 100_000..105_000_u64 {
            routes.apply(put(number, u16::try_from(number - 99_999).expect("small"), 0));
        }
        assert_eq!(routes.len(), 5_000);
        assert_eq!(port(&routes, "/cluster-104999/api/kernels"), Some(5_000));
        let largest = routes.shards.iter().map(|shard| shard.load().len()).max();
        assert!(largest < Some(60), "the shards are even: {largest:?}");
    }
}
