//! The routes as requests see them. Readers take no lock and wait for nobody.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};

use super::activity::{Activity, Used};
use super::shards::{ByPath, SHARDS, Shard, shard_of};
use super::target::Upstream;
use crate::domain::{ClusterId, Door, Prefix, RouteChange, RoutePath};
use crate::proxy::door::gate::Gate;
use crate::proxy::request::path::{self, MAX_DEPTH};

/// Which path leads where. Finding a route costs one look-up per path segment, and no more segments are
/// looked at than the deepest route has, however many routes there are.
#[derive(Debug)]
pub struct Routes {
    shards: Box<[ArcSwap<Shard>]>,
    deepest: AtomicUsize,
    used: Arc<Used>,
    /// Held by writers only, so that none overwrites what another just published.
    writing: Mutex<Gates>,
}

/// The gate of each cluster, which its routes and those who stay share.
#[derive(Debug, Default)]
struct Gates {
    by_cluster: HashMap<ClusterId, Arc<Gate>>,
    /// Those that nobody needs any more as soon as nobody holds them.
    shut: HashSet<ClusterId>,
}

/// One route in force. A request under way keeps its entry, whatever becomes of the route.
#[derive(Debug)]
pub struct Entry {
    path: RoutePath,
    upstream: Upstream,
    prefix: Prefix,
    activity: Arc<Activity>,
    /// None for a route that belongs to no cluster.
    gate: Option<Arc<Gate>>,
}

impl Entry {
    pub fn path(&self) -> &RoutePath {
        &self.path
    }

    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// What becomes of the route's path on the way.
    pub fn prefix(&self) -> Prefix {
        self.prefix
    }

    pub fn last_activity(&self) -> DateTime<Utc> {
        from_ms(self.activity.last_ms())
    }

    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    pub(crate) fn gate(&self) -> Option<&Arc<Gate>> {
        self.gate.as_ref()
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

/// When a route was used, to the millisecond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    pub path: RoutePath,
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
}

impl Routes {
    /// Requests that come after this see the changes; those under way are left alone. Many at once cost far less
    /// than each by itself, and readers may see some of them before others.
    pub fn apply(&self, changes: impl IntoIterator<Item = RouteChange>) {
        let mut edit = self.edit();
        for change in changes {
            match change {
                RouteChange::Put { path, route, since } => {
                    edit.put(path, route.target.into(), route.prefix, since);
                }
                RouteChange::Remove { path } => edit.remove(&path),
                RouteChange::Door { cluster, door } => edit.guard(cluster, door),
            }
        }
    }

    /// Puts the route there, in place of any other, used `since` at the latest.
    pub fn put(&self, path: RoutePath, upstream: Upstream, prefix: Prefix, since: DateTime<Utc>) {
        self.edit().put(path, upstream, prefix, since);
    }

    pub fn remove(&self, path: &RoutePath) {
        self.edit().remove(path);
    }

    fn edit(&self) -> Edit<'_> {
        let gates = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        Edit { routes: self, gates, open: BTreeMap::new() }
    }

