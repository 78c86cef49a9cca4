//! Uses of routes that the database does not know of yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::domain::RoutePath;

/// The last use of each route that is still to be written down: what the database did not take is kept.
#[derive(Debug, Default)]
pub(super) struct Unwritten(Mutex<HashMap<RoutePath, DateTime<Utc>>>);

impl Unwritten {
    /// One more; of two of a route the later.
    pub(super) fn owe(&self, path: RoutePath, at: DateTime<Utc>) {
        let mut uses = self.uses();
        let known = uses.entry(path).or_insert(at);
        *known = at.max(*known);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.uses().is_empty()
    }

    pub(super) fn all(&self) -> Vec<(RoutePath, DateTime<Utc>)> {
        self.uses().iter().map(|(path, at)| (path.clone(), *at)).collect()
    }

    /// These are written down; what was used again meanwhile is still owed. How many are.
    pub(super) fn settle(&self, written: Vec<(RoutePath, DateTime<Utc>)>) -> usize {
        let mut uses = self.uses();
        for (path, at) in written {
            if uses.get(&path) == Some(&at) {
                uses.remove(&path);
            }
        }
        uses.len()
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<RoutePath, DateTime<Utc>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_during_the_writing_is_still_owed() {
        let at = |ms| DateTime::from_timestamp_millis(ms).expect("a time");
        let path = |text: &str| text.parse::<RoutePath>().expect("a path");
        let owed = Unwritten::default();
        owed.owe(path("/a"), at(2));
        owed.owe(path("/a"), at(1));
        owed.owe(path("/b"), at(1));
        let mut batch = owed.all();
        batch.sort();
        assert_eq!(batch, [(path("/a"), at(2)), (path("/b"), at(1))]);
        owed.owe(path("/b"), at(3));
        assert_eq!(owed.settle(batch), 1);
        assert_eq!(owed.all(), [(path("/b"), at(3))]);
    }
}
