//! Workers as processes that are killed between any two steps, or stopped for longer than their lease.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use slipway::domain::{ClusterId, Command, StopReason};
use slipway::parts::Base;
use slipway::service::Service;
use slipway::store::Store;
use slipway::store::append::Caps;
use sqlx::PgPool;

use crate::folder_world::{Fate, FolderWorld};
use crate::harness::{database, eventually, launch, meta, subject, workers};
use crate::process::{Process, kinds, work};

/// Before and after each of: start, look; scale, look; remove, look.
const STEPS: u32 = 12;
const WHOLE: [&str; 9] = [
    "LaunchRequested",
    "Admitted",
    "StepReached",
    "BecameReady",
    "Scaled",
    "ScaleRequested",
    "Scaled",
    "StopRequested",
    "Removed",
];

pub async fn launched(service: &Service) -> ClusterId {
    let id = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    tell(service, id, Command::Admit).await;
    id
}

async fn tell(service: &Service, id: ClusterId, command: Command) {
    service.execute(id, &command, &meta("alice"), None).await.expect("a command");
}

/// From the click to nothing left, begun by a process that is killed at a step and ended by another worker.
async fn a_life(at: u32) {
    let (_, url) = database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let base = Base::connect(&url, 8, false).await.expect("Postgres answers");
    let (service, world) = (
        Service::new(base.store.clone(), Caps::NONE),
        Arc::new(FolderWorld::new(folder.path().to_owned(), Fate::Lives)),
    );
    let mut dying = Process::start(folder.path(), &url, "dying", Fate::Killed { at });
    let mut heir = None;
    let id = launched(&service).await;
    let commands = [
        (Some(Command::Scale { workers: workers(5) }), 5),
        (Some(Command::Stop { reason: StopReason::Owner }), 7),
        (None, WHOLE.len()),
    ];
    for (next, events) in commands {
        eventually("the story to go on", async || {
            if heir.is_none() && dying.is_dead() {
                let (base, world) = (Base::over(base.store.clone()), Arc::clone(&world));
                heir = Some(tokio::spawn(async move { work(&base, "heir", world).await }));
            }
            (kinds(&service, id).await.len() >= events).then_some(())
        })
        .await;
        if let Some(command) = next {
            tell(&service, id, command).await;
        }
    }
    assert!(heir.is_some(), "nobody was killed at step {at}");
    assert_eq!(kinds(&service, id).await, WHOLE, "killed at step {at}");
    assert_eq!((world.workers(id), world.built(id)), (None, 1), "killed at step {at}");
    assert!(base.store.broken_chains().await.expect("a check").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_between_any_two_steps_leaves_the_rest_to_another() {
    for some in (0..STEPS).collect::<Vec<_>>().chunks(4) {
        join_all(some.iter().copied().map(a_life)).await;
    }
}

/// All that a late worker could spoil.
async fn row(pool: &PgPool) -> String {
    let row = "SELECT to_jsonb(w)::text FROM slipway.work w";
    sqlx::query_scalar(row).fetch_one(pool).await.expect("one row")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stood_still_past_its_lease_wakes_up_and_can_finish_nothing() {
    let (pool, url) = database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::over(pool.clone());
    let service = Service::new(store.clone(), Caps::NONE);
    // It has started the cluster and looked at it, and has told nobody.
    let paused = Process::start(folder.path(), &url, "paused", Fate::Stopped { at: 3 });
    let id = launched(&service).await;
    paused.is_stopped().await;
    let minute = Duration::from_secs(60);
    let held =
        eventually("its lease to run out", async || store.claim("heir", 1, minute).await.expect("a claim").pop());
    let held = held.await;
    tell(&service, id, Command::Stop { reason: StopReason::Owner }).await;
    let before = row(&pool).await;

    paused.signal(Signal::SIGCONT);
    eventually("it to notice", async || {
        let log = paused.log();
        (log.contains("lost the lease") || log.contains("lost a lease")).then_some(())
    })
    .await;
    assert_eq!(row(&pool).await, before, "the lease is the heir's");
    assert_eq!(kinds(&service, id).await, ["LaunchRequested", "Admitted", "StopRequested"], "and ready it is not");
    assert!(store.finish(&held).await.expect("an answer"));
}
