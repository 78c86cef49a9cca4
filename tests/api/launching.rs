//! The button: a launch, once however often it is pressed, and what keeps it within bounds.

use futures_util::future::join_all;
use serde_json::{Value, json};
use slipway::store::append::Caps;

use crate::client::Client;
use crate::harness::NO_CAPS;
use crate::server::Server;

async fn launch(client: &Client) -> String {
    client.post("/api/clusters", json!({})).await.is(202).id()
}

async fn listed(client: &Client) -> Vec<String> {
    let list = client.get("/api/clusters").await.is(200).json();
    let clusters = list["clusters"].as_array().expect("a list").iter();
    clusters.map(|cluster| cluster["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn a_launch_is_taken_and_tells_where_to_look() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let answer = browser.post("/api/clusters", json!({"workers": 3})).await.is(202);
    let cluster = answer.json();
    assert_eq!(answer.header("location"), Some(format!("/api/clusters/{}", answer.id()).as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!((&cluster["status"], &cluster["url"]), (&json!("launching"), &Value::Null));
    assert_eq!(cluster["workers"], json!({"wanted": 3, "ready": 0, "most": 8}));
    assert_eq!(cluster["materials"], json!(["https://example.org/course.git"]));
    assert_eq!(browser.get(&format!("/api/clusters/{}", answer.id())).await.is(200).json(), cluster);
}

#[tokio::test]
async fn a_launch_that_says_nothing_is_the_profiles() {
    let server = Server::start().await;
    let cluster = server.browser().await.post("/api/clusters", json!({})).await.is(202).json();
    assert_eq!((&cluster["profile"], &cluster["workers"]["wanted"]), (&json!("default"), &json!(2)));
    let none = server.browser().await.post("/api/clusters", json!({"materials": []})).await.is(202).json();
    assert_eq!(none["materials"], json!([]));
}

#[tokio::test]
async fn a_strangers_first_launch_gives_it_a_cookie_that_keeps_the_cluster_its_own() {
    let server = Server::start().await;
    let answer = server.stranger().post("/api/clusters", json!({})).await.is(202);
    assert_eq!(listed(&server.stranger().keeping(&answer)).await, [answer.id()]);
}

#[tokio::test]
async fn a_ready_cluster_shows_where_its_engines_are() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let id = launch(&browser).await;
    server.make_ready(&id, 2).await;
    let cluster = browser.get(&format!("/api/clusters/{id}")).await.is(200).json();
    assert_eq!((&cluster["status"], &cluster["workers"]["ready"]), (&json!("running"), &json!(2)));
    assert!(cluster["url"].as_str().is_some_and(|url| url.starts_with(&format!("/{id}/lab?token="))));
    assert_eq!(cluster["dashboard_url"], format!("/{id}_9001/status"));
    let scheduler = format!("/{id}_9000?token=");
    assert!(cluster["scheduler_url"].as_str().is_some_and(|url| url.starts_with(&scheduler)), "{cluster}");
    assert_eq!(cluster["access"], "owner");
    assert!(cluster["culls_at"].is_string() && cluster["expires_at"].is_string(), "{cluster}");
}

#[tokio::test]
async fn a_cluster_is_scaled_within_its_limit() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let path = format!("/api/clusters/{}", launch(&browser).await);
    let answer = browser.patch(&path, json!({"workers": 8})).await.is(202);
    assert_eq!((&answer.json()["workers"]["wanted"], answer.header("location")), (&json!(8), Some(path.as_str())));
    browser.patch(&path, json!({"workers": 8})).await.is(202);
    browser.patch(&path, json!({"workers": 9})).await.refused(422, "too_many_workers");
    browser.post("/api/clusters", json!({"workers": 9})).await.refused(422, "too_many_workers");
    assert_eq!(browser.get(&path).await.json()["workers"]["wanted"], 8);
}

#[tokio::test]
async fn a_cluster_is_stopped_once_and_then_scales_no_more() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let path = format!("/api/clusters/{}", launch(&browser).await);
    let stopping = browser.delete(&path).await.is(202).json();
    assert_eq!((&stopping["status"], &stopping["reason"]), (&json!("stopping"), &json!("Stopped by you")));
    assert_eq!(browser.delete(&path).await.is(202).json(), stopping);
    browser.patch(&path, json!({"workers": 3})).await.refused(409, "stopped");
    server.report(path.trim_start_matches("/api/clusters/"), slipway::domain::Observation::Absent).await;
    assert_eq!(browser.get(&path).await.is(200).json()["status"], "stopped");
    browser.delete(&path).await.is(202);
}

#[tokio::test]
async fn the_same_key_launches_one_cluster() {
    let server = Server::start().await;
    let browser = server.browser().await.with("idempotency-key", "click-1");
    let first = browser.post("/api/clusters", json!({"workers": 3})).await.is(202);
    let again = browser.post("/api/clusters", json!({"workers": 3})).await.is(202);
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    let other = browser.with("idempotency-key", "click-2").post("/api/clusters", json!({"workers": 3})).await;
    assert_ne!(other.is(202).id(), first.id());
    assert_eq!(listed(&browser).await.len(), 2);
}

#[tokio::test]
async fn white_space_and_the_order_of_fields_make_no_other_request() {
    let server = Server::start().await;
    let browser = server.browser().await.with("idempotency-key", "click");
    let send = async |body: &str| {
        browser.send("POST".parse().expect("a method"), "/api/clusters", Some(body.to_owned())).await.is(202).id()
    };
    let first = send(r#"{"workers":3,"profile":"default"}"#).await;
    assert_eq!(send(r#" { "profile" : "default", "workers": 3 } "#).await, first);
}

#[tokio::test]
async fn a_key_used_for_another_request_is_refused() {
    let server = Server::start().await;
    let browser = server.browser().await.with("idempotency-key", "click");
    browser.post("/api/clusters", json!({"workers": 3})).await.is(202);
    browser.post("/api/clusters", json!({"workers": 4})).await.refused(422, "idempotency_key_reused");
    assert_eq!(listed(&browser).await.len(), 1);
}

#[tokio::test]
async fn a_key_is_its_owners_own() {
    let server = Server::start().await;
    let (one, other) = (server.browser().await, server.browser().await);
    let first = one.with("idempotency-key", "click").post("/api/clusters", json!({})).await.is(202).id();
    let second = other.with("idempotency-key", "click").post("/api/clusters", json!({})).await.is(202).id();
    assert_ne!(first, second);
}

#[tokio::test]
async fn an_odd_key_is_refused() {
    let server = Server::start().await;
    let browser = server.browser().await;
    for odd in ["", &"k".repeat(201), "schlüssel"] {
        let answer = browser.with("idempotency-key", odd).post("/api/clusters", json!({})).await;
        answer.refused(400, "invalid_idempotency_key");
    }
    browser.with("idempotency-key", &"k".repeat(200)).post("/api/clusters", json!({})).await.is(202);
}

#[tokio::test]
async fn ten_clicks_at_once_with_one_key_launch_one_cluster() {
    let server = Server::start().await;
    let browser = server.browser().await.with("idempotency-key", "impatient");
    let clicks = join_all((0..10).map(|_| launch(&browser))).await;
    assert!(clicks.iter().all(|id| *id == clicks[0]), "{clicks:?}");
    assert_eq!(listed(&browser).await, clicks[..1]);
}

#[tokio::test]
async fn an_owner_has_as_many_clusters_as_allowed_even_when_asked_for_at_once() {
    let server = Server::with(Caps { clusters_per_owner: 2, ..NO_CAPS }, None).await;
    let browser = server.browser().await;
    let answers = join_all((0..6).map(|_| browser.post("/api/clusters", json!({})))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 202);
    assert_eq!(taken.len(), 2);
    for answer in refused {
        answer.refused(409, "too_many_clusters");
    }
    server.browser().await.post("/api/clusters", json!({})).await.is(202);
    browser.delete(&format!("/api/clusters/{}", taken[0].id())).await.is(202);
    browser.post("/api/clusters", json!({})).await.is(202);
}

#[tokio::test]
async fn all_clusters_together_have_as_many_workers_as_allowed() {
    let server = Server::with(Caps { total_workers: 5, ..NO_CAPS }, None).await;
    let (one, other) = (server.browser().await, server.browser().await);
    let id = one.post("/api/clusters", json!({"workers": 3})).await.is(202).id();
    let full = other.post("/api/clusters", json!({"workers": 3})).await.refused(503, "no_room");
    assert_eq!(full.header("retry-after"), Some("60"));
    other.post("/api/clusters", json!({"workers": 2})).await.is(202);
    let path = format!("/api/clusters/{id}");
    one.patch(&path, json!({"workers": 4})).await.refused(503, "no_room");
    one.patch(&path, json!({"workers": 1})).await.is(202);
    other.post("/api/clusters", json!({"workers": 2})).await.is(202);
}

#[tokio::test]
async fn a_refused_launch_under_a_key_can_be_tried_again_with_it() {
    let server = Server::with(Caps { clusters_per_owner: 1, ..NO_CAPS }, None).await;
    let browser = server.browser().await;
    let first = launch(&browser).await;
    let keyed = browser.with("idempotency-key", "second");
    keyed.post("/api/clusters", json!({})).await.refused(409, "too_many_clusters");
    browser.delete(&format!("/api/clusters/{first}")).await.is(202);
    keyed.post("/api/clusters", json!({})).await.is(202);
}
