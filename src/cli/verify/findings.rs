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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cluster, Limits, StopReason};

    fn standing(number: u64, phase: Phase, scheduled: bool) -> Standing {
        let cluster = Cluster {
            id: ClusterId::from_number(number).expect("six digits"),
            owner: "alice".parse().expect("a subject"),
            profile: "default".parse().expect("a name"),
            workers: 2.try_into().expect("a number"),
            materials: vec![],
            limits: Limits { workers: 2.try_into().expect("a number"), idle_seconds: 0, lifetime_seconds: 0 },
            steps: vec![],
            phase,
            access: Default::default(),
            shares: Default::default(),
            claimed: false,
            parked: None,
        };
        Standing { cluster, claims: 1, scheduled, parked: false, last_error: None }
    }

    fn running(number: u64, scheduled: bool) -> Standing {
        let endpoint =
            crate::domain::Endpoint { address: [10, 0, 0, 1].into(), ports: [].into(), named: [].into() };
        standing(number, Phase::Running { endpoint, workers_ready: 2 }, scheduled)
    }

    fn told(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn what_is_worked_on_is_under_way_and_the_rest_is_wrong() {
        let mut tried = running(100_002, true);
        tried.last_error = Some("busy".to_owned());
        let standings = [running(100_001, false), tried, running(100_003, true)];
        let ids = [100_001, 100_002, 100_009].map(|number| ClusterId::from_number(number).expect("six digits"));
        let found = ids.map(|id| Finding::of(id, "it is not there")).into();
        let found = Findings::sorted(found, &standings);
        assert_eq!(told(&found.wrong), ["cluster-100001: it is not there", "cluster-100009: it is not there"]);
        assert_eq!(told(&found.under_way), ["cluster-100002: it is not there; the last try failed: busy"]);
    }

    #[test]
    fn launches_and_removals_are_under_way_while_somebody_will_see_to_them() {
        let mut parked = standing(100_004, Phase::Stopping { reason: StopReason::Owner }, false);
        (parked.parked, parked.last_error) = (true, Some("no answer".to_owned()));
        let standings = [
            standing(100_001, Phase::Waiting, false),
            standing(100_002, Phase::Launching, true),
            standing(100_003, Phase::Launching, false),
            parked,
        ];
        let found = Findings::sorted(vec![], &standings);
        let under_way = ["cluster-100001: it waits in line", "cluster-100002: it is being launched"];
        assert_eq!(told(&found.under_way), under_way);
        let wrong = [
            "cluster-100003: it is being launched, and nobody will see to it",
            "cluster-100004: work on it was given up: no answer",
        ];
        assert_eq!(told(&found.wrong), wrong);
    }

    #[test]
    fn only_what_is_wrong_twice_is_wrong() {
        let id = |number| ClusterId::from_number(number).expect("six digits");
        let of = |wrong: &[u64]| Findings {
            wrong: wrong.iter().map(|number| Finding::of(id(*number), "it is not there")).collect(),
            under_way: vec![],
        };
        assert_eq!(of(&[100_002, 100_003]).confirmed(&of(&[100_001, 100_002])), of(&[100_002]));
    }
}
