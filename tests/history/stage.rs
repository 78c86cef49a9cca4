//! Where a history is played: who works on its database, and who follows it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use slipway::clock::Clock;
use slipway::domain::line::Throttle;
use slipway::domain::{ClusterId, Door, Pool, Profile, Route, RouteChange, RoutePath, Shape};
use slipway::service::Service;
use slipway::service::admission::Admission;
use slipway::service::follow::Follower;
use slipway::service::routes::Router;
use slipway::service::worker::{Worker, WorkerConfig};
use slipway::store::append::Caps;
use slipway::store::events::Position;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::ground::{Engaged, Ground, Seen};
use super::mutant::{self, Mutant};
use super::op::{ROUTERS, WORKERS};
use super::world::{Hands, World};
use crate::harness::{launch, subject};

pub const CAPS: Caps = Caps { clusters_per_owner: 2, total_workers: 12 };
pub const THROTTLE: Throttle = Throttle { at_once: 2, per_second: 0.0 };

/// Of what owners launch, and so many of which are kept ready.
pub fn profile(ready: u16) -> Profile {
    let asked = launch("nobody");
    Profile {
        name: asked.profile,
        title: String::new(),
        description: String::new(),
        workers: asked.workers,
        materials: asked.materials,
        limits: asked.limits,
        access: asked.access,
        shape: Shape::default(),
        pool: Some(Pool { ready, timezone: chrono_tz::UTC, schedule: vec![] }),
    }
}

/// A worker at work, with its admission.
pub struct Hired {
    pub hands: Arc<Hands>,
    /// How many steps it has left.
    pub life: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

impl Hired {
    pub fn is_dead(&self) -> bool {
        self.task.is_finished()
    }
}

/// What a proxy serves by.
#[derive(Debug, Default, PartialEq)]
pub struct Board {
    pub routes: BTreeMap<RoutePath, Route>,
    pub doors: BTreeMap<ClusterId, Door>,
}

impl Board {
    pub fn apply(&mut self, changes: Vec<RouteChange>) {
        for change in changes {
            match change {
                RouteChange::Put { path, route, since: _ } => drop(self.routes.insert(path, route)),
                RouteChange::Remove { path } => drop(self.routes.remove(&path)),
                RouteChange::Door { cluster, door: Some(door) } => drop(self.doors.insert(cluster, door)),
                RouteChange::Door { cluster, door: None } => drop(self.doors.remove(&cluster)),
            }
        }
    }
}

pub struct Proxy {
    pub board: Arc<Mutex<Board>>,
    router: Arc<Router>,
    task: JoinHandle<()>,
}

pub struct Stage {
    pub ground: Ground,
    pub bell: watch::Sender<()>,
    pub world: Arc<World>,
    pub workers: Vec<Hired>,
    pub proxies: Vec<Proxy>,
    /// What a reader of the whole log has seen, in its order.
    pub seen: Arc<Mutex<Vec<Seen>>>,
    tail: JoinHandle<()>,
    mutant: Option<Mutant>,
    /// What nobody can do anything about.
    pub ended: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    /// On a database that nothing has happened in.
    pub fn on(ground: Ground, mutant: Option<Mutant>) -> Self {
        let mut stage = Self {
            ground,
            bell: watch::Sender::default(),
            world: Arc::default(),
            workers: Vec::new(),
            proxies: Vec::new(),
            seen: Arc::default(),
            tail: tokio::spawn(async {}),
            mutant,
            ended: Arc::default(),
        };
        stage.workers = (0..WORKERS).map(|slot| stage.hire(stage.ground.worker(slot), 0)).collect();
        for _ in 0..ROUTERS {
            stage.proxies.push(stage.serve(Router::default(), Arc::default()));
        }
        stage.tail = stage.read_along();
        stage
    }

    /// What owners have their commands carried out by.
    pub fn service(&self) -> Service {
        Service::new(self.ground.owners(), CAPS)
    }

