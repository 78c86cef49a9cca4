//! The audit trail over the API.

use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::eventually;
use crate::server::Server;

async fn page(admin: &Client, query: &str) -> Value {
    admin.get(&format!("/api/events{query}")).await.is(200).json()
}

async fn all(admin: &Client, limit: usize) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(admin, &format!("?limit={limit}&after={after}")).await;
        let read = page["events"].as_array().expect("a list").clone();
        assert!(read.len() <= limit);
        if read.is_empty() {
            assert!(after.is_empty() || page["next"] == after);
            return events;
        }
        after = page["next"].as_str().expect("a position").to_owned();
        events.extend(read);
    }
}

#[tokio::test]
async fn each_event_is_read_once_over_pages_of_any_size() {
    let server = Server::start().await;
    let (browser, admin) = (server.browser().await, server.admin().await);
    for _ in 0..3 {
        let id = browser.post("/api/clusters", json!({})).await.is(202).id();
        server.make_ready(&id, 2).await;
        browser.delete(&format!("/api/clusters/{id}")).await.is(202);
    }
    let whole = eventually("all events to be readable", async || {
        let events = all(&admin, 100).await;
        (events.len() == 12).then_some(events)
    })
    .await;
    for limit in [1, 2, 5, 12, 1_000] {
        assert_eq!(all(&admin, limit).await, whole);
    }
    let kinds = ["LaunchRequested", "BecameReady", "Scaled", "StopRequested"];
    assert_eq!(whole.iter().take(4).map(|event| event["type"].clone()).collect::<Vec<_>>(), kinds);
    for event in &whole {
        assert!(event["summary"].as_str().is_some_and(|text| !text.is_empty()), "{event}");
        assert!(event["actor"].is_string() && event["correlation_id"].is_string(), "{event}");
    }
}

#[tokio::test]
async fn an_empty_log_gives_a_position_to_go_on_from() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let first = page(&admin, "").await;
    assert_eq!(first["events"], json!([]));
    let after = first["next"].as_str().expect("a position").to_owned();
    server.browser().await.post("/api/clusters", json!({})).await.is(202);
    eventually("the launch to be readable", async || {
        let events = page(&admin, &format!("?after={after}")).await["events"].clone();
        (events.as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let wrong = [
        "?after=x",
        "?after=1.2",
        "?after=1.2.3.4",
        "?after=-1.0.0",
        "?limit=0",
        "?limit=-1",
        "?limit=1001",
        "?limit=ten",
        "?limit=1.5",
        "?limti=1",
        "?limit=99999999999999999999",
        "?limit=1&limit=2",
    ];
    for query in wrong {
        admin.get(&format!("/api/events{query}")).await.refused(400, "invalid_query");
    }
    page(&admin, "?after=").await;
    page(&admin, "?after=32767.18446744073709551615.9223372036854775807").await;
}

#[tokio::test]
async fn the_trail_is_for_organisers() {
    let server = Server::start().await;
    server.browser().await.get("/api/events").await.refused(403, "admins_only");
}
