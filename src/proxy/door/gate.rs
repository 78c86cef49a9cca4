//! What the routes of one cluster have in common: its door, and the password of its notebook.

use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwapOption, Guard};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::domain::{ClusterId, Door, Engine, Keyring, RoutePath};
use crate::proxy::request::cookies;

/// Changes of the door are seen by the requests that come after them, and told to those who stay.
#[derive(Debug)]
pub(crate) struct Gate {
    cluster: ClusterId,
    notebook: RoutePath,
    /// The name of the cookie of whoever followed a link.
    cookie: Box<str>,
    door: ArcSwapOption<Door>,
    changed: Notify,
    password: OnceLock<Box<str>>,
}

impl Gate {
    pub(crate) fn new(cluster: ClusterId) -> Self {
        let notebook = RoutePath::of(cluster, Engine::Notebook);
        let cookie = cookies::of_link(cluster).into_boxed_str();
        Self {
            cluster,
            notebook,
            cookie,
            door: ArcSwapOption::empty(),
            changed: Notify::new(),
            password: OnceLock::new(),
        }
    }

    pub(crate) fn set(&self, door: Option<Door>) {
        self.door.store(door.map(Arc::new));
        self.changed.notify_waiters();
    }

    /// Ends with the next change of the door.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// None while it is shut to all.
    pub(crate) fn door(&self) -> Guard<Option<Arc<Door>>> {
        self.door.load()
    }

    /// What the target of this route asks for of everybody: a notebook its password, all others nothing.
    pub(crate) fn password(&self, path: &RoutePath, keyring: &Keyring) -> Option<&str> {
        (*path == self.notebook)
            .then(|| &**self.password.get_or_init(|| keyring.notebook_token(self.cluster).into_boxed_str()))
    }
}
