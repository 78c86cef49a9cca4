//! Connections that are cut between a request and its answer, and wires on which nothing moves for a while.

use slipway::service::{ExecuteError, Service};
use slipway::store::append::RequestKey;
use slipway::store::{Store, StoreError};

use crate::harness::wire::{Loss, Server, Wire};
use crate::harness::{database, eventually, launch, server, subject};
use crate::log::{Reader, goes_on, launch_some, service, whole};

struct Given {
    /// Straight to the server.
    store: Store,
    wire: Wire,
    over_wire: Store,
}

async fn given() -> Given {
    let (pool, _) = database().await;
    let (options, _) = server();
    let wire = Wire::to(Server::of(&options)).await;
    let database = pool.connect_options().get_database().expect("it has a name").to_owned();
    let over_wire = Store::to(&wire.url(options.get_username(), &database), 2).expect("an address");
    Given { store: Store::over(pool), wire, over_wire }
}

fn key(name: &str) -> RequestKey {
    RequestKey { key: name.to_owned(), fingerprint: [1; 32] }
}

/// An append whose request or answer is lost; how many events there are more.
async fn lose(given: &Given, service: &Service, loss: Loss, key: Option<&RequestKey>) -> usize {
    let before = whole(&given.store).await.len();
    // Of the two that a launch makes, the one that appends.
    given.wire.lose_of("alice", loss);
    let lost = service.launch(launch("alice"), subject("alice"), key).await.expect_err("the wire is cut");
    assert!(matches!(lost, ExecuteError::Store(StoreError::Database { .. })), "{lost}");
    assert!(!given.wire.is_armed());
    whole(&given.store).await.len() - before
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_not_answered_asks_again_with_the_same_key_and_it_is_done_once() {
    let given = given().await;
    let service = service(&given.over_wire);
    let again = async |key: Option<&RequestKey>| {
        service.launch(launch("alice"), subject("alice"), key).await.expect("an answer").repeated
    };
    // From now on each round is one request and one answer.
    again(None).await;
    assert_eq!(lose(&given, &service, Loss::Request, Some(&key("request"))).await, 0);
    assert!(!again(Some(&key("request"))).await, "it is done now");
    for after in [0, 1, 20] {
        let key = key(&format!("answer-{after}"));
        assert_eq!(lose(&given, &service, Loss::Answer { after }, Some(&key)).await, 1, "it was done");
        let log = whole(&given.store).await.len();
        assert!(again(Some(&key)).await, "and is not done again");
        assert_eq!(whole(&given.store).await.len(), log);
        again(None).await;
    }
    // Nobody could know without a key.
    assert_eq!(lose(&given, &service, Loss::Answer { after: 0 }, None).await, 1);
    assert!(!again(None).await, "there are two now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_answers_break_off_anywhere_misses_nothing_where_a_forgetful_one_does() {
    let given = given().await;
    let service = service(&given.store);
    let (reader, forgetful) = (Reader::of(given.over_wire.clone()), Reader::forgetful(given.over_wire.clone()));
    for after in [0, 1, 4, 5, 6, 30, 90, 200, 300, 500, 900, 2_000] {
        given.wire.lose(Loss::Answer { after });
        launch_some(&service, 5).await;
        eventually("an answer to break off", async || {
            reader.seen();
            (!given.wire.is_armed()).then_some(())
        })
        .await;
        // Nobody is back before there is more.
        given.wire.hold(true);
        given.wire.cut();
        launch_some(&service, 2).await;
        given.wire.hold(false);
    }
    let log = whole(&given.store).await;
    reader.has(&log).await;
    // The forgetful one is up to date, too, and has not all of it.
    goes_on(&forgetful, &given.store).await;
    assert!(forgetful.seen().len() < whole(&given.store).await.len(), "nothing was lost: the test is too tame");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_up_on_its_way_arrives_once_when_the_wire_moves_again() {
    let given = given().await;
    let (slow, direct) = (service(&given.over_wire), service(&given.store));
    let reader = Reader::of(given.over_wire.clone());
    launch_some(&slow, 2).await;
    reader.has(&whole(&given.store).await).await;
    given.wire.hold(true);
    let append = tokio::spawn(async move { slow.launch(launch("bob"), subject("bob"), None).await });
    launch_some(&direct, 5).await;
    assert_eq!(reader.seen().len(), 2, "nothing gets through");
    given.wire.hold(false);
    append.await.expect("no panic").expect("it was only late");
    let log = whole(&given.store).await;
    assert_eq!(log.len(), 8);
    reader.has(&log).await;
}
