//! A launch that waits tells where it stands in line.

use serde_json::{Value, json};
use slipway::domain::{ClusterId, Command};

use crate::client::Client;
use crate::harness::meta;
use crate::live::Stream;
use crate::server::Server;

/// So many students who have pressed the button, one after the other.
async fn class(server: &Server, students: usize) -> Vec<(Client, String)> {
    let mut class = Vec::new();
    for _ in 0..students {
        let browser = server.browser().await;
        let id = browser.post("/api/clusters", json!({})).await.is(202).id();
        class.push((browser, id));
    }
    class
}

async fn admit(server: &Server, id: &str) {
    let id: ClusterId = id.parse().expect("a valid id");
    server.service.execute(id, &Command::Admit, &meta("worker:test"), None).await.expect("admitted");
}

async fn queue((browser, id): &(Client, String)) -> Value {
    browser.get(&format!("/api/clusters/{id}")).await.is(200).json()["queue"].take()
}

#[tokio::test]
async fn each_has_its_place_from_the_answer_to_its_launch_on() {
    let server = Server::start().await;
    for position in 1..=3 {
        let launched = server.browser().await.post("/api/clusters", json!({})).await.is(202).json();
        let summary = format!("You are number {position} in line");
        assert_eq!(launched["status"], "launching");
        let place = json!({"position": position, "ahead": position - 1, "summary": summary});
        assert_eq!(launched["queue"], place, "nothing is known to estimate from");
    }
    let all = server.admin().await.get("/api/clusters").await.is(200).json();
    let places = all["clusters"].as_array().expect("a list").iter().map(|c| c["queue"]["position"].clone());
    assert_eq!(places.collect::<Vec<_>>(), [3, 2, 1], "newest first");
}

#[tokio::test]
async fn whoever_does_not_wait_has_no_place_and_its_launch_tells_the_others_how_long_it_takes() {
    let server = Server::start().await;
    let class = class(&server, 3).await;
    admit(&server, &class[0].1).await;
    let cluster = class[0].0.get(&format!("/api/clusters/{}", class[0].1)).await.is(200).json();
    assert_eq!((&cluster["status"], cluster.get("queue")), (&json!("launching"), None));
    server.make_ready(&class[0].1, 0).await;
    class[1].0.delete(&format!("/api/clusters/{}", class[1].1)).await.is(202);
    assert_eq!(queue(&class[1]).await, Value::Null, "it has left the line");

    let late = class_of_one(&server).await;
    let place = queue(&late).await;
    assert_eq!((&place["position"], &place["ahead"]), (&json!(2), &json!(1)));
    assert!(place["estimate_seconds"].as_u64().is_some_and(|seconds| seconds < 45), "{place}");
    assert_eq!(place["summary"], "You are number 2 in line, less than a minute");
}

async fn class_of_one(server: &Server) -> (Client, String) {
    class(server, 1).await.remove(0)
}

#[tokio::test]
async fn a_stream_tells_the_place_as_it_changes_and_then_that_the_turn_has_come() {
    let server = Server::start().await;
    let class = class(&server, 3).await;
    let (browser, id) = &class[2];
    let mut stream = Stream::open(browser, id).await;
    for position in [3, 2, 1] {
        let place = stream.place().await.expect("a place");
        assert_eq!((&place["position"], &place["ahead"]), (&json!(position), &json!(position - 1)));
        admit(&server, &class[3 - position].1).await;
    }
    let admitted = stream.next().await.expect("its turn");
    assert_eq!((admitted.version().as_str(), &admitted.data["type"]), ("2", &json!("Admitted")));
}
