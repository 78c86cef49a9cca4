//! The route table as a fold over the log.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::access::Door;
use super::event::{Endpoint, Engine, Event};
use super::ids::{ClusterId, Invalid, text_type};
use super::port::PortName;

/// The most segments that a route's path may have.
pub const MOST_SEGMENTS: usize = 16;
/// The longest path of a route, in bytes.
const LONGEST_PATH: usize = 2048;

/// The path under which a route is reached: `/cluster-678343` or `/cluster-678343_9001`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoutePath(Box<str>);

text_type!(RoutePath);

impl RoutePath {
    /// The well-known place of an engine under a cluster's name.
    pub fn of(id: ClusterId, engine: Engine) -> Self {
        Self(
            match engine {
                Engine::Notebook => format!("/{id}"),
                Engine::DaskScheduler => format!("/{id}_9000"),
                Engine::DaskDashboard => format!("/{id}_9001"),
                Engine::SparkUi => format!("/{id}_9002"),
            }
            .into(),
        )
    }

    /// The place of a port that the profile has named.
    pub fn named(id: ClusterId, port: &PortName) -> Self {
        Self(format!("/{id}_{port}").into())
    }

    /// What takes all that no other route does.
    pub fn root() -> Self {
        Self("/".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cluster whose route this is, if it is one's.
    pub fn cluster(&self) -> Option<ClusterId> {
        let name = self.0.strip_prefix('/')?;
        name.split_once('_').map_or(name, |(id, _)| id).parse().ok()
    }
}

/// A decoded path that others chose, with or without the slashes around it.
impl FromStr for RoutePath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let inner = text.trim_matches('/');
        let invalid = |rule| Err(Invalid::new("route", text, rule));
        if inner.len() > LONGEST_PATH {
            return invalid("at most 2048 bytes");
        }
        if inner.contains("//") {
            return invalid("no two slashes in a row: such an address reaches no route");
        }
        if inner.split('/').count() > MOST_SEGMENTS {
            return invalid("at most 16 segments");
        }
        if inner.chars().any(char::is_control) {
            return invalid("no control characters");
        }
        Ok(Self(format!("/{inner}").into()))
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where requests under a path go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub target: SocketAddr,
    pub prefix: Prefix,
}

/// What becomes of the route's path on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefix {
    /// The target knows its own prefix (Jupyter's `base_url`, Dask's `--dashboard-prefix`).
    Keep,
    /// The target serves from `/`: Dask's WebSocket comm answers nowhere else, and Spark's pages only write their
    /// links with the prefix (`spark.ui.reverseProxyUrl`).
    Strip,
}

impl Prefix {
    pub fn of(engine: Engine) -> Self {
        match engine {
            Engine::Notebook | Engine::DaskDashboard => Self::Keep,
            Engine::DaskScheduler | Engine::SparkUi => Self::Strip,
        }
    }
}

/// A difference to the route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteChange {
    /// Put the route there, in place of any other. `since` is when it was recorded.
    Put {
        path: RoutePath,
        route: Route,
        since: DateTime<Utc>,
    },
    Remove {
        path: RoutePath,
    },
    /// From now on this is the door of all the cluster's routes; without one nobody enters.
    Door {
        cluster: ClusterId,
        door: Option<Door>,
    },
}

/// What the table is made of: where one cluster answers and whom it lets in, as of one version of its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub version: i64,
    pub endpoint: Option<Endpoint>,
    /// None once it is no longer wanted.
    #[serde(default)]
    pub door: Option<Door>,
    /// When the endpoint was recorded.
    pub since: DateTime<Utc>,
}

/// Exactly the routes of the running clusters, the doors of all that are wanted, and which event of each stream was applied last.
///
/// That is kept of clusters that are gone too: an older event of theirs that is read again must not
/// bring a route back.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    placed: HashMap<ClusterId, Placed>,
}

