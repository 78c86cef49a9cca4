//! Those who enqueue: each has clusters of its own, of which it wants something.

use slipway::domain::{Cluster, ClusterId, Event, Limits, cluster};
use slipway::store::Store;
use slipway::store::append::{Append, Caps, Meta};

/// A cluster that work is wanted of: one job at a time, as there is one row of work for each.
pub struct Wanting {
    pub id: ClusterId,
    version: i64,
    state: Cluster,
}

impl Wanting {
    /// Of a new cluster, which is work.
    pub async fn launch(store: &Store) -> Self {
        let id = ClusterId::from_number(rand::random_range(100_000_000_000..=999_999_999_999)).unwrap();
        let launch = Event::LaunchRequested {
            owner: "bench".parse().unwrap(),
            profile: "default".parse().unwrap(),
            workers: 2.try_into().unwrap(),
            materials: vec![],
            limits: Limits { workers: 8.try_into().unwrap(), idle_seconds: 3600, lifetime_seconds: 0 },
        };
        let events = [launch, Event::Admitted {}];
        let state = cluster::replay(id, &events).unwrap().unwrap();
        append(store, id, 0, &events, None, &state).await;
        Self { id, version: 2, state }
    }

    /// Enqueues: the event, its hash, the stream's head, the read model and the row of work, in one durable transaction.
    pub async fn want(&mut self, store: &Store) {
        let event = Event::Requeued { why: None };
        let after = cluster::evolve(self.id, Some(self.state.clone()), &event).unwrap();
        append(store, self.id, self.version, &[event], Some(&self.state), &after).await;
        self.version += 1;
        self.state = after;
    }
}

async fn append(
    store: &Store,
    id: ClusterId,
    expected: i64,
    events: &[Event],
    before: Option<&Cluster>,
    after: &Cluster,
) {
    let meta = &Meta::by("bench".parse().unwrap());
    let append = Append { id, expected, events, before, after, meta, wake: true, caps: Caps::NONE, key: None };
    store.append(append).await.unwrap();
}
