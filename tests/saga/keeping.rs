//! The keeper: what it takes away, what it leaves, and the evidence that it gives.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway::clock::Clock;
use slipway::domain::{ClusterId, Command, Event, Observation, RoutePath, StopReason, desired};
use slipway::runtime::Runtime;
use slipway::service::Service;
use slipway::service::keeper::{Keeper, KeeperConfig};
use slipway::store::Store;
use tokio::sync::watch;

use crate::harness::{NO_CAPS, begin_epoch, database, eventually, launch, meta, store, subject, writer};
use crate::simulated::{Simulated, Use};

struct Given {
    service: Service,
    runtime: Arc<Simulated>,
    id: ClusterId,
}

/// A cluster that runs and that nobody has used.
async fn given() -> Given {
    running(store().await).await
}

async fn running(store: Store) -> Given {
    let (service, runtime) = (Service::new(store, NO_CAPS), Simulated::sound());
    let id = service.launch(launch("alice"), subject("alice"), None).await.expect("a launch").cluster.id;
    let admitted = service.execute(id, &Command::Admit, &meta("worker:1"), None).await.expect("admitted");
    let cluster = admitted.cluster;
    let desired::Desired::Present(blueprint) = desired::desired(&cluster) else { panic!("it was launched") };
    runtime.apply(&blueprint).await.expect("started");
    let seen = runtime.observe(cluster.id).await.expect("seen");
    service.execute(cluster.id, &Command::Report(seen), &meta("worker:1"), None).await.expect("reported");
    Given { service, runtime, id: cluster.id }
}

impl Given {
    /// One round of the keeper at so many minutes from now.
    async fn round_after(&self, minutes: i64) {
        self.round_of_one_started_after(i64::MIN, minutes).await;
    }

    /// The same by a keeper that was started at another time, or always there.
    async fn round_of_one_started_after(&self, started: i64, minutes: i64) {
        let keeper = self.keeper(started, minutes);
        keeper.round(Some(Duration::ZERO), &mut None).await.expect("a round");
    }

    fn keeper(&self, started: i64, minutes: i64) -> Keeper<Simulated> {
        let watching_since =
            TimeDelta::try_minutes(started).map_or(DateTime::UNIX_EPOCH, |after| Utc::now() + after);
        let clock = Clock::from_fn(move || Utc::now() + TimeDelta::minutes(minutes));
        let config = KeeperConfig {
            name: subject("keeper"),
            every: Duration::from_secs(1),
            resync: Duration::from_secs(60),
            watching_since,
        };
        Keeper::new(self.service.clone(), Arc::clone(&self.runtime), clock, config)
    }

    /// What is due is taken, and done.
    async fn seen_to(&self) -> Vec<ClusterId> {
        let store = self.service.store();
        let leases = store.claim("one", 9, Duration::from_secs(60)).await.expect("claimed");
        store.finish_all(&leases).await.expect("finished");
        leases.iter().map(|lease| lease.id).collect()
    }

    fn used(&self, used: Use) {
        *self.runtime.used.lock().unwrap_or_else(PoisonError::into_inner) = used;
    }

    async fn reason(&self) -> Option<StopReason> {
        let events = self.service.store().stream(self.id).await.expect("events");
        events.into_iter().find_map(|recorded| match recorded.event {
            Event::StopRequested { reason } => Some(reason),
            _ => None,
        })
    }
}

#[tokio::test]
async fn an_idle_cluster_is_culled_after_its_limit_with_the_evidence() {
    let given = given().await;
    given.round_after(59).await;
    assert_eq!(given.reason().await, None, "not before its hour is over");
    given.round_after(61).await;
    let Some(StopReason::Idle(evidence)) = given.reason().await else { panic!("culled") };
    assert_eq!((evidence.limit_seconds, evidence.kernels, evidence.tasks_in_flight), (3600, 1, Some(0)));
    let ready_at = given.service.store().cluster(given.id).await.expect("an answer").and_then(|row| row.ready_at);
    assert_eq!(Some(evidence.last_activity), ready_at, "nobody had used it since");
}

#[tokio::test]
async fn the_time_that_slipway_was_stopped_is_not_idleness() {
    let given = given().await;
    given.round_of_one_started_after(600, 601).await;
    assert_eq!(given.reason().await, None, "started a minute ago, after ten hours");
    given.round_of_one_started_after(600, 661).await;
    assert!(matches!(given.reason().await, Some(StopReason::Idle(_))), "an hour of watching");
}

#[tokio::test]
async fn use_through_the_proxy_counts() {
    let given = given().await;
    let path = RoutePath::of(given.id, slipway::domain::Engine::Notebook);
    let used_at = Utc::now() + TimeDelta::minutes(30);
    given.service.store().record_activity(&[(path.clone(), used_at)]).await.expect("recorded");
    let earlier = used_at - TimeDelta::minutes(20);
    given.service.store().record_activity(&[(path, earlier)]).await.expect("a slower proxy's report");
    given.round_after(61).await;
    assert_eq!(given.reason().await, None, "used half an hour ago");
    given.round_after(91).await;
    assert!(matches!(given.reason().await, Some(StopReason::Idle(_))));
}

