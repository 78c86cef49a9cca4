//! Whose clusters they are: cookies, tokens, and what others are told.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use slipway::domain::Keyring;
use slipway::store::tokens::Bearer;
use uuid::Uuid;
use warp::http::Method;

use crate::harness::subject;
use crate::server::Server;

#[tokio::test]
async fn the_page_makes_a_browser_known_once() {
    let server = Server::start().await;
    let stranger = server.stranger();
    let answer = stranger.get("/api/session").await.is(200);
    let cookie = answer.header("set-cookie").expect("a cookie");
    for part in ["slipway=browser:", "; Path=/;", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "a browser would not keep it over http");
    let browser = stranger.keeping(&answer);
    let again = browser.get("/api/session").await.is(200);
    // One that was kept for /api only becomes one for all.
    assert_eq!(again.header("set-cookie"), Some(cookie));
    assert_eq!(again.json(), answer.json());
    let other = stranger.get("/api/session").await.json();
    assert_ne!(other["subject"], answer.json()["subject"]);
}

#[tokio::test]
async fn behind_https_the_cookie_stays_there() {
    let server = Server::start().await;
    let answer = server.stranger().with("x-forwarded-proto", "https").get("/api/session").await;
    assert!(answer.header("set-cookie").is_some_and(|cookie| cookie.ends_with("; Secure")));
}

#[tokio::test]
async fn the_session_tells_what_may_be_launched() {
    let server = Server::start().await;
    let session = server.browser().await.get("/api/session").await.json();
    let profile = &session["profiles"][0];
    assert_eq!((&profile["name"], &profile["workers"]), (&json!("default"), &json!({"default": 2, "most": 8})));
    assert_eq!((&profile["idle_seconds"], &profile["lifetime_seconds"]), (&json!(3_600), &json!(86_400)));
    assert_eq!(session["access_code_required"], false);
}

#[tokio::test]
async fn who_is_not_known_is_asked_who_it_is() {
    let server = Server::start().await;
    let other = Keyring::new(vec![8; 32]).expect("32 bytes").sign_cookie(&subject("browser:1"));
    let forged = [
        server.stranger(),
        server.stranger().with("cookie", "slipway=browser:1.00"),
        server.stranger().with("cookie", &format!("slipway={other}")),
        server.stranger().with("cookie", "slipway"),
        server.stranger().with("cookie", ";;=;"),
    ];
    for client in forged {
        let refused = client.get("/api/clusters").await.refused(401, "not_signed_in");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        client.get("/api/clusters/cluster-678343").await.refused(401, "not_signed_in");
        client.delete("/api/clusters/cluster-678343").await.refused(401, "not_signed_in");
        client.patch("/api/clusters/cluster-678343", json!({"workers": 1})).await.refused(401, "not_signed_in");
        client.get("/api/clusters/cluster-678343/events").await.refused(401, "not_signed_in");
        client.get("/api/events").await.refused(401, "not_signed_in");
    }
}

#[tokio::test]
async fn the_cookie_is_found_among_others() {
    let server = Server::start().await;
    let signed = Keyring::new(vec![7; 32]).expect("32 bytes").sign_cookie(&subject("browser:me"));
    let browser = server.stranger().with("cookie", &format!("_xsrf=a=b; slipway={signed}; theme=\"dark\""));
    assert_eq!(browser.get("/api/session").await.json()["subject"], "browser:me");
}

