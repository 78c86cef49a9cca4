//! Who may enter a cluster, as its owner says: access, and links for a while.

use serde_json::{Value, json};
use slipway::domain::{ClusterId, Command, Keyring, Observation, ShareId};
use warp::http::Method;

use crate::client::Client;
use crate::server::Server;

async fn launched(browser: &Client) -> (ClusterId, String) {
    let id = browser.post("/api/clusters", json!({})).await.is(202).id();
    (id.parse().expect("an id"), format!("/api/clusters/{id}"))
}

/// The share that a link proves, for the server's own key.
fn proved(cluster: ClusterId, url: &Value) -> Option<ShareId> {
    let token = url.as_str()?.split_once("?share=")?.1;
    Keyring::new(vec![7; 32]).expect("32 bytes").verify_share(cluster, token)
}

#[tokio::test]
async fn a_share_is_made_listed_and_revoked() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let (id, cluster) = launched(&browser).await;
    let shares = format!("{cluster}/shares");
    assert_eq!(browser.get(&shares).await.is(200).json(), json!({"shares": []}));
    let later = browser.post(&shares, json!({"seconds": 7_200})).await.is(201).json();
    let sooner = browser.post(&shares, json!({"seconds": 3_600})).await.is(201).json();
    for (share, begin) in [(&later, format!("/{id}/lab?share=")), (&sooner, format!("/{id}/lab?share="))] {
        assert!(share["url"].as_str().is_some_and(|url| url.starts_with(&begin)), "{share}");
        let name: ShareId = share["id"].as_str().expect("an id").parse().expect("a share");
        assert_eq!((proved(id, &share["url"]), proved(id, &share["scheduler_url"])), (Some(name), Some(name)));
    }
    assert_eq!(browser.get(&shares).await.is(200).json(), json!({"shares": [sooner, later]}));
    let one = format!("{shares}/{}", sooner["id"].as_str().expect("an id"));
    assert_eq!(browser.delete(&one).await.is(200).json(), json!({"shares": [later]}));
    browser.delete(&one).await.refused(404, "no_such_share");
    let stream = server.store.stream(id).await.expect("its events");
    let kinds: Vec<_> = stream.iter().map(|recorded| recorded.event.kind()).collect();
    assert_eq!(kinds, ["LaunchRequested", "Shared", "Shared", "Unshared"]);
}

#[tokio::test]
async fn a_share_ends_when_it_was_said_to() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let (id, cluster) = launched(&browser).await;
    let shares = format!("{cluster}/shares");
    let now = slipway::clock::Clock::system().now();
    let until = (now + chrono::TimeDelta::hours(1)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    assert_eq!(browser.post(&shares, json!({"until": until})).await.is(201).json()["until"], until.as_str());
    // One that has ended is listed no more.
    let ended = Command::Share { id: ShareId::from_number(1), until: now, now };
    server.service.execute(id, &ended, &crate::harness::meta("test"), None).await.expect("a share");
    let listed = browser.get(&shares).await.json();
    assert_eq!(listed["shares"].as_array().map(Vec::len), Some(1), "{listed}");
    for wrong in [
        json!({}),
        json!({"seconds": 0}),
        json!({"seconds": -1}),
        json!({"seconds": 31_536_001}),
        json!({"seconds": 1.5}),
        json!({"seconds": "60"}),
        json!({"until": "tomorrow"}),
        json!({"until": "2020-01-01T00:00:00Z"}),
        json!({"until": "9999-01-01T00:00:00Z"}),
        json!({"until": until, "seconds": 60}),
        json!({"seconds": 60, "for": "me"}),
    ] {
        browser.post(&shares, wrong).await.refused(422, "invalid_field");
    }
    browser.send(Method::POST, &shares, Some("{".to_owned())).await.refused(400, "malformed_json");
}

#[tokio::test]
async fn there_are_only_so_many_shares() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let (_, cluster) = launched(&browser).await;
    let shares = format!("{cluster}/shares");
    for _ in 0..50 {
        browser.post(&shares, json!({"seconds": 60})).await.is(201);
    }
    browser.post(&shares, json!({"seconds": 60})).await.refused(409, "too_many_shares");
}

#[tokio::test]
async fn access_is_what_it_was_set_to() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let (_, cluster) = launched(&browser).await;
    let access = format!("{cluster}/access");
    for who in ["class", "public", "public", "owner"] {
        assert_eq!(browser.put(&access, json!({"access": who})).await.is(202).json()["access"], who);
        assert_eq!(browser.get(&cluster).await.json()["access"], who);
    }
    for wrong in
        [json!({}), json!({"access": "everybody"}), json!({"access": null}), json!({"access": "owner", "x": 1})]
    {
        browser.put(&access, wrong).await.refused(422, "invalid_field");
    }
}

#[tokio::test]
async fn only_the_owner_and_an_organiser_open_a_cluster_to_others() {
    let server = Server::start().await;
    let (owner, other, admin) = (server.browser().await, server.browser().await, server.admin().await);
    let (_, cluster) = launched(&owner).await;
    let (access, shares) = (format!("{cluster}/access"), format!("{cluster}/shares"));
    let made = owner.post(&shares, json!({"seconds": 60})).await.is(201).json();
    let one = format!("{shares}/{}", made["id"].as_str().expect("an id"));
    for (client, status, code) in [(&other, 404, "no_such_cluster"), (&server.stranger(), 401, "not_signed_in")] {
        client.put(&access, json!({"access": "public"})).await.refused(status, code);
        client.post(&shares, json!({"seconds": 60})).await.refused(status, code);
        client.get(&shares).await.refused(status, code);
        client.delete(&one).await.refused(status, code);
    }
    let misled = owner.with("sec-fetch-site", "cross-site");
    misled.put(&access, json!({"access": "public"})).await.refused(403, "foreign_site");
    misled.post(&shares, json!({"seconds": 60})).await.refused(403, "foreign_site");
    misled.delete(&one).await.refused(403, "foreign_site");
    admin.put(&access, json!({"access": "class"})).await.is(202);
    admin.delete(&one).await.is(200);
}

#[tokio::test]
async fn a_cluster_that_has_ended_is_not_shared() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let (id, cluster) = launched(&browser).await;
    let shares = format!("{cluster}/shares");
    let made = browser.post(&shares, json!({"seconds": 60})).await.is(201).json();
    browser.delete(&cluster).await.is(202);
    server.report(&id.to_string(), Observation::Absent).await;
    browser.post(&shares, json!({"seconds": 60})).await.refused(409, "stopped");
    browser.put(&format!("{cluster}/access"), json!({"access": "class"})).await.refused(409, "stopped");
    assert_eq!(browser.get(&shares).await.is(200).json(), json!({"shares": []}));
    let one = format!("{shares}/{}", made["id"].as_str().expect("an id"));
    browser.delete(&one).await.refused(409, "stopped");
    browser.delete(&format!("{shares}/x")).await.refused(400, "invalid_id");
}
