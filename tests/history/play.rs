//! Plays a history, waits until nothing moves any more, and has it judged.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway::clock::Clock;
use slipway::domain::{ClusterId, Command, Launch, ShareId, StopReason};
use slipway::service::keeper::{Keeper, KeeperConfig};
use slipway::service::pools::Pools;
use slipway::service::{ExecuteError, Executed, Service};
use slipway::store::append::{Caps, Meta, RequestKey};
use slipway::store::{Store, StoreError};
use sqlx::Row;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::ground::Ground;
use super::judge::{self, Asked, Entry, Outcome};
use super::mutant::Mutant;
use super::op::Op;
use super::stage::{Stage, profile};
use super::world::Hands;
use crate::harness::{launch, meta, subject, workers};

/// After which what should have come to rest never will.
const PATIENCE: Duration = Duration::from_secs(60);

type Ledger = Arc<Mutex<Vec<Entry>>>;

struct Play {
    stage: Stage,
    service: Service,
    ledger: Ledger,
    /// The clusters that somebody was told of, oldest first.
    known: Arc<Mutex<Vec<ClusterId>>>,
    asking: JoinSet<()>,
}

/// All that is wrong with it, and its ground for the next one.
pub async fn play(ground: Ground, ops: &[Op], mutant: Option<Mutant>) -> (Ground, Vec<String>) {
    let stage = Stage::on(ground, mutant);
    let service = stage.service();
    let mut play =
        Play { stage, service, ledger: Ledger::default(), known: Arc::default(), asking: JoinSet::new() };
    for op in ops {
        play.act(*op).await;
        play.stage.bell.send_replace(());
        tokio::task::yield_now().await;
    }
    let mut wrong = match play.come_to_rest().await {
        Ok(()) => Vec::new(),
        Err(why) => vec![why],
    };
    let ledger = play.ledger.lock().expect("no panic").clone();
    wrong.extend(judge::judge(&play.stage, &ledger).await);
    play.asking.shutdown().await;
    (play.stage.close().await, wrong)
}

impl Play {
    async fn act(&mut self, op: Op) {
        match op {
            Op::Launch { owner, key, twice, other } => self.launch(owner, key, twice, other),
            Op::Scale { nth, workers: count } => self.tell(nth, Command::Scale { workers: workers(count.into()) }),
            Op::Stop { nth } => self.tell(nth, Command::Stop { reason: StopReason::Owner }),
            Op::Open { nth, access } => self.tell(nth, Command::SetAccess { access }),
            Op::Share { nth, share } => {
                let (id, now) = (ShareId::from_number(share.into()), Utc::now());
                self.tell(nth, Command::Share { id, until: now + TimeDelta::days(1), now });
            }
            Op::Unshare { nth, share } => {
                self.tell(nth, Command::Unshare { id: ShareId::from_number(share.into()) });
            }
            Op::Meets { worker, fault } => self.stage.workers[worker].hands.meet(fault),
            Op::Pause { worker, paused } => self.stage.workers[worker].hands.pause(paused),
            Op::Kill { worker, after } => {
                self.stage.workers[worker].life.store(after.into(), Ordering::SeqCst);
            }
            Op::Hire { worker, ahead } => self.stage.replace(worker, ahead),
            Op::Expire => self.run("UPDATE slipway.work SET due_at = now() WHERE lease_owner IS NOT NULL").await,
            Op::Hurry => self.hurry().await,
            // It may be disturbed as well; the next one will.
            Op::Keep { ahead } => {
                let store = self.service.store().clone();
                drop(self.keep(store, Hands::on(&self.stage.world), ahead).await);
            }
            Op::Stock { ready } => self.stock(ready.into()).await,
            Op::Crash { nth } => {
                if let Some(id) = self.nth(nth) {
                    self.stage.world.crash(id);
                }
            }
            Op::Lose { who, loss } => self.stage.ground.wire(who).lose(loss),
            Op::Cut { who } => self.stage.ground.wire(who).cut(),
            Op::Terminate { nth } => {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                            WHERE datname = current_database() AND application_name = 'slipway' AND pid <> pg_backend_pid()
                            ORDER BY pid LIMIT 1 OFFSET $1";
                sqlx::query(end).bind(i32::from(nth)).execute(&self.stage.ground.pool).await.expect("an answer");
            }
            Op::SlowCommits { ms } => self.slow(ms).await,
            Op::Restart { router, from_snapshot } => self.stage.restart(router, from_snapshot),
            Op::Wait { ms } => sleep(Duration::from_millis(ms.into())).await,
        }
    }

    fn nth(&self, nth: u8) -> Option<ClusterId> {
        let known = self.known.lock().expect("no panic");
        let newest_first = usize::from(nth) % known.len().max(1);
        known.iter().rev().nth(newest_first).copied()
    }

    fn launch(&mut self, owner: u8, key: Option<u8>, twice: bool, other: bool) {
        let owner = format!("owner:{owner}");
        let number = self.ledger.lock().expect("no panic").len();
        let click = key.map_or_else(|| format!("{owner}:click-{number}"), |key| format!("{owner}:key-{key}"));
        let key = key.map(|key| RequestKey { key: format!("key-{key}"), fingerprint: [u8::from(other); 32] });
        let asked = Launch { workers: workers(if other { 3 } else { 2 }), ..launch(&owner) };
        for _ in 0..if twice && key.is_some() { 2 } else { 1 } {
            let entry = self.note(Asked::Launch { actor: click.clone() });
            let (service, asked, key) = (self.service.clone(), asked.clone(), key.clone());
            let (actor, ledger, known) = (subject(&click), Arc::clone(&self.ledger), Arc::clone(&self.known));
            self.asking.spawn(async move {
                let pool = profile(1).pool_for(&asked);
                let outcome = Outcome::of(service.claim_or_launch(asked, pool, actor, key.as_ref()).await);
                if let Outcome::Acknowledged { id, .. } = outcome {
                    let mut known = known.lock().expect("no panic");
                    if !known.contains(&id) {
                        known.push(id);
                    }
                }
                ledger.lock().expect("no panic")[entry].outcome = outcome;
            });
        }
    }