#[tokio::test]
async fn others_are_told_that_there_is_no_such_cluster() {
    let server = Server::start().await;
    let (owner, other) = (server.browser().await, server.browser().await);
    let id = owner.post("/api/clusters", json!({})).await.is(202).id();
    let path = format!("/api/clusters/{id}");
    let absent = other.get("/api/clusters/cluster-100000").await.text().replace("cluster-100000", &id);
    for (method, body) in [(Method::GET, None), (Method::DELETE, None), (Method::PATCH, Some(r#"{"workers":1}"#))]
    {
        let answer = other.send(method, &path, body.map(str::to_owned)).await.refused(404, "no_such_cluster");
        assert_eq!(answer.text(), absent);
    }
    other.get(&format!("{path}/events")).await.refused(404, "no_such_cluster");
    assert_eq!(other.get("/api/clusters").await.json(), json!({"clusters": []}));
    assert_eq!(owner.get(&path).await.is(200).json()["status"], "launching");
}

#[tokio::test]
async fn a_token_is_its_subject_without_any_cookie() {
    let server = Server::start().await;
    server.token("secret", &Bearer { subject: subject("token:ann"), admin: false }).await;
    let program = server.stranger().bearer("secret");
    let launched = program.post("/api/clusters", json!({})).await.is(202);
    assert_eq!((&launched.json()["owner"], launched.header("set-cookie")), (&json!("token:ann"), None));
    let session = program.get("/api/session").await;
    assert_eq!((&session.json()["subject"], session.header("set-cookie")), (&json!("token:ann"), None));
    let lower = server.stranger().with("authorization", "bearer secret");
    assert_eq!(lower.get("/api/clusters").await.json()["clusters"][0]["id"], launched.id());
}

#[tokio::test]
async fn a_token_that_is_unknown_expired_or_revoked_is_refused() {
    let server = Server::start().await;
    let bearer = Bearer { subject: subject("token:ann"), admin: true };
    let id = server.token("revoked", &bearer).await;
    server.stranger().bearer("revoked").get("/api/events").await.is(200);
    assert!(server.store.revoke_token(id).await.expect("it can be revoked"));
    #[expect(clippy::disallowed_methods, reason = "the database compares it with its own clock")]
    let past = Utc::now() - TimeDelta::seconds(1);
    let made = server.store.create_token(Uuid::new_v4(), "old", &bearer, "expired", Some(past)).await;
    made.expect("a token");
    for wrong in ["Bearer revoked", "Bearer expired", "Bearer unknown", "Bearer", "Bearer ", "Basic revoked", ""] {
        let client = server.stranger().with("authorization", wrong);
        for path in ["/api/session", "/api/clusters", "/api/events"] {
            client.get(path).await.refused(401, "invalid_token");
        }
        client.post("/api/clusters", json!({})).await.refused(401, "invalid_token");
    }
}

#[tokio::test]
async fn an_organiser_sees_and_stops_everyones_clusters() {
    let server = Server::start().await;
    let (owner, admin) = (server.browser().await, server.admin().await);
    let id = owner.post("/api/clusters", json!({})).await.is(202).id();
    assert_eq!(admin.get("/api/clusters").await.json()["clusters"][0]["id"], id);
    let path = format!("/api/clusters/{id}");
    admin.patch(&path, json!({"workers": 1})).await.is(202);
    admin.delete(&path).await.is(202);
    assert_eq!(owner.get(&path).await.json()["reason"], "Stopped by an organiser");
}

#[tokio::test]
async fn another_site_cannot_make_a_browser_ask() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let id = browser.post("/api/clusters", json!({})).await.is(202).id();
    let path = format!("/api/clusters/{id}");
    for site in ["cross-site", "same-site", "odd"] {
        let misled = browser.with("sec-fetch-site", site);
        misled.post("/api/clusters", json!({})).await.refused(403, "foreign_site");
        misled.post("/api/session", json!({"access_code": ""})).await.refused(403, "foreign_site");
        misled.patch(&path, json!({"workers": 1})).await.refused(403, "foreign_site");
        misled.delete(&path).await.refused(403, "foreign_site");
        misled.get(&path).await.is(200);
        let stranger = server.stranger().with("sec-fetch-site", site);
        stranger.post("/api/clusters", json!({})).await.refused(403, "foreign_site");
    }
    for site in ["same-origin", "none"] {
        browser.with("sec-fetch-site", site).patch(&path, json!({"workers": 1})).await.is(202);
    }
    let program = server.admin().await.with("sec-fetch-site", "cross-site");
    program.delete(&path).await.is(202);
}