#[tokio::test]
async fn what_is_at_work_or_does_not_tell_is_never_culled_for_idleness() {
    for used in [Use::KernelBusy, Use::TasksInFlight, Use::Silent] {
        let given = given().await;
        given.used(used);
        given.round_after(600).await;
        assert_eq!(given.reason().await, None, "{used:?}");
        given.used(Use::Idle);
        given.round_after(600).await;
        assert!(matches!(given.reason().await, Some(StopReason::Idle(_))), "afterwards it is, {used:?}");
    }
}

#[tokio::test]
async fn what_does_not_run_any_longer_is_culled_and_the_event_says_that_nobody_could_be_asked() {
    let given = given().await;
    given.used(Use::NotRunning);
    given.round_after(61).await;
    let Some(StopReason::Idle(evidence)) = given.reason().await else { panic!("culled") };
    assert_eq!(evidence.tasks_in_flight, None);
}

#[tokio::test]
async fn a_lifetime_ends_however_busy_the_cluster_is() {
    let given = given().await;
    given.used(Use::KernelBusy);
    given.round_after(24 * 60 + 1).await;
    assert!(matches!(given.reason().await, Some(StopReason::Expired { lifetime_seconds: 86_400, .. })));
}

#[tokio::test]
async fn what_the_log_does_not_want_is_swept_away_and_the_rest_is_left() {
    let given = given().await;
    let stranger: ClusterId = "cluster-999999".parse().expect("an id");
    given.runtime.world().insert(stranger, 3);
    given.round_after(0).await;
    assert_eq!(given.runtime.clusters().keys().collect::<Vec<_>>(), [&given.id]);
    let seen = given.runtime.observe(stranger).await.expect("seen");
    assert_eq!(seen, Observation::Absent);
}

#[tokio::test]
async fn use_of_a_terminal_counts() {
    let given = given().await;
    let used = Utc::now() + TimeDelta::minutes(30);
    *given.runtime.terminal.lock().unwrap_or_else(PoisonError::into_inner) = Some(used);
    given.round_after(61).await;
    assert_eq!(given.reason().await, None);
    given.round_after(91).await;
    let Some(StopReason::Idle(evidence)) = given.reason().await else { panic!("culled") };
    assert_eq!(evidence.last_activity, used);
}

#[tokio::test]
async fn one_keeper_at_a_time_is_on_duty_and_another_one_takes_over() {
    let (pool, _) = crate::harness::database().await;
    let service = Service::new(Store::over(pool.clone()), NO_CAPS);
    let keep = |runtime: &Arc<Simulated>| {
        let config = KeeperConfig {
            name: subject("keeper"),
            every: Duration::from_millis(50),
            resync: Duration::from_secs(3_600),
            watching_since: DateTime::UNIX_EPOCH,
        };
        let keeper = Keeper::new(service.clone(), Arc::clone(runtime), Clock::system(), config);
        let (stop, stopping) = watch::channel(false);
        (stop, tokio::spawn(async move { keeper.run(stopping).await }))
    };
    let term = async || -> Option<(String, DateTime<Utc>)> {
        let row = sqlx::query_as("SELECT holder, until FROM slipway.leader WHERE duty = 'keeper'");
        row.fetch_optional(&pool).await.expect("an answer")
    };
    let (first, second) = (Simulated::sound(), Simulated::sound());
    let rounds = |runtime: &Simulated| runtime.lists.load(Ordering::SeqCst);
    let (stop_first, first_keeper) = keep(&first);
    eventually("the first to begin", async || (rounds(&first) == 1).then_some(())).await;
    let (stop_second, second_keeper) = keep(&second);
    let (holder, mut until) = term().await.expect("somebody is on duty");
    for _ in 0..5 {
        until = eventually("the term to be prolonged", async || {
            let (now, later) = term().await?;
            assert_eq!(now, holder);
            (later > until).then_some(later)
        })
        .await;
    }
    assert_eq!(rounds(&second), 0);
    stop_first.send_replace(true);
    first_keeper.await.expect("it ends");
    eventually("the second to take over", async || (rounds(&second) == 1).then_some(())).await;
    stop_second.send_replace(true);
    second_keeper.await.expect("it ends");
    assert_eq!((rounds(&first), term().await), (1, None));
}

#[tokio::test]
async fn when_the_log_goes_on_in_another_epoch_every_cluster_is_looked_at_at_once() {
    let (pool, _) = database().await;
    let given = running(writer(&pool)).await;
    given.seen_to().await;
    let (keeper, mut epoch) = (given.keeper(0, 0), None);
    for _ in 0..2 {
        keeper.round(None, &mut epoch).await.expect("a round");
        assert_eq!(given.seen_to().await, [], "nothing asks for it");
    }
    begin_epoch(&pool).await;
    keeper.round(None, &mut epoch).await.expect("a round");
    assert_eq!(given.seen_to().await, [given.id]);
    keeper.round(None, &mut epoch).await.expect("a round");
    assert_eq!(given.seen_to().await, [], "once is enough");
}