impl RouteTable {
    /// All routes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (RoutePath, Route)> {
        let with_endpoint = self.placed.iter().filter_map(|(id, placed)| Some((*id, placed.endpoint.as_ref()?)));
        with_endpoint.flat_map(|(id, endpoint)| routes_to(id, endpoint))
    }

    /// The doors of all clusters that are wanted.
    pub fn doors(&self) -> impl Iterator<Item = (ClusterId, &Door)> {
        self.placed.iter().filter_map(|(cluster, placed)| Some((*cluster, placed.door.as_ref()?)))
    }

    /// Starts from a known state of one cluster, so that its older events are not needed.
    pub fn start_at(&mut self, id: ClusterId, state: Placed) -> Vec<RouteChange> {
        let mut changes = Vec::new();
        self.settle(id, state, &mut changes);
        changes
    }

    /// Starts anew from all clusters that there are, and forgets the others: the difference to before.
    pub fn restart_at(&mut self, now: HashMap<ClusterId, Placed>) -> Vec<RouteChange> {
        let mut changes = Vec::new();
        let gone: Vec<_> = self.placed.extract_if(|id, _| !now.contains_key(id)).collect();
        for (id, placed) in gone {
            moved(id, placed.endpoint.as_ref(), None, placed.since, &mut changes);
            changes.extend(placed.door.map(|_| RouteChange::Door { cluster: id, door: None }));
        }
        self.placed.reserve(now.len());
        for (id, state) in now {
            self.settle(id, state, &mut changes);
        }
        changes
    }

    fn settle(&mut self, id: ClusterId, state: Placed, changes: &mut Vec<RouteChange>) {
        let before = self.placed.get(&id);
        if before.and_then(|before| before.door.as_ref()) != state.door.as_ref() {
            changes.push(RouteChange::Door { cluster: id, door: state.door.clone() });
        }
        let endpoint = before.and_then(|before| before.endpoint.as_ref());
        moved(id, endpoint, state.endpoint.as_ref(), state.since, changes);
        self.placed.insert(id, state);
    }

    fn known(&mut self, id: ClusterId, since: DateTime<Utc>) -> &mut Placed {
        self.placed.entry(id).or_insert(Placed { version: 0, endpoint: None, door: None, since })
    }

    /// The clusters that have routes or a door.
    pub fn placed(&self) -> impl Iterator<Item = (ClusterId, &Placed)> {
        let there = |placed: &Placed| placed.endpoint.is_some() || placed.door.is_some();
        self.placed.iter().filter(move |(_, placed)| there(placed)).map(|(id, placed)| (*id, placed))
    }

    /// Applies the event that made the cluster's stream `version` long. One that was applied
    /// before has no effect, so that a reader may start anywhere before the end of what it knows.
    pub fn apply(
        &mut self,
        id: ClusterId,
        version: i64,
        event: &Event,
        recorded_at: DateTime<Utc>,
    ) -> Vec<RouteChange> {
        let known = self.known(id, recorded_at);
        if version <= known.version {
            return vec![];
        }
        known.version = version;
        match event {
            Event::BecameReady(endpoint) => self.place(id, Some(endpoint), recorded_at),
            Event::LaunchFailed { .. } | Event::StopRequested { .. } | Event::Removed {} => {
                let mut changes = self.place(id, None, recorded_at);
                changes.extend(self.guard(id, None));
                changes
            }
            Event::LaunchRequested { owner, .. } => self.guard(id, Door::new(owner.clone(), false)),
            Event::Claimed { owner } => self.guard(id, Door::new(owner.clone(), true)),
            Event::AccessSet { access } => self.change(id, |door| door.access = *access),
            Event::Shared { id: share, until } => self.change(id, |door| {
                door.shares.insert(*share, *until);
            }),
            Event::Unshared { id: share } => self.change(id, |door| {
                door.shares.remove(share);
            }),
            Event::Admitted {}
            | Event::StepReached { .. }
            | Event::ScaleRequested { .. }
            | Event::Scaled { .. }
            | Event::Parked { .. }
            | Event::Requeued { .. } => vec![],
        }
    }

    /// Puts the door there, or takes it away.
    fn guard(&mut self, cluster: ClusterId, door: Option<Door>) -> Vec<RouteChange> {
        let Some(placed) = self.placed.get_mut(&cluster) else { return vec![] };
        let before = std::mem::replace(&mut placed.door, door.clone());
        if before == door { vec![] } else { vec![RouteChange::Door { cluster, door }] }
    }

    fn change(&mut self, cluster: ClusterId, change: impl FnOnce(&mut Door)) -> Vec<RouteChange> {
        let Some(mut door) = self.placed.get(&cluster).and_then(|placed| placed.door.clone()) else {
            return vec![];
        };
        change(&mut door);
        self.guard(cluster, Some(door))
    }

    fn place(&mut self, id: ClusterId, endpoint: Option<&Endpoint>, since: DateTime<Utc>) -> Vec<RouteChange> {
        let known = self.known(id, since);
        known.since = since;
        let mut changes = Vec::new();
        moved(id, known.endpoint.as_ref(), endpoint, since, &mut changes);
        known.endpoint = endpoint.cloned();
        changes
    }
}

/// What becomes of a cluster's routes when it answers elsewhere.
fn moved(
    id: ClusterId,
    from: Option<&Endpoint>,
    to: Option<&Endpoint>,
    since: DateTime<Utc>,
    changes: &mut Vec<RouteChange>,
) {
    if from == to {
        return;
    }
    let mut held: BTreeMap<_, _> = from.into_iter().flat_map(|endpoint| routes_to(id, endpoint)).collect();
    let wanted = to.into_iter().flat_map(|endpoint| routes_to(id, endpoint));
    let moved = wanted.filter(|(path, route)| held.remove(path) != Some(*route));
    changes.extend(moved.map(|(path, route)| RouteChange::Put { path, route, since }));
    changes.extend(held.into_keys().map(|path| RouteChange::Remove { path }));
}

/// Every route that leads to the cluster.
fn routes_to(id: ClusterId, endpoint: &Endpoint) -> impl Iterator<Item = (RoutePath, Route)> {
    let route = |port, prefix| Route { target: SocketAddr::new(endpoint.address, port), prefix };
    let engines = endpoint
        .ports
        .iter()
        .map(move |(engine, port)| (RoutePath::of(id, *engine), route(*port, Prefix::of(*engine))));
    let named =
        endpoint.named.iter().map(move |(name, at)| (RoutePath::named(id, name), route(at.port, at.prefix)));
    engines.chain(named)
}