    /// The route with the longest path that the request's raw path begins with, segment by segment, and
    /// the part of the raw path that it matched; at last the route of `/`.
    pub fn find<'p>(&self, path: &'p str) -> Option<(&'p str, Arc<Entry>)> {
        path::prefixes(path, self.deepest.load(Ordering::Relaxed))
            .find_map(|(raw, name)| Some((raw, self.get(&name)?)))
            .or_else(|| Some(("", self.get("/")?)))
    }

    /// The same for routes whose first segment is the name of a host, as it stands in the request without its
    /// port.
    pub fn find_of_host<'p>(&self, host: &str, path: &'p str) -> Option<(&'p str, Arc<Entry>)> {
        let mut key = String::with_capacity(1 + host.len() + path.len());
        key.push('/');
        key.push_str(host);
        let own = key.len();
        let deepest = self.deepest.load(Ordering::Relaxed).saturating_sub(1);
        path::prefixes(path, deepest)
            .find_map(|(raw, name)| {
                key.truncate(own);
                key.push_str(&name);
                Some((raw, self.get(&key)?))
            })
            .or_else(|| Some(("", self.get(key.get(..own)?)?)))
            .or_else(|| Some(("", self.get("/")?)))
    }

    /// The route of exactly this (decoded) path.
    pub fn get(&self, path: &str) -> Option<Arc<Entry>> {
        self.shards[shard_of(path)].load().get(path).map(|ByPath(entry)| Arc::clone(entry))
    }

    /// All routes, in no order.
    pub fn list(&self) -> Vec<Arc<Entry>> {
        let of_one = |shard: &ArcSwap<Shard>| -> Vec<_> {
            shard.load().iter().map(|ByPath(entry)| Arc::clone(entry)).collect()
        };
        self.shards.iter().flat_map(of_one).collect()
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.load().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was used since the last call. A route that was removed meanwhile is among them once more.
    pub fn take_activity(&self) -> Vec<Use> {
        let uses = self.used.take().into_iter();
        uses.map(|(path, first, last)| Use { path, first: from_ms(first), last: from_ms(last) }).collect()
    }

    /// Seeds a use seen elsewhere or before a restart; of two times the later holds.
    pub fn record(&self, path: &RoutePath, at: DateTime<Utc>) {
        if let Some(entry) = self.get(path.as_str()) {
            entry.activity.merge(at.timestamp_millis());
        }
    }
}

/// Changes that are published together: each shard that they touch is copied once.
struct Edit<'r> {
    routes: &'r Routes,
    gates: MutexGuard<'r, Gates>,
    open: BTreeMap<usize, Shard>,
}

impl Edit<'_> {
    fn put(&mut self, path: RoutePath, upstream: Upstream, prefix: Prefix, since: DateTime<Utc>) {
        let used = &self.routes.used;
        let depth = path.as_str().bytes().filter(|&b| b == b'/').count();
        self.routes.deepest.fetch_max(depth.min(MAX_DEPTH), Ordering::SeqCst);
        let since = since.timestamp_millis();
        let shard = open(&mut self.open, self.routes, path.as_str());
        let activity = match shard.get(path.as_str()) {
            Some(ByPath(entry)) => Arc::clone(&entry.activity),
            None => Arc::new(Activity::new(path.clone(), since, Arc::clone(used))),
        };
        activity.merge(since);
        // Without a door yet it is shut.
        let gate = path.cluster().map(|id| self.gates.of(id));
        shard.replace(ByPath(Arc::new(Entry { path, upstream, prefix, activity, gate })));
    }

    /// Who may enter the cluster's routes from now on.
    fn guard(&mut self, cluster: ClusterId, door: Option<Door>) {
        if door.is_none() {
            self.gates.shut.insert(cluster);
        }
        self.gates.of(cluster).set(door);
    }

    fn remove(&mut self, path: &RoutePath) {
        open(&mut self.open, self.routes, path.as_str()).remove(path.as_str());
    }
}

impl Gates {
    fn of(&mut self, cluster: ClusterId) -> Arc<Gate> {
        Arc::clone(self.by_cluster.entry(cluster).or_insert_with(|| Arc::new(Gate::new(cluster))))
    }

    /// Forgets those that are shut and held by no route, request or tunnel; the others are looked at again next time.
    fn sweep(&mut self) {
        let Self { by_cluster, shut } = self;
        shut.retain(|cluster| {
            let shut = by_cluster.get(cluster).filter(|gate| gate.door().is_none());
            let held = shut.map(|gate| Arc::strong_count(gate) > 1);
            if held == Some(false) {
                by_cluster.remove(cluster);
            }
            held == Some(true)
        });
    }
}

fn open<'e>(open: &'e mut BTreeMap<usize, Shard>, routes: &Routes, path: &str) -> &'e mut Shard {
    let number = shard_of(path);
    open.entry(number).or_insert_with(|| Shard::clone(&routes.shards[number].load()))
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        for (number, shard) in std::mem::take(&mut self.open) {
            self.routes.shards[number].store(Arc::new(shard));
        }
        self.gates.sweep();
    }
}

