//! What has become of a cluster between two times.

use std::fmt;

use serde::Serialize;

use super::access::{Access, ShareId};
use super::cluster::{Cluster, Phase};
use super::ids::Subject;
use super::story;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    Came {
        status: &'static str,
        workers: u16,
    },
    Status {
        from: &'static str,
        to: &'static str,
    },
    /// How many it is asked to have.
    Workers {
        from: u16,
        to: u16,
    },
    /// How many are connected.
    Connected {
        from: u16,
        to: u16,
    },
    /// It was a pool's before.
    Claimed {
        owner: Subject,
    },
    Access {
        from: Access,
        to: Access,
    },
    Shared {
        id: ShareId,
    },
    Unshared {
        id: ShareId,
    },
    Parked {
        why: String,
    },
    Unparked,
    Went {
        why: String,
    },
}

/// Nothing when it is as it was.
pub fn difference(before: Option<&Cluster>, after: Option<&Cluster>) -> Vec<Change> {
    let Some(after) = after else { return vec![] };
    let gone = matches!(after.phase, Phase::Gone { .. });
    let mut changes = vec![];
    match before {
        Some(before) if matches!(before.phase, Phase::Gone { .. }) => return vec![],
        Some(before) => compare(before, after, &mut changes),
        None => changes.push(Change::Came { status: after.phase.status(), workers: after.workers.get() }),
    }
    if gone {
        changes.push(Change::Went { why: story::ending(&after.phase).unwrap_or_default() });
    }
    changes
}

fn compare(before: &Cluster, after: &Cluster, changes: &mut Vec<Change>) {
    let (from, to) = (before.phase.status(), after.phase.status());
    changes.extend((from != to).then_some(Change::Status { from, to }));
    let (from, to) = (before.workers.get(), after.workers.get());
    changes.extend((from != to).then_some(Change::Workers { from, to }));
    let (from, to) = (before.phase.workers_ready(), after.phase.workers_ready());
    changes.extend((from != to).then_some(Change::Connected { from, to }));
    changes.extend((before.owner != after.owner).then(|| Change::Claimed { owner: after.owner.clone() }));
    let (from, to) = (before.access, after.access);
    changes.extend((from != to).then_some(Change::Access { from, to }));
    let shares = after.shares.keys().filter(|id| !before.shares.contains_key(id));
    changes.extend(shares.map(|id| Change::Shared { id: *id }));
    let shares = before.shares.keys().filter(|id| !after.shares.contains_key(id));
    changes.extend(shares.map(|id| Change::Unshared { id: *id }));
    if before.parked != after.parked {
        let parked = after.parked.as_ref().map(|reason| Change::Parked { why: reason.why().to_owned() });
        changes.push(parked.unwrap_or(Change::Unparked));
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Came { status, workers } => write!(f, "came: {status}, {}", story::count(*workers)),
            Self::Status { from, to } => write!(f, "{from} → {to}"),
            Self::Workers { from, to } => write!(f, "workers {from} → {to}"),
            Self::Connected { from, to } => write!(f, "connected {from} → {to}"),
            Self::Claimed { owner } => write!(f, "claimed by {owner}"),
            Self::Access { from, to } => write!(f, "access {from} → {to}"),
            Self::Shared { id } => write!(f, "share {id}"),
            Self::Unshared { id } => write!(f, "no share {id}"),
            Self::Parked { why } => write!(f, "nobody works on it: {why}"),
            Self::Unparked => f.write_str("it is worked on again"),
            Self::Went { why } => write!(f, "went: {why}"),
        }
    }
}