    fn hire(&self, Engaged { name, store }: Engaged, ahead: i16) -> Hired {
        let name = if self.mutant == Some(Mutant::Unfenced) { "worker:any".to_owned() } else { name };
        let service = Service::new(store, Caps::NONE);
        let (hands, life) = (Hands::on(&self.world), Arc::new(AtomicI64::new(i64::MAX)));
        let mut config = WorkerConfig::new(subject(&name));
        config.lease = Duration::from_secs(20);
        let clock = Clock::from_fn(move || Utc::now() + TimeDelta::seconds(ahead.into()));
        let worker = Worker::new(service.clone(), Arc::clone(&hands), clock, config);
        let admission = Admission::new(service, subject(&name), THROTTLE);
        let (bell, stop) = (self.bell.subscribe(), watch::Sender::new(false));
        let (its_hands, its_life) = (Arc::clone(&hands), Arc::clone(&life));
        let task = tokio::spawn(async move {
            let stop = stop.subscribe();
            let working =
                async { tokio::join!(worker.run(bell.clone(), stop.clone()), admission.run(bell.clone(), stop)) };
            tokio::select! {
                () = for_steps(&its_life, working) => {}
                () = its_hands.death() => {}
            }
        });
        Hired { hands, life, task }
    }

    /// In the place of one that has died.
    pub fn replace(&mut self, slot: usize, ahead: i16) {
        if self.workers[slot].is_dead() {
            let engaged = self.ground.engage(slot);
            self.workers[slot] = self.hire(engaged, ahead);
        }
    }

    fn serve(&self, router: Router, board: Arc<Mutex<Board>>) -> Proxy {
        let router = Arc::new(router);
        let (store, bell, ended) = (self.ground.followers(), self.bell.subscribe(), Arc::clone(&self.ended));
        let (following, shown) = (Arc::clone(&router), Arc::clone(&board));
        let task = tokio::spawn(async move {
            let apply = |changes| shown.lock().expect("no panic").apply(changes);
            if let Err(error) = following.follow(&store, bell, false, apply, || ()).await {
                ended.lock().expect("no panic").push(format!("a proxy cannot go on: {error}"));
            }
        });
        Proxy { board, router, task }
    }

    pub fn restart(&mut self, which: usize, from_snapshot: bool) {
        let old = &self.proxies[which];
        old.task.abort();
        let (router, board) = (Router::default(), Arc::<Mutex<Board>>::default());
        if from_snapshot {
            let (placed, position, _) = old.router.placed();
            router.take_up(placed, position, |changes| board.lock().expect("no panic").apply(changes));
        }
        self.proxies[which] = self.serve(router, board);
    }

    fn read_along(&self) -> JoinHandle<()> {
        let (store, bell) = (self.ground.followers(), self.bell.subscribe());
        let (seen, ended, pool) = (Arc::clone(&self.seen), Arc::clone(&self.ended), self.ground.pool.clone());
        if self.mutant == Some(Mutant::BarePosition) {
            return tokio::spawn(mutant::read_by_position(pool, seen));
        }
        tokio::spawn(async move {
            let mut log = Follower::new(&store, bell, Position::default());
            loop {
                match log.next().await {
                    Ok(batch) => {
                        let batch =
                            batch.recorded.into_iter().map(|recorded| (recorded.cluster, recorded.version));
                        seen.lock().expect("no panic").extend(batch);
                    }
                    Err(error) => {
                        return ended.lock().expect("no panic").push(format!("a reader cannot go on: {error}"));
                    }
                }
            }
        })
    }

    /// Nothing is left of it, and its ground is as it was; those who died stay away.
    pub async fn close(self) -> Ground {
        let Self { mut ground, workers, proxies, tail, .. } = self;
        for (slot, worker) in workers.iter().enumerate() {
            if worker.is_dead() {
                ground.engage(slot);
            }
        }
        let tasks =
            workers.into_iter().map(|worker| worker.task).chain(proxies.into_iter().map(|proxy| proxy.task));
        for task in tasks.chain([tail]) {
            task.abort();
            // It was cancelled, or has ended before.
            drop(task.await);
        }
        ground.empty().await;
        ground
    }
}

/// Goes on with something for so many steps, and then drops it wherever it is.
async fn for_steps(left: &AtomicI64, something: impl Future) {
    let mut something = pin!(something);
    poll_fn(|context| {
        if left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Poll::Ready(());
        }
        something.as_mut().poll(context).map(|_| ())
    })
    .await;
}
