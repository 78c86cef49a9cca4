//! A cluster's ten events in a log to start from.

use slipway::domain::{Access, ClusterId, Endpoint, Event, Limits, Step, StopReason, Subject, cluster};
use slipway::store::Store;
use slipway::store::append::{Append, Caps, Meta};

/// From the launch to the present of one that runs, or to the end of one that is gone.
pub fn life(owner: Subject, endpoint: Endpoint, runs: bool) -> Vec<Event> {
    let mut events = vec![
        Event::LaunchRequested {
            owner,
            profile: "default".parse().unwrap(),
            workers: 2.try_into().unwrap(),
            materials: vec![],
            limits: Limits { workers: 8.try_into().unwrap(), idle_seconds: 0, lifetime_seconds: 0 },
        },
        // The load comes as nobody, as it does to the peers.
        Event::AccessSet { access: Access::Public },
        Event::Admitted {},
        Event::StepReached { step: Step::Prepared },
        Event::StepReached { step: Step::SchedulerStarted },
        Event::BecameReady(endpoint),
        Event::Scaled { workers: 2 },
        Event::ScaleRequested { workers: 3.try_into().unwrap() },
    ];
    if runs {
        events.extend([Event::Scaled { workers: 3 }, Event::Scaled { workers: 2 }]);
    } else {
        events.extend([Event::StopRequested { reason: StopReason::Owner }, Event::Removed {}]);
    }
    events
}

/// All of it in one append.
pub async fn write(store: &Store, id: ClusterId, events: &[Event]) {
    let after = cluster::replay(id, events).unwrap().unwrap();
    let append = Append {
        id,
        expected: 0,
        events,
        before: None,
        after: &after,
        meta: &Meta::by("bench".parse().unwrap()),
        wake: false,
        caps: Caps::NONE,
        key: None,
    };
    store.append(append).await.unwrap();
}
