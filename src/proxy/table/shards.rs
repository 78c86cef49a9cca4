//! The route table in parts, so that a change copies one of them and not the table.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use super::routes::Entry;
use crate::proxy::hash;

/// A power of two. With 100,000 routes a change copies a table of about 400 pointers.
pub(crate) const SHARDS: usize = 256;

pub(crate) type Shard = HashSet<ByPath, hash::Build>;

/// An entry that is found by its path.
#[derive(Debug, Clone)]
pub(crate) struct ByPath(pub Arc<Entry>);

impl Borrow<str> for ByPath {
    fn borrow(&self) -> &str {
        self.0.path().as_str()
    }
}

impl Hash for ByPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.path().as_str().hash(state);
    }
}

impl PartialEq for ByPath {
    fn eq(&self, other: &Self) -> bool {
        self.0.path() == other.0.path()
    }
}

impl Eq for ByPath {}

/// Where the route of a path is.
pub(crate) fn shard_of(path: &str) -> usize {
    // Other bits than those by which the shard's own table places it.
    let mixed = hash::Build::default().hash_one(path) >> 40;
    usize::try_from(mixed).unwrap_or(0) % SHARDS
}
