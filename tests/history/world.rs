//! The world that all workers of a history share, and the hands by which each of them works on it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slipway::domain::{Blueprint, ClusterId, Endpoint, Engine, Observation, Step};
use slipway::runtime::engines::EngineActivity;
use slipway::runtime::{Pace, Runtime, RuntimeError};
use tokio::sync::{Notify, mpsc, watch};

/// What a call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    FailsBefore,
    FailsAfter,
    DiesBefore,
    DiesAfter,
    Away,
    Refused,
}

impl Fault {
    pub const ALL: [Self; 6] =
        [Self::FailsBefore, Self::FailsAfter, Self::DiesBefore, Self::DiesAfter, Self::Away, Self::Refused];
}

/// A cluster that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Built {
    pub workers: u16,
    /// Where its notebook is: another one each time that the cluster is built.
    pub port: u16,
}

/// What became of a cluster over time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Past {
    pub built: u32,
    /// By a machine that lost it, not by a worker.
    pub crashed: u32,
    pub removed: u32,
}

#[derive(Default)]
pub struct World(Mutex<State>);

#[derive(Default)]
struct State {
    there: BTreeMap<ClusterId, Built>,
    past: BTreeMap<ClusterId, Past>,
    ports: u16,
}

impl World {
    pub fn there(&self) -> BTreeMap<ClusterId, Built> {
        self.state().there.clone()
    }

    pub fn past(&self, id: ClusterId) -> Past {
        self.state().past.get(&id).copied().unwrap_or_default()
    }

    pub fn crash(&self, id: ClusterId) {
        let mut state = self.state();
        if state.there.remove(&id).is_some() {
            state.past.entry(id).or_default().crashed += 1;
        }
    }

    fn build(&self, blueprint: &Blueprint) {
        let mut state = self.state();
        let State { there, past, ports } = &mut *state;
        let workers = blueprint.workers.get();
        let built = there.entry(blueprint.id).or_insert_with(|| {
            past.entry(blueprint.id).or_default().built += 1;
            *ports += 1;
            Built { workers, port: 10_000 + *ports }
        });
        built.workers = workers;
    }

    fn remove(&self, id: ClusterId) {
        let mut state = self.state();
        if state.there.remove(&id).is_some() {
            state.past.entry(id).or_default().removed += 1;
        }
    }

    fn look(&self, id: ClusterId) -> Observation {
        match self.state().there.get(&id) {
            None => Observation::Absent,
            Some(built) => Observation::Present {
                steps: vec![Step::Prepared],
                endpoint: Some(endpoint(built.port)),
                workers_ready: built.workers,
            },
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn endpoint(port: u16) -> Endpoint {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Endpoint { address, ports: [(Engine::Notebook, port)].into(), named: [].into() }
}

/// The runtime of one worker.
pub struct Hands {
    world: Arc<World>,
    faults: Mutex<VecDeque<Fault>>,
    paused: watch::Sender<bool>,
    dead: AtomicBool,
    dying: Notify,
}

impl Hands {
    pub fn on(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            faults: Mutex::default(),
            paused: watch::Sender::default(),
            dead: AtomicBool::new(false),
            dying: Notify::new(),
        })
    }

    pub fn meet(&self, fault: Fault) {
        self.faults().push_back(fault);
    }

    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// From now on nothing goes wrong.
    pub fn be_sound(&self) {
        self.faults().clear();
        self.pause(false);
    }

    /// Ends when a call was its last one.
    pub async fn death(&self) {
        while !self.dead.load(Ordering::SeqCst) {
            self.dying.notified().await;
        }
    }

    fn faults(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.dying.notify_one();
        std::future::pending::<()>().await;
    }

    async fn call<T>(&self, effect: impl FnOnce(&World) -> T) -> Result<T, RuntimeError> {
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
        let fault = self.faults().pop_front();
        let failed = || RuntimeError::Temporary { doing: "the call was to fail".to_owned(), source: None };
        match fault {
            Some(Fault::FailsBefore) => return Err(failed()),
            Some(Fault::Away) => return Err(RuntimeError::Unavailable { what: "the world", source: None }),
            Some(Fault::Refused) => return Err(RuntimeError::Permanent { why: "it is refused".to_owned() }),
            Some(Fault::DiesBefore) => self.die().await,
            Some(Fault::FailsAfter | Fault::DiesAfter) | None => {}
        }
        let done = effect(&self.world);
        match fault {
            Some(Fault::FailsAfter) => return Err(failed()),
            Some(Fault::DiesAfter) => self.die().await,
            _ => {}
        }
        // Another may have its turn between the effect and the word of it.
        tokio::task::yield_now().await;
        Ok(done)
    }
}

impl Runtime for Hands {
    async fn apply(&self, blueprint: &Blueprint) -> Result<(), RuntimeError> {
        self.call(|world| world.build(blueprint)).await
    }

    async fn delete(&self, id: ClusterId) -> Result<(), RuntimeError> {
        self.call(|world| world.remove(id)).await
    }

    async fn observe(&self, id: ClusterId) -> Result<Observation, RuntimeError> {
        self.call(|world| world.look(id)).await
    }

    async fn list(&self) -> Result<Vec<ClusterId>, RuntimeError> {
        self.call(|world| world.there().into_keys().collect()).await
    }

    async fn activity(&self, _: ClusterId, _: &Endpoint) -> Result<Option<EngineActivity>, RuntimeError> {
        self.call(|_| None).await
    }

    fn changes(&self) -> mpsc::Receiver<ClusterId> {
        // Hints may all be lost.
        mpsc::channel(1).1
    }

    fn pace(&self) -> Pace {
        let soon = Duration::from_millis(2);
        Pace { launching: soon, running: soon, ending: soon }
    }
}
