//! The routes that were posted: in memory, and first in slipway's log where there is one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use super::plan::Rules;
use crate::domain::{Posted, RoutePath};
use crate::proxy::{Clock, NotATarget, Routes, Upstream};

/// What came with a route, apart from when it was last used: `target` and whatever else was posted.
type Data = Map<String, Value>;

/// All routes, and the way to change them.
#[derive(Debug)]
pub struct Book {
    routes: Arc<Routes>,
    posted: Mutex<HashMap<RoutePath, Arc<Data>>>,
    rules: Rules,
    clock: Clock,
    /// None where routes are kept in memory only.
    recorder: Option<mpsc::Sender<Entry>>,
    /// What `/` leads to unless somebody posts it.
    default: Option<Upstream>,
}

/// A change on its way into the log, and whom to tell once it is there and applied.
#[derive(Debug)]
pub struct Entry {
    pub change: Posted,
    pub recorded: oneshot::Sender<()>,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("Must specify 'target' as string")]
    NoTarget,
    #[error("Cannot proxy to '{target}': {why}")]
    BadTarget { target: String, why: NotATarget },
    #[error("There is a NUL in the data, which cannot be kept")]
    Nul,
    #[error("The route could not be written down: the log is not reached. Try again.")]
    NotRecorded,
}

impl Book {
    pub(super) fn new(
        routes: Arc<Routes>,
        rules: Rules,
        clock: Clock,
        recorder: Option<mpsc::Sender<Entry>>,
        default: Option<Upstream>,
    ) -> Self {
        let book = Self { routes, posted: Mutex::default(), rules, clock, recorder, default };
        if let Some((path, data)) = book.default() {
            book.apply(Posted::Put { path, data }, book.now());
        }
        book
    }

    /// Puts a route there, in place of any other.
    pub(super) async fn post(&self, path: RoutePath, mut data: Data) -> Result<(), Refused> {
        // Told by the proxy, whatever was posted.
        data.remove("last_activity");
        if self.rules.by_host
            && let Some(host) = path.as_str().split('/').nth(1).filter(|host| !host.is_empty())
        {
            data.insert("host".into(), host.into());
        }
        upstream(&data)?;
        if Value::Object(data.clone()).to_string().contains("\\u0000") {
            return Err(Refused::Nul);
        }
        self.change(Posted::Put { path, data }).await
    }

    /// True if there was such a route.
    pub(super) async fn delete(&self, path: RoutePath) -> Result<bool, Refused> {
        if !self.posted().contains_key(&path) {
            return Ok(false);
        }
        self.change(Posted::Removed { path }).await?;
        Ok(true)
    }

    async fn change(&self, change: Posted) -> Result<(), Refused> {
        let Some(recorder) = &self.recorder else {
            self.apply(change, self.now());
            return Ok(());
        };
        let (recorded, done) = oneshot::channel();
        recorder.send(Entry { change, recorded }).await.map_err(|_closed| Refused::NotRecorded)?;
        done.await.map_err(|_dropped| Refused::NotRecorded)
    }

    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.clock.now_ms()).unwrap_or_default()
    }

    /// Takes over a change that was made, here or elsewhere. A route counts as used at that time.
    pub fn apply(&self, change: Posted, at: DateTime<Utc>) {
        let mut posted = self.posted();
        match change {
            Posted::Put { path, data } => match upstream(&data) {
                Ok(upstream) => {
                    tracing::info!("route {path} -> {upstream}");
                    let upstream = if self.rules.prepends { upstream } else { upstream.without_base() };
                    self.routes.put(path.clone(), upstream, self.rules.prefix, at);
                    posted.insert(path, Arc::new(data));
                }
                // Of a newer slipway, which takes what this one does not.
                Err(why) => tracing::error!("the route {path} is not served: {why}"),
            },
            Posted::Removed { path } => {
                tracing::info!("route {path} removed");
                self.routes.remove(&path);
                posted.remove(&path);
            }
        }
    }

    /// Takes over all routes that there are, each with its last use: none other was posted.
    pub fn replace(&self, routes: Vec<(Posted, DateTime<Utc>)>) {
        let known = self.posted().clone();
        // That of nobody's post was not used elsewhere.
        let mut now: HashMap<RoutePath, (Data, Option<DateTime<Utc>>)> =
            self.default().into_iter().map(|(path, data)| (path, (data, None))).collect();
        for (route, used) in routes {
            if let Posted::Put { path, data } = route {
                now.insert(path, (data, Some(used)));
            }
        }
        for path in known.keys().filter(|path| !now.contains_key(*path)) {
            self.apply(Posted::Removed { path: path.clone() }, self.now());
        }
        for (path, (data, used)) in now {
            if known.get(&path).is_none_or(|known| **known != data) {
                self.apply(Posted::Put { path, data }, used.unwrap_or_else(|| self.now()));
            } else if let Some(used) = used {
                self.used(&path, used);
            }
        }
    }

    /// Nobody's post.
    fn default(&self) -> Option<(RoutePath, Data)> {
        let target = self.default.as_ref()?.to_string();
        Some((RoutePath::root(), Data::from_iter([("target".to_owned(), target.into())])))
    }

    /// Takes over a use seen elsewhere.
    pub fn used(&self, path: &RoutePath, at: DateTime<Utc>) {
        self.routes.record(path, at);
    }

    /// The routes that were used here since the last call.
    pub fn take_activity(&self) -> Vec<(RoutePath, DateTime<Utc>)> {
        self.routes.take_activity().into_iter().map(|used| (used.path, used.last)).collect()
    }

    /// One route as the API shows it.
    pub(super) fn get(&self, path: &RoutePath) -> Option<Value> {
        let data = self.posted().get(path).cloned()?;
        self.shown(path, &data).map(|(shown, _)| shown)
    }

    /// Those last used before that time, or all.
    pub(super) fn list(&self, unused_since: Option<DateTime<Utc>>) -> Map<String, Value> {
        let posted: Vec<_> = self.posted().iter().map(|(path, data)| (path.clone(), Arc::clone(data))).collect();
        let mut listed = Map::new();
        for (path, data) in posted {
            if let Some((shown, used)) = self.shown(&path, &data)
                && unused_since.is_none_or(|since| used < since)
            {
                listed.insert(path.to_string(), shown);
            }
        }
        listed
    }

    fn shown(&self, path: &RoutePath, data: &Data) -> Option<(Value, DateTime<Utc>)> {
        let used = self.routes.get(path.as_str())?.last_activity();
        let mut shown = data.clone();
        shown.insert("last_activity".into(), used.to_rfc3339_opts(SecondsFormat::Millis, true).into());
        Some((shown.into(), used))
    }

    fn posted(&self) -> MutexGuard<'_, HashMap<RoutePath, Arc<Data>>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn upstream(data: &Data) -> Result<Upstream, Refused> {
    let target = data.get("target").and_then(Value::as_str).ok_or(Refused::NoTarget)?;
    target.parse().map_err(|why| Refused::BadTarget { target: target.chars().take(200).collect(), why })
}