    fn tell(&mut self, nth: u8, command: Command) {
        let Some(id) = self.nth(nth) else { return };
        let meta: Meta = meta("owner");
        let entry = self.note(Asked::Tell { id, correlation: meta.correlation, command: command.clone() });
        let (service, ledger) = (self.service.clone(), Arc::clone(&self.ledger));
        self.asking.spawn(async move {
            let outcome = Outcome::of(service.execute(id, &command, &meta, None).await);
            ledger.lock().expect("no panic")[entry].outcome = outcome;
        });
    }

    /// Nobody knows what becomes of it, until somebody does.
    fn note(&self, asked: Asked) -> usize {
        let mut ledger = self.ledger.lock().expect("no panic");
        ledger.push(Entry { asked, outcome: Outcome::Unknown });
        ledger.len() - 1
    }

    async fn run(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.stage.ground.pool).await.expect("an answer");
    }

    async fn hurry(&self) {
        self.run("UPDATE slipway.work SET due_at = now() WHERE lease_owner IS NULL AND due_at > now()").await;
    }

    async fn slow(&self, ms: u8) {
        let slow = "UPDATE witness.setting SET slow = $1";
        let slow = sqlx::query(slow).bind(f64::from(ms) / 1_000.0);
        slow.execute(&self.stage.ground.pool).await.expect("an answer");
    }

    /// It may be disturbed as well; the next one goes by what is there.
    async fn stock(&self, ready: u16) {
        let pools = Pools::new(
            self.stage.service(),
            Clock::system(),
            subject("keeper"),
            Duration::from_secs(1),
            [profile(ready)],
        );
        drop(pools.round().await);
    }

    async fn keep(&self, store: Store, hands: Arc<Hands>, ahead: bool) -> anyhow::Result<()> {
        let clock = Clock::from_fn(move || Utc::now() + TimeDelta::hours(if ahead { 2 } else { 0 }));
        let config = KeeperConfig {
            name: subject("keeper"),
            every: Duration::from_secs(1),
            resync: Duration::ZERO,
            watching_since: DateTime::UNIX_EPOCH,
        };
        Keeper::new(Service::new(store, Caps::NONE), hands, clock, config)
            .round(Some(Duration::ZERO), &mut None)
            .await
    }

    /// Nothing goes wrong any more, until nothing happens any more.
    async fn come_to_rest(&mut self) -> Result<(), String> {
        self.slow(0).await;
        self.stage.ground.wires().for_each(|wire| wire.be_sound());
        for worker in &self.stage.workers {
            worker.hands.be_sound();
            worker.life.store(i64::MAX, Ordering::SeqCst);
        }
        let all = async { while self.asking.join_next().await.is_some() {} };
        timeout(PATIENCE, all).await.map_err(|_| "a command is never answered".to_owned())?;
        self.stage.replace(0, 0);
        self.run("UPDATE slipway.work SET due_at = now() WHERE lease_owner IS NOT NULL").await;
        self.until_quiet().await?;
        let store = Store::over(self.stage.ground.pool.clone());
        let kept = self.keep(store, Hands::on(&self.stage.world), false);
        kept.await.map_err(|error| format!("the keeper cannot keep: {error:#}"))?;
        self.until_quiet().await
    }

    async fn until_quiet(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(50);
        let mut expire_at = Instant::now() + pause;
        // A process of Postgres whose client is gone may still commit what it was asked.
        let moving = "SELECT (SELECT count(*) FROM slipway.work WHERE due_at IS NOT NULL),
                             (SELECT count(*) FROM slipway.cluster WHERE status = 'launching'),
                             (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid = ANY ($1))";
        loop {
            let left: Vec<i32> = self.stage.ground.wires().flat_map(|wire| wire.left()).collect();
            let row = sqlx::query(moving).bind(&left).fetch_one(&self.stage.ground.pool).await.expect("an answer");
            let counts: Vec<i64> = (0..3).map(|column| row.get(column)).collect();
            if counts == [0, 0, 0] {
                return Ok(());
            }
            if Instant::now() > deadline {
                let rows = "SELECT to_jsonb(w)::text FROM slipway.work w WHERE due_at IS NOT NULL";
                let rows = sqlx::query_scalar::<_, String>(rows).fetch_all(&self.stage.ground.pool).await;
                return Err(format!("due, launching and left by their clients stay {counts:?}: {rows:#?}"));
            }
            // Those of the dead, and of passes that could not be settled; a pass that is cut short is made anew.
            if Instant::now() > expire_at {
                self.run("UPDATE slipway.work SET due_at = now() WHERE lease_owner IS NOT NULL").await;
                pause *= 2;
                expire_at = Instant::now() + pause;
            }
            self.hurry().await;
            self.stage.bell.send_replace(());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Outcome {
    fn of(answer: Result<Executed, ExecuteError>) -> Self {
        match answer {
            Ok(Executed { cluster, version, .. }) => Self::Acknowledged { id: cluster.id, version },
            Err(
                ExecuteError::Refused(_)
                | ExecuteError::Busy(_)
                | ExecuteError::Store(StoreError::OverLimit(_) | StoreError::KeyReused),
            ) => Self::Refused,
            Err(ExecuteError::Store(StoreError::Database { .. })) => Self::Unknown,
            Err(error) => Self::Impossible(error.to_string()),
        }
    }
}