fn from_ms(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClusterId, Engine, Route};
    use crate::proxy::Target;

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

    fn port_of(entry: &Entry) -> u16 {
        match entry.upstream().target() {
            Target::Address(address) => address.port(),
            Target::Origin(origin) => panic!("{origin:?}"),
        }
    }

    fn port(routes: &Routes, path: &str) -> Option<u16> {
        routes.find(path).map(|(_, entry)| port_of(&entry))
    }

    #[test]
    fn a_route_matches_whole_segments_only() {
        let routes = Routes::default();
        routes.apply([put(678_343, 1, 0)]);
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

    fn post(routes: &Routes, path: &str, port: u16) {
        let upstream = std::net::SocketAddr::from(([10, 0, 0, 1], port)).into();
        routes.put(path.parse().expect("a path"), upstream, Prefix::Keep, from_ms(0));
    }

    #[test]
    fn the_route_of_the_root_takes_what_no_other_does() {
        let routes = Routes::default();
        post(&routes, "/user/zoe@x/", 1);
        post(&routes, "/user/zoe@x/deep/er", 2);
        assert_eq!(port(&routes, "/user"), None);
        post(&routes, "/", 3);
        for (path, expected) in [
            ("/user/zoe@x", 1),
            ("/user/zoe%40x/lab", 1),
            ("/user/zoe@x/deep/er/x", 2),
            ("/user/zoe@x/deep/erx", 1),
            ("/user/zoe@xy", 3),
            ("/", 3),
            ("/user", 3),
        ] {
            assert_eq!(port(&routes, path), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_host_is_the_first_segment_of_its_routes() {
        let routes = Routes::default();
        post(&routes, "a.example/", 1);
        post(&routes, "/a.example/user/x", 2);
        post(&routes, "/b.example/user", 3);
        let port = |host: &str, path| routes.find_of_host(host, path).map(|(raw, entry)| (raw, port_of(&entry)));
        assert_eq!(port("a.example", "/"), Some(("", 1)));
        assert_eq!(port("a.example", "/user/x/lab"), Some(("/user/x", 2)));
        assert_eq!(port("a.example", "/user/xy"), Some(("", 1)));
        assert_eq!(port("b.example", "/user/y"), Some(("/user", 3)));
        assert_eq!(port("b.example", "/"), None);
        assert_eq!(port("c.example", "/a.example/user/x"), None);
        post(&routes, "/", 4);
        assert_eq!(port("c.example", "/x"), Some(("", 4)));
    }

    #[test]
    fn a_removed_route_is_gone_and_a_replaced_one_keeps_its_activity() {
        let routes = Routes::default();
        routes.apply([put(100_000, 1, 50)]);
        routes.record(&path(100_000, Engine::Notebook), from_ms(70));
        routes.apply([put(100_000, 2, 60)]);
        let entry = routes.get("/cluster-100000").expect("present");
        assert_eq!((port_of(&entry), entry.last_activity()), (2, from_ms(70)));
        routes.apply([RouteChange::Remove { path: path(100_000, Engine::Notebook) }]);
        assert!(routes.is_empty());
    }

    #[test]
    fn activity_is_taken_once_and_later_use_is_listed_again() {
        let routes = Routes::default();
        routes.apply([put(100_000, 1, 50)]);
        assert_eq!(routes.take_activity(), vec![]);
        let entry = routes.get("/cluster-100000").expect("present");
        entry.activity().touch(80);
        entry.activity().touch(90);
        let taken = vec![Use { path: path(100_000, Engine::Notebook), first: from_ms(80), last: from_ms(90) }];
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
            routes.apply([put(number, u16::try_from(number - 99_999).expect("small"), 0)]);
        }
        assert_eq!(routes.len(), 5_000);
        assert_eq!(port(&routes, "/cluster-104999/api/kernels"), Some(5_000));
        let largest = routes.shards.iter().map(|shard| shard.load().len()).max();
        assert!(largest < Some(60), "the shards are even: {largest:?}");
    }
}
