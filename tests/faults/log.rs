//! Those who read the log while all kinds of things happen to it, and one who does it wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use slipway::domain::ClusterId;
use slipway::service::Service;
use slipway::service::follow::Follower;
use slipway::store::Store;
use slipway::store::append::Caps;
use slipway::store::events::Position;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::harness::{eventually, launch, subject, whole_log};

pub type Seen = Vec<(ClusterId, i64)>;

pub struct Reader {
    seen: Arc<Mutex<Seen>>,
    /// Rung so that nobody waits for the next second.
    bell: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reader {
    pub fn of(store: Store) -> Self {
        let (seen, bell) = (Arc::<Mutex<Seen>>::default(), watch::Sender::default());
        let (kept, heard) = (Arc::clone(&seen), bell.subscribe());
        let task = tokio::spawn(async move {
            let mut log = Follower::new(&store, heard, Position::default());
            loop {
                let batch = log.next().await.expect("the log is sound").recorded;
                kept.lock().expect("no panic").extend(batch.iter().map(|one| (one.cluster, one.version)));
            }
        });
        Self { seen, bell, task }
    }

    /// What must not be done: after an interruption it goes on from where the log is then.
    pub fn forgetful(store: Store) -> Self {
        let (seen, bell) = (Arc::<Mutex<Seen>>::default(), watch::Sender::default());
        let kept = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut position = Position::default();
            loop {
                match store.read_after(position, 500).await {
                    Ok(batch) => {
                        position = batch.last().map_or(position, |last| last.position);
                        kept.lock().expect("no panic").extend(batch.iter().map(|one| (one.cluster, one.version)));
                    }
                    Err(_) => {
                        position = loop {
                            match store.horizon().await {
                                Ok(horizon) => break horizon,
                                Err(_) => sleep(Duration::from_millis(20)).await,
                            }
                        };
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
        });
        Self { seen, bell, task }
    }

    pub fn seen(&self) -> Seen {
        self.bell.send_replace(());
        self.seen.lock().expect("no panic").clone()
    }

    /// Until it has seen so many, and none twice.
    pub async fn has(&self, log: &Seen) {
        eventually("all of the log", async || (self.seen().len() >= log.len()).then_some(())).await;
        assert_eq!(self.seen(), *log);
    }
}

/// Launches until the reader has seen one of them: it passes by what comes while it is away.
pub async fn goes_on(reader: &Reader, store: &Store) {
    const MOMENT: Duration = Duration::from_millis(500);
    eventually("a reader to go on", async || {
        launch_some(&service(store), 1).await;
        let newest = whole(store).await.pop();
        let has_it = async {
            while reader.seen().last() != newest.as_ref() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(MOMENT, has_it).await.ok()
    })
    .await;
}

/// All of it, in its order, once nothing is under way.
pub async fn whole(store: &Store) -> Seen {
    let log = whole_log(store).await;
    log.iter().map(|recorded| (recorded.cluster, recorded.version)).collect()
}

pub fn service(store: &Store) -> Service {
    Service::new(store.clone(), Caps::NONE)
}

pub async fn launch_some(service: &Service, count: usize) {
    for _ in 0..count {
        service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
    }
}
