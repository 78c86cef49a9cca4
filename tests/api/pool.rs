//! A button behind which clusters are ready.

use std::time::Duration;

use serde_json::{Value, json};
use slipway::domain::{Access, ClusterId, Command, Pool, Profile};
use slipway::store::append::Caps;

use crate::client::Client;
use crate::harness::{NO_CAPS, meta, subject};
use crate::server::{Server, profile};

fn stocked() -> Profile {
    let pool = Pool { ready: 2, timezone: chrono_tz::UTC, schedule: vec![] };
    Profile { access: Access::Class, pool: Some(pool), ..profile() }
}

/// With so many clusters that are ready and nobody's.
async fn given(caps: Caps, kept: usize) -> (Server, Vec<String>) {
    let server = Server::offering(vec![stocked()], caps, None).await;
    let mut ids = vec![];
    for _ in 0..kept {
        let launched = server.service.launch(stocked().stock(), subject("keeper"), None).await;
        let id: ClusterId = launched.expect("a launch").cluster.id;
        server.service.execute(id, &Command::Admit, &meta("worker:test"), None).await.expect("admitted");
        server.make_ready(&id.to_string(), 2).await;
        ids.push(id.to_string());
    }
    for lease in server.store.claim("worker:test", 100, Duration::from_secs(60)).await.expect("a claim") {
        assert!(server.store.finish(&lease).await.expect("an answer"));
    }
    (server, ids)
}

async fn listed(client: &Client) -> Vec<Value> {
    client.get("/api/clusters").await.is(200).json()["clusters"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_click_is_answered_with_a_cluster_that_runs() {
    let (server, kept) = given(NO_CAPS, 2).await;
    let anna = server.browser().await.with("idempotency-key", "a click");
    let cluster = anna.post("/api/clusters", json!({})).await.is(202).json();
    let id = cluster["id"].as_str().expect("an id").to_owned();
    assert!(kept.contains(&id), "{cluster}");
    assert_eq!(
        (&cluster["status"], &cluster["claimed"], &cluster["access"]),
        (&json!("running"), &json!(true), &json!("class"))
    );
    assert!(cluster["url"].as_str().is_some_and(|url| url.starts_with(&format!("/{id}/lab?token="))));
    assert_eq!(cluster["created_at"], cluster["ready_at"], "its time is counted from the click");
    assert_eq!(anna.post("/api/clusters", json!({})).await.is(202).id(), id, "one click, one cluster");
    assert_eq!(listed(&anna).await.len(), 1);
    let events = anna.get(&format!("/api/clusters/{id}")).await.is(200).json();
    assert_eq!(events, cluster);

    let bob = server.browser().await;
    let other = bob.post("/api/clusters", json!({"workers": 4})).await.is(202).json();
    assert_eq!((&other["claimed"], &other["workers"]["wanted"]), (&json!(true), &json!(4)));
    let cold = server.browser().await.post("/api/clusters", json!({})).await.is(202).json();
    assert_eq!(
        (&cold["claimed"], &cold["status"], &cold["url"]),
        (&json!(false), &json!("launching"), &Value::Null)
    );
}

#[tokio::test]
async fn nobody_is_told_the_way_into_what_is_nobodys_and_the_way_is_another_after_the_claim() {
    let (server, kept) = given(NO_CAPS, 1).await;
    let (admin, anna) = (server.admin().await, server.browser().await);
    let path = format!("/api/clusters/{}", kept[0]);
    anna.get(&path).await.refused(404, "no_such_cluster");
    let seen = admin.get(&path).await.is(200).json();
    assert_eq!(
        (&seen["status"], &seen["url"], &seen["scheduler_url"]),
        (&json!("running"), &Value::Null, &Value::Null)
    );
    assert_eq!((&seen["culls_at"], &seen["expires_at"]), (&Value::Null, &Value::Null));
    admin.patch(&path, json!({"workers": 3})).await.refused(409, "unclaimed");
    admin.put(&format!("{path}/access"), json!({"access": "public"})).await.refused(409, "unclaimed");
    let hers = anna.post("/api/clusters", json!({})).await.is(202).json();
    assert!(hers["culls_at"].is_string() && hers["expires_at"].is_string(), "{hers}");
    let id: ClusterId = kept[0].parse().expect("an id");
    let keyring = slipway::domain::Keyring::new(vec![7; 32]).expect("32 bytes");
    assert_ne!(hers["url"], keyring.notebook_path(id, None));
    let owner = subject(hers["owner"].as_str().expect("an owner"));
    assert_eq!(hers["url"], keyring.notebook_path(id, Some(&owner)));
}

#[tokio::test]
async fn other_materials_are_launched_and_limits_hold_for_what_is_ready_too() {
    let (server, kept) = given(Caps { clusters_per_owner: 1, ..NO_CAPS }, 2).await;
    let anna = server.browser().await;
    let cold = anna.post("/api/clusters", json!({"materials": []})).await.is(202).json();
    assert_eq!(cold["claimed"], json!(false));
    anna.post("/api/clusters", json!({})).await.refused(409, "too_many_clusters");
    server.browser().await.post("/api/clusters", json!({"workers": 9})).await.refused(422, "too_many_workers");
    let left = server.store.claimable(&stocked().pool_owner(), 10).await.expect("an answer");
    assert_eq!(left.len(), kept.len());
}
