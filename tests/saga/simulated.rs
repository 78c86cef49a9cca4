//! A runtime whose clusters are entries of a map, and which fails when it is told to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway::domain::{Blueprint, ClusterId, Endpoint, Engine, Observation, Step};
use slipway::runtime::engines::EngineActivity;
use slipway::runtime::{Pace, Runtime, RuntimeError};
use tokio::sync::{Notify, mpsc};

/// What the engines tell when they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Idle,
    KernelBusy,
    TasksInFlight,
    Silent,
    NotRunning,
}

pub struct Simulated {
    world: Mutex<HashMap<ClusterId, u16>>,
    calls: AtomicU64,
    /// The number of the call that fails, counted from 1; 0 for none.
    fails_at: u64,
    /// Every call fails.
    pub down: AtomicBool,
    /// What was seen is told only once `let_go` is rung.
    pub slow: AtomicBool,
    pub let_go: Notify,
    /// How often all clusters were listed.
    pub lists: AtomicU64,
    /// When a terminal was last used.
    pub terminal: Mutex<Option<DateTime<Utc>>>,
    /// Every start is refused for good.
    pub refuses: AtomicBool,
    /// Every start goes on for ever.
    pub hangs: AtomicBool,
    /// What was started never answers.
    pub mute: AtomicBool,
    pub used: Mutex<Use>,
    /// The most starts of one cluster that were under way at once.
    pub most_at_once: AtomicU64,
    at_once: AtomicU64,
    pub looking: AtomicU64,
}

/// Counts for as long as it is there, even if its task is aborted.
struct Counted<'a>(&'a AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<'a> Counted<'a> {
    fn in_(count: &'a AtomicU64) -> (Self, u64) {
        let now = count.fetch_add(1, Ordering::SeqCst) + 1;
        (Self(count), now)
    }
}

impl Simulated {
    pub fn failing_at(call: u64) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::default(),
            calls: AtomicU64::new(0),
            fails_at: call,
            down: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            let_go: Notify::new(),
            lists: AtomicU64::new(0),
            terminal: Mutex::default(),
            refuses: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            used: Mutex::new(Use::Idle),
            most_at_once: AtomicU64::new(0),
            at_once: AtomicU64::new(0),
            looking: AtomicU64::new(0),
        })
    }

    pub fn sound() -> Arc<Self> {
        Self::failing_at(0)
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn clusters(&self) -> HashMap<ClusterId, u16> {
        self.world().clone()
    }

    /// As if somebody had tampered with the world behind slipway's back.
    pub fn world(&self) -> std::sync::MutexGuard<'_, HashMap<ClusterId, u16>> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, id: ClusterId) -> Observation {
        match self.world().get(&id) {
            None => Observation::Absent,
            Some(_) if self.mute.load(Ordering::SeqCst) => {
                Observation::Present { steps: vec![Step::Prepared], endpoint: None, workers_ready: 0 }
            }
            Some(workers) => {
                let port = u16::try_from(id.number() % 60_000).expect("small") + 1;
                let endpoint = Endpoint {
                    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    ports: [(Engine::Notebook, port)].into(),
                    named: [].into(),
                };
                Observation::Present {
                    steps: vec![Step::Prepared, Step::SchedulerStarted],
                    endpoint: Some(endpoint),
                    workers_ready: *workers,
                }
            }
        }
    }

    /// The starts that are under way.
    pub fn starting(&self) -> u64 {
        self.at_once.load(Ordering::SeqCst)
    }

    /// Fails half-way every other time: what was to be done is done, but nobody is told.
    fn call(&self, effect: impl FnOnce(&mut HashMap<ClusterId, u16>)) -> Result<(), RuntimeError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.down.load(Ordering::SeqCst) || (number == self.fails_at && number.is_multiple_of(2)) {
            return Err(failure(number));
        }
        effect(&mut self.world());
        if number == self.fails_at { Err(failure(number)) } else { Ok(()) }
    }
}

fn failure(number: u64) -> RuntimeError {
    RuntimeError::Temporary { doing: format!("call {number} was to fail"), source: None }
}

impl Runtime for Simulated {
    async fn apply(&self, blueprint: &Blueprint) -> Result<(), RuntimeError> {
        let (_counted, now) = Counted::in_(&self.at_once);
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.refuses.load(Ordering::SeqCst) {
            return Err(RuntimeError::Permanent { why: "there is no such image".to_owned() });
        }
        self.call(|world| {
            world.insert(blueprint.id, blueprint.workers.get());
        })
    }

    async fn delete(&self, id: ClusterId) -> Result<(), RuntimeError> {
        self.call(|world| {
            world.remove(&id);
        })
    }

    async fn observe(&self, id: ClusterId) -> Result<Observation, RuntimeError> {
        self.call(|_| {})?;
        let seen = self.look(id);
        if self.slow.load(Ordering::SeqCst) {
            let _counted = Counted::in_(&self.looking);
            self.let_go.notified().await;
        }
        Ok(seen)
    }

    async fn list(&self) -> Result<Vec<ClusterId>, RuntimeError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        Ok(self.world().keys().copied().collect())
    }

    async fn activity(&self, _: ClusterId, _: &Endpoint) -> Result<Option<EngineActivity>, RuntimeError> {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let activity = EngineActivity {
            kernels: 1,
            busy_kernels: u32::from(used == Use::KernelBusy),
            last_kernel_activity: None,
            terminals: 0,
            last_terminal_activity: *self.terminal.lock().unwrap_or_else(PoisonError::into_inner),
            tasks_in_flight: if used == Use::TasksInFlight { 3 } else { 0 },
        };
        match used {
            Use::Silent => Err(failure(0)),
            Use::NotRunning => Ok(None),
            Use::Idle | Use::KernelBusy | Use::TasksInFlight => Ok(Some(activity)),
        }
    }

    fn changes(&self) -> mpsc::Receiver<ClusterId> {
        // Hints may all be lost.
        mpsc::channel(1).1
    }

    fn pace(&self) -> Pace {
        let soon = Duration::from_millis(300);
        Pace { launching: soon, running: soon, ending: soon }
    }
}
