//! The access code of a class.

use serde_json::{Value, json};

use crate::harness::NO_CAPS;
use crate::server::Server;

async fn guarded() -> Server {
    Server::with(NO_CAPS, Some("Harbour 7")).await
}

#[tokio::test]
async fn without_the_code_a_stranger_sees_what_is_asked_for_and_launches_nothing() {
    let server = guarded().await;
    let session = server.stranger().get("/api/session").await.is(200);
    assert_eq!((&session.json()["subject"], session.header("set-cookie")), (&Value::Null, None));
    assert_eq!(session.json()["access_code_required"], true);
    server.stranger().post("/api/clusters", json!({})).await.refused(401, "access_code_required");
}

#[tokio::test]
async fn the_code_opens_the_door_for_good() {
    let server = guarded().await;
    for given in ["Harbour 7", " Harbour 7\n"] {
        let answer = server.stranger().post("/api/session", json!({"access_code": given})).await.is(200);
        assert!(answer.json()["subject"].is_string());
        let browser = server.stranger().keeping(&answer);
        browser.post("/api/clusters", json!({})).await.is(202);
        assert_eq!(browser.get("/api/session").await.json()["subject"], answer.json()["subject"]);
    }
}

#[tokio::test]
async fn wrong_codes_are_all_answered_alike() {
    let server = guarded().await;
    let mut answers = Vec::new();
    for wrong in ["", "h", "harbour 7", "Harbour 8", "Harbour 77", &"x".repeat(10_000)] {
        let answer = server.stranger().post("/api/session", json!({"access_code": wrong})).await;
        let answer = answer.refused(403, "wrong_access_code");
        assert_eq!(answer.header("set-cookie"), None);
        answers.push(answer.body);
    }
    assert!(answers.iter().all(|body| *body == answers[0]));
}

#[tokio::test]
async fn after_many_wrong_codes_even_the_right_one_waits() {
    let server = guarded().await;
    for _ in 0..60 {
        server
            .stranger()
            .post("/api/session", json!({"access_code": "guess"}))
            .await
            .refused(403, "wrong_access_code");
    }
    for given in ["guess", "Harbour 7"] {
        let answer = server.stranger().post("/api/session", json!({"access_code": given})).await;
        assert_eq!(answer.refused(429, "too_many_attempts").header("retry-after"), Some("60"));
    }
}

#[tokio::test]
async fn a_token_needs_no_code() {
    let server = guarded().await;
    server.admin().await.post("/api/clusters", json!({})).await.is(202);
}

#[tokio::test]
async fn what_is_no_code_at_all_is_refused() {
    let server = guarded().await;
    for wrong in [json!({}), json!({"access_code": 7}), json!({"code": "x"}), json!("Harbour 7")] {
        server.stranger().post("/api/session", wrong).await.refused(422, "invalid_field");
    }
}
