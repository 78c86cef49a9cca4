//! What the routes of one cluster have in common: its door, and the password of its notebook.

use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwapOption, Guard};

use super::cookies;
use crate::domain::{ClusterId, Door, Engine, Keyring, RoutePath};

/// Changes of the door are seen by the requests that come after them; whoever is in stays.
#[derive(Debug)]
pub(super) struct Gate {
    cluster: ClusterId,
    notebook: RoutePath,
    /// The name of the cookie of whoever followed a link.
    cookie: Box<str>,
    door: ArcSwapOption<Door>,
    password: OnceLock<Box<str>>,
}

impl Gate {
    pub(super) fn new(cluster: ClusterId) -> Self {
        let notebook = RoutePath::of(cluster, Engine::Notebook);
        let cookie = cookies::of_link(cluster).into_boxed_str();
        Self { cluster, notebook, cookie, door: ArcSwapOption::empty(), password: OnceLock::new() }
    }

    pub(super) fn set(&self, door: Option<Door>) {
        self.door.store(door.map(Arc::new));
    }

    pub(super) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// None while it is shut to all.
    pub(super) fn door(&self) -> Guard<Option<Arc<Door>>> {
        self.door.load()
    }

    /// What the target of this route asks for of everybody: a notebook its password, all others nothing.
    pub(super) fn password(&self, path: &RoutePath, keyring: &Keyring) -> Option<&str> {
        (*path == self.notebook)
            .then(|| &**self.password.get_or_init(|| keyring.notebook_token(self.cluster).into_boxed_str()))
    }
}
