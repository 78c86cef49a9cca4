//! What is not as the log says: wrong, or under way.

use std::collections::BTreeMap;
use std::fmt;

use crate::domain::{ClusterId, Phase};
use crate::store::standing::Standing;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What it is about: a cluster's or a route's name.
    pub about: String,
    /// The cluster whose work may mend it.
    pub cluster: Option<ClusterId>,
    pub what: String,
}

impl Finding {
    pub(super) fn of(id: ClusterId, what: impl Into<String>) -> Self {
        Self { about: id.to_string(), cluster: Some(id), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.what)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub wrong: Vec<Finding>,
    pub under_way: Vec<Finding>,
}

impl Findings {
    /// Tells apart what a worker is at, or will be, from what stays as it is; `standings` are those not gone.
    pub(super) fn sorted(found: Vec<Finding>, standings: &[Standing]) -> Self {
        let of: BTreeMap<ClusterId, &Standing> = standings.iter().map(|one| (one.cluster.id, one)).collect();
        let standing = |finding: &Finding| of.get(&finding.cluster?).copied();
        let (mut under_way, mut wrong): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|finding| standing(finding).is_some_and(is_under_way));
        for finding in &mut under_way {
            if let Some(error) = standing(finding).and_then(|one| one.last_error.as_ref()) {
                finding.what = format!("{}; the last try failed: {error}", finding.what);
            }
        }
        for one in standings {
            let id = one.cluster.id;
            let change = change(&one.cluster.phase);
            if one.parked {
                let error = one.last_error.as_deref().unwrap_or("no reason is known");
                wrong.push(Finding::of(id, format!("work on it was given up: {error}")));
            } else if let Some(change) = change {
                if !is_under_way(one) {
                    wrong.push(Finding::of(id, format!("it {change}, and nobody will see to it")));
                } else if under_way.iter().all(|finding| finding.cluster != Some(id)) {
                    under_way.push(Finding::of(id, format!("it {change}")));
                }
            }
        }
        Self { wrong, under_way }
    }

    /// Without those about clusters of which nothing was wrong before.
    pub(super) fn confirmed(mut self, before: &Self) -> Self {
        self.wrong.retain(|finding| before.wrong.iter().any(|earlier| earlier.about == finding.about));
        self
    }
}

fn is_under_way(standing: &Standing) -> bool {
    standing.scheduled || standing.cluster.phase == Phase::Waiting
}

fn change(phase: &Phase) -> Option<&'static str> {
    match phase {
        Phase::Waiting => Some("waits in line"),
        Phase::Launching => Some("is being launched"),
        Phase::Failed { .. } | Phase::Stopping { .. } => Some("is being removed"),
        Phase::Running { .. } | Phase::Gone { .. } => None,
    }
}
