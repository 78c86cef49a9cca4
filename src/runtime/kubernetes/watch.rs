//! Keeps the mirror: one watch per kind for all clusters, however many there are.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::kind::Kind;
use super::mirror::{Mirror, News, Seen};
use super::pod::Pod;
use crate::domain::ClusterId;
use crate::error_chain::chain;

const HINTS: usize = 4096;
/// Changes of one cluster within so long are told once.
const GATHER: Duration = Duration::from_millis(50);
/// The same of changes that concern workers only: a hundred that become ready are no hundred passes.
const GATHER_WORKERS: Duration = Duration::from_secs(1);

/// Who wants to know of changes, and of which there are some.
#[derive(Default)]
pub struct Hints {
    listeners: Mutex<Vec<mpsc::Sender<ClusterId>>>,
    waiting: Mutex<Waiting>,
    some: Notify,
}

#[derive(Default)]
struct Waiting {
    now: HashSet<ClusterId>,
    workers: HashSet<ClusterId>,
}

impl Hints {
    pub fn listen(&self) -> mpsc::Receiver<ClusterId> {
        let (sender, receiver) = mpsc::channel(HINTS);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    pub fn give(&self, ids: impl IntoIterator<Item = ClusterId>) {
        self.waiting().now.extend(ids);
        self.some.notify_one();
    }

    fn tell(&self, news: News) {
        match news {
            News::None => return,
            News::Of(id) => self.waiting().now.insert(id),
            News::OfWorkers(id) => self.waiting().workers.insert(id),
        };
        self.some.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let mut workers_from = Instant::now();
        loop {
            let workers_wait = !self.waiting().workers.is_empty();
            tokio::select! {
                () = self.some.notified() => sleep(GATHER).await,
                () = sleep_until(workers_from), if workers_wait => {}
            }
            let mut waiting = std::mem::take(&mut self.waiting().now);
            if Instant::now() >= workers_from {
                waiting.extend(std::mem::take(&mut self.waiting().workers));
                workers_from = Instant::now() + GATHER_WORKERS;
            }
            let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.retain(|listener| !listener.is_closed());
            for id in waiting {
                for listener in listeners.iter() {
                    let _ = listener.try_send(id);
                }
            }
        }
    }
}

/// Starts all watches; they end with what is returned.
pub fn watch_all(client: &Client, selector: &str, mirror: &Arc<Mirror>, hints: &Arc<Hints>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let config = watcher::Config::default().labels(selector);
    for kind in Kind::WATCHED {
        let api = Api::all_with(client.clone(), &kind.resource());
        let events = watcher(api, config.clone());
        tasks.spawn(follow(kind, events, move |object| Seen::Object(kind, object), mirror.clone(), hints.clone()));
    }
    let events = watcher(Api::<Pod>::all(client.clone()), config);
    tasks.spawn(follow(Kind::Pod, events, Seen::Pod, mirror.clone(), hints.clone()));
    tasks.spawn(hints.clone().run());
    tasks
}

async fn follow<K: Debug + DeserializeOwned>(
    kind: Kind,
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    seen: impl Fn(K) -> Seen,
    mirror: Arc<Mirror>,
    hints: Arc<Hints>,
) {
    const SHORTEST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(5);
    let mut events = std::pin::pin!(events);
    let mut pause = SHORTEST;
    let mut list = Vec::new();
    while let Some(event) = events.next().await {
        let news = match event {
            Ok(Event::Apply(object)) => mirror.put(seen(object)),
            Ok(Event::Delete(object)) => mirror.remove(&seen(object)),
            Ok(Event::Init) => {
                list.clear();
                News::None
            }
            Ok(Event::InitApply(object)) => {
                list.push(seen(object));
                News::None
            }
            Ok(Event::InitDone) => {
                // What was missed meanwhile is not known.
                hints.give(mirror.replace(kind, std::mem::take(&mut list)));
                News::None
            }
            Err(error) => {
                tracing::warn!(?kind, error = %chain(&error), "the watch of Kubernetes broke; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
                continue;
            }
        };
        pause = SHORTEST;
        hints.tell(news);
    }
}
