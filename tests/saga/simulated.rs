//! A runtime whose clusters are entries of a map, and which fails when it is told to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use slipway::domain::{Blueprint, ClusterId, Endpoint, Engine, Observation, Step};
use slipway::runtime::engines::EngineActivity;
use slipway::runtime::{Runtime, RuntimeError};
use tokio::sync::mpsc;

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
}

impl Simulated {
    pub fn failing_at(call: u64) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::default(),
            calls: AtomicU64::new(0),
            fails_at: call,
            refuses: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            used: Mutex::new(Use::Idle),
            most_at_once: AtomicU64::new(0),
            at_once: AtomicU64::new(0),
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

    /// Fails half-way every other time: what was to be done is done, but nobody is told.
    fn call(&self, effect: impl FnOnce(&mut HashMap<ClusterId, u16>)) -> Result<(), RuntimeError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.fails_at && number.is_multiple_of(2) {
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
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
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
        Ok(match self.world().get(&id) {
            None => Observation::Absent,
            Some(_) if self.mute.load(Ordering::SeqCst) => {
                Observation::Present { steps: vec![Step::Prepared], endpoint: None, workers_ready: 0 }
            }
            Some(workers) => {
                let port = u16::try_from(id.number() % 60_000).expect("small") + 1;
                let endpoint = Endpoint {
                    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    ports: [(Engine::Notebook, port)].into(),
                };
                Observation::Present {
                    steps: vec![Step::Prepared, Step::SchedulerStarted],
                    endpoint: Some(endpoint),
                    workers_ready: *workers,
                }
            }
        })
    }

    async fn list(&self) -> Result<Vec<ClusterId>, RuntimeError> {
        Ok(self.world().keys().copied().collect())
    }

    async fn activity(&self, _: ClusterId, _: &Endpoint) -> Result<Option<EngineActivity>, RuntimeError> {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let activity = EngineActivity {
            kernels: 1,
            busy_kernels: u32::from(used == Use::KernelBusy),
            last_kernel_activity: None,
            terminals: 0,
            last_terminal_activity: None,
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
}
