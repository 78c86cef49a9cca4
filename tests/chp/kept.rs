//! Routes in slipway's log: they outlive processes, and all proxies on one database have them.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::chp_bed::Chp;
use crate::harness::database;
use crate::proxy_bed::Target;

async fn start(url: &str) -> Chp {
    Chp::start(&["--database-url", url]).await
}

/// Asks until the answer is as expected.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async { while !holds().await {} };
    timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

#[tokio::test]
async fn posted_routes_outlive_a_kill_with_all_that_was_posted() {
    let (_pool, url) = database().await;
    let target = Target::echo().await;
    let mut first = start(&url).await;
    let data = json!({ "target": format!("http://{}", target.address), "jupyterhub": true, "user": "zoe" });
    assert_eq!(first.rest("POST", "/api/routes/user/zoe%40x", &data.to_string()).await.0, 201);
    first.post("/gone", "http://127.0.0.1:1").await;
    assert_eq!(first.rest("DELETE", "/api/routes/gone", "").await.0, 204);
    let before = first.routes().await;
    first.signal(Signal::SIGKILL);
    assert_eq!(first.ended().await, None);
    let second = start(&url).await;
    let after = second.routes().await;
    let at =
        |routes: &Value| -> String { routes["/user/zoe@x"]["last_activity"].as_str().expect("a time").to_owned() };
    assert_eq!(after.as_object().expect("routes").len(), 1, "{after}");
    assert_eq!(after["/user/zoe@x"]["user"], "zoe");
    let apart = at(&after).parse::<chrono::DateTime<chrono::Utc>>().expect("a time")
        - at(&before).parse::<chrono::DateTime<chrono::Utc>>().expect("a time");
    assert!(apart.abs() < chrono::TimeDelta::seconds(1), "it was not used at the restart: {before} {after}");
    assert_eq!(second.get("/user/zoe@x/lab").await.status, 200);
}

#[tokio::test]
async fn every_proxy_has_what_is_posted_to_one_and_what_was_used_there() {
    let (_pool, url) = database().await;
    let target = Target::echo().await;
    let (one, other) = (start(&url).await, start(&url).await);
    one.post("/a", &format!("http://{}", target.address)).await;
    eventually("the route at the other", async || other.get("/a").await.status == 200).await;
    let used = async |chp: &Chp| -> String {
        chp.routes().await["/a"]["last_activity"].as_str().unwrap_or_default().to_owned()
    };
    let posted = used(&one).await;
    eventually("its use at the one", async || {
        other.get("/a").await;
        used(&one).await > posted
    })
    .await;
    other.post("/a", "http://127.0.0.1:1").await;
    eventually("the change at the one", async || one.get("/a").await.status == 503).await;
    assert_eq!(one.rest("DELETE", "/api/routes/a", "").await.0, 204);
    eventually("the removal at the other", async || other.get("/a").await.status == 404).await;
}

#[tokio::test]
async fn many_at_once_are_all_kept() {
    let (_pool, url) = database().await;
    let chp = start(&url).await;
    let posting = (0..200).map(|n| {
        let chp = &chp;
        async move { chp.post(&format!("/user/{n}"), "http://127.0.0.1:1").await }
    });
    futures_util::future::join_all(posting).await;
    assert_eq!(chp.routes().await.as_object().expect("routes").len(), 200);
    assert_eq!(start(&url).await.routes().await.as_object().expect("routes").len(), 200);
}

#[tokio::test]
async fn what_the_log_cannot_hold_is_refused_and_harms_nobody() {
    let (_pool, url) = database().await;
    let chp = start(&url).await;
    let body = r#"{"target":"http://127.0.0.1:1","x":"\u0000"}"#;
    let (status, text) = chp.rest("POST", "/api/routes/a", body).await;
    assert_eq!(status, 400, "{text}");
    chp.post("/a", "http://127.0.0.1:1").await;
}

#[tokio::test]
async fn when_the_log_goes_on_from_an_earlier_state_the_routes_are_those_that_it_has() {
    let (pool, url) = database().await;
    let target = Target::echo().await;
    let address = format!("http://{}", target.address);
    let chp = Chp::start(&["--database-url", &url, "--default-target", &address]).await;
    for path in ["/kept", "/lost"] {
        chp.post(path, &address).await;
    }
    // As a standby that had not received the last one and was promoted, with a post since, of the same number.
    let promoted = "BEGIN;
        ALTER TABLE slipway.route_event DISABLE TRIGGER route_event_is_immutable;
        DELETE FROM slipway.route_event WHERE path = '/lost'; DELETE FROM slipway.posted_route WHERE path = '/lost';
        COMMIT;
        SELECT slipway.post_routes(ARRAY['/new'], ARRAY['{\"target\": \"http://127.0.0.1:1\"}'::jsonb])";
    sqlx::raw_sql(promoted).execute(&pool).await.expect("a superuser can");
    eventually("the routes of the log", async || {
        let routes = chp.routes().await;
        routes.as_object().expect("routes").keys().eq(["/", "/kept", "/new"])
    })
    .await;
    assert_eq!(chp.get("/lost").await.status, 200, "the default route's");
}
