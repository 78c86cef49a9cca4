//! A server is lost, and a standby that had not received its last commits is promoted: whoever has read them goes on.

use serde_json::json;
use slipway::domain::{Command, Posted};
use slipway::parts::Base;
use slipway::service::ExecuteError;
use slipway::service::posted::{Ledger, News};
use slipway::store::{Store, StoreError};
use tokio::sync::Mutex;

use crate::dump::{Doors, number, place};
use crate::harness::wire::Wire;
use crate::harness::{eventually, launch, meta, subject, workers};
use crate::killed::launched;
use crate::log::{Reader, Seen, launch_some, service, whole};
use crate::outage::{folder, migrated};
use crate::postgres::Server;

const NEWEST: &str = "SELECT max(tx::text::bigint) FROM slipway.event";
const EVENTS: &str = "SELECT count(*) FROM slipway.event";

fn route(path: &str) -> Posted {
    let data = json!({"target": "http://127.0.0.1:1"}).as_object().expect("an object").clone();
    Posted::Put { path: path.parse().expect("a path"), data }
}

/// Until it has replayed so many events.
async fn receives(standby: &Server, events: i64) {
    eventually("the standby to be level", async || (number(standby, EVENTS).await == events).then_some(())).await;
}

/// As those who ask again when there was no answer.
async fn goes_on<T>(what: impl AsyncFn() -> Result<T, ExecuteError>) -> T {
    eventually("an answer of the new primary", async || what().await.ok()).await
}

/// What cannot be done at a standby, and what can.
async fn takes_no_writes(standby: &Server, over_wire: &Store) {
    let refused = Store::connect(&standby.url(), 2).await.expect_err("it is a standby");
    assert!(matches!(refused, StoreError::Standby), "{refused}");
    eventually("whoever was connected before to be told so", async || {
        let told = over_wire.post_routes(&[route("/never")]).await;
        matches!(told, Err(StoreError::Standby)).then_some(())
    })
    .await;
    let auditor = format!("{}&options=-c%20role=slipway_auditor", standby.url());
    let auditor = Store::connect(&auditor, 2).await.expect("an auditor may read there");
    assert!(!whole(&auditor).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_standby_that_knows_of_no_other_begins_an_epoch_of_its_own() {
    let folder = folder();
    let old = Server::named(folder.path(), "old");
    launch_some(&service(&migrated(&old).await), 2).await;
    old.stop();
    let (first, second) = (old.standby("first"), old.standby("second"));
    let epoch = async |server: &Server| {
        server.start();
        server.promote();
        launch_some(&service(&Store::connect(&server.url(), 2).await.expect("it is the primary")), 1).await;
        let epoch = number(server, "SELECT epoch::bigint FROM slipway.installation").await;
        server.crash();
        epoch
    };
    assert_eq!(epoch(&first).await, 2);
    // That there was another timeline it has from the archive of the server's log, and nothing else.
    first.hand_timelines_to(&second);
    assert_eq!(epoch(&second).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_promoted_standby_records_is_passed_over_by_nobody_who_has_read_what_it_never_received() {
    let folder = folder();
    let old = Server::named(folder.path(), "old");
    let known = launched(&service(&migrated(&old).await)).await;
    old.stop();
    let new = old.standby("new");
    old.start();
    new.start();

    let wire = Wire::to(place(&old)).await;
    let over_wire = Store::to(&wire.url("slipway", "postgres"), 4).expect("an address");
    let at_work = service(&over_wire);
    let reader = Reader::of(over_wire.clone());
    let doors = Doors::seen_by(Base::over(over_wire.clone()));
    let ledger = Mutex::new(Ledger::open(over_wire.clone()).await.expect("it opens").0);
    launch_some(&at_work, 3).await;
    ledger.lock().await.record(vec![route("/kept")]).await.expect("recorded");
    let kept = whole(&over_wire).await;
    receives(&new, kept.len() as i64).await;
    eventually("the posted route", async || {
        (number(&new, "SELECT count(*) FROM slipway.route_event").await == 1).then_some(())
    })
    .await;
    new.stop();

    // Only those who are connected know of these.
    launch_some(&at_work, 20).await;
    let scale = |count| Command::Scale { workers: workers(count) };
    at_work.execute(known, &scale(3), &meta("alice"), None).await.expect("recorded");
    let shown = at_work.store().stream(known).await.expect("its events").pop().expect("it was scaled");
    ledger.lock().await.record(vec![route("/lost")]).await.expect("recorded");
    let told: Seen = whole(&over_wire).await;
    reader.has(&told).await;
    doors.become_those_of(&over_wire).await;
    let lost = number(&old, NEWEST).await;
    old.crash();
    new.start();
    wire.lead_to(place(&new));
    wire.cut();
    takes_no_writes(&new, &over_wire).await;

    new.promote();
    // Nobody starts anew.
    goes_on(async || at_work.execute(known, &scale(5), &meta("alice"), None).await).await;
    goes_on(async || at_work.launch(launch("alice"), subject("alice"), None).await).await;
    let store = Store::connect(&new.url(), 4).await.expect("it is the primary");
    let now = whole(&store).await;
    assert_eq!(now[..kept.len()], kept[..], "the order is kept");
    assert_eq!(number(&new, "SELECT epoch::bigint FROM slipway.installation").await, 2);
    reader.has(&[&told[..], &now[kept.len()..]].concat()).await;
    doors.become_those_of(&store).await;
    eventually("the routes that there are", async || match ledger.lock().await.news().await {
        Ok(News::All(routes)) => {
            assert_eq!(routes.into_iter().map(|(route, _)| route).collect::<Vec<_>>(), [route("/kept")]);
            Some(())
        }
        Ok(News::Changes(_)) => panic!("of a log that has lost some"),
        Err(_) => None,
    })
    .await;
    for broken in [store.broken_chains().await, store.broken_posts().await] {
        assert_eq!(broken.expect("a check"), Vec::<String>::new());
    }
    let since = store.stream_after(known, shown.position).await.expect("its events");
    assert_eq!(since.last().map(|one| one.version), Some(shown.version), "it is in the place of what was lost");
    let all = store.stream(known).await.expect("its events");
    assert_eq!(since.len(), all.len(), "whoever has seen what was lost begins anew");
    let before = all[all.len() - 2].position;
    assert_eq!(store.stream_after(known, before).await.expect("its events").len(), 1, "and others go on");
    // By transaction and number alone nobody would find all that is new.
    let reused = number(&new, "SELECT min(tx::text::bigint) FROM slipway.event WHERE epoch = 2").await;
    assert!(reused <= lost, "{reused} comes after {lost}: the test is too tame");
}
