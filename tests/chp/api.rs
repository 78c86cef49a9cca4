//! The REST API, address by address.

use crate::chp_bed::{Chp, TOKEN, ask};
use serde_json::json;

const TARGET: &str = r#"{"target":"http://127.0.0.1:1"}"#;

#[tokio::test]
async fn every_request_is_answered_as_it_always_was() {
    let chp = Chp::start(&[]).await;
    let long = format!(r#"{{"target":"{}"}}"#, "x".repeat(70_000));
    for (method, path, body, status, said) in [
        ("GET", "/api/routes", "", 200, "{}"),
        ("GET", "/api/routes/", "", 200, "{}"),
        ("GET", "/api/routes/none", "", 404, ""),
        ("POST", "/api/routes/a", TARGET, 201, ""),
        ("POST", "/api/routes/a", TARGET, 201, ""),
        ("POST", "/api/routes", TARGET, 201, ""),
        ("POST", "/api/routes/x", "{}", 400, "Must specify 'target' as string"),
        ("POST", "/api/routes/x", r#"{"target":1}"#, 400, "Must specify 'target' as string"),
        ("POST", "/api/routes/x", "null", 400, "Must specify 'target' as string"),
        ("POST", "/api/routes/x", "{", 400, "Body not valid JSON: "),
        ("POST", "/api/routes/x", "", 400, "Body not valid JSON: "),
        ("POST", "/api/routes/x", &long, 413, "The body has more"),
        ("POST", "/api/routes/x", r#"{"target":"ftp://h"}"#, 400, "Cannot proxy to 'ftp://h'"),
        ("POST", "/api/routes/a//b", TARGET, 400, "route \"/a//b\" is not valid"),
        ("POST", "/api/routes/%zz", TARGET, 400, "The path has a %"),
        ("GET", "/api/routes/%FF", "", 400, "The path has a %"),
        ("GET", "/api/routes?inactiveSince=never", "", 400, "Invalid datestamp 'never' must be ISO8601."),
        ("GET", "/api/routes?inactive_since=2000-01-01T00:00:00.000Z", "", 200, "{}"),
        ("DELETE", "/api/routes/a", "", 204, ""),
        ("DELETE", "/api/routes/a", "", 404, ""),
        ("DELETE", "/api/routes", "", 400, "Name the route"),
        ("DELETE", "/api/routes/", "", 204, ""),
        ("GET", "/api/routes", "", 200, "{}"),
        ("PUT", "/api/routes/a", TARGET, 405, "Method not supported"),
        ("PATCH", "/api/routes", TARGET, 405, "Method not supported"),
        ("GET", "/api/", "", 404, "Not Found"),
        ("GET", "/api/routesx", "", 404, "Not Found"),
        ("GET", "/", "", 404, "Not Found"),
    ] {
        let (got, text) = chp.rest(method, path, body).await;
        assert_eq!(got, status, "{method} {path} {body}: {text}");
        assert!(if said.is_empty() { text.is_empty() } else { text.contains(said) }, "{method} {path}: {text}");
    }
}

#[tokio::test]
async fn paths_are_kept_decoded_and_whatever_was_posted_comes_back() {
    let chp = Chp::start(&[]).await;
    let posted = json!({
        "target": "http://127.0.0.1:9999/base/",
        "jupyterhub": true,
        "user": "foo@bar",
        "server_name": "",
        "nested": {"a": [1, null]},
        "last_activity": "1999-01-01T00:00:00Z",
    });
    let (status, _) = chp.rest("POST", "/api/routes/user/foo%40bar/", &posted.to_string()).await;
    assert_eq!(status, 201);
    let listed = chp.routes().await;
    let route = &listed["/user/foo@bar"];
    for key in ["target", "jupyterhub", "user", "server_name", "nested"] {
        assert_eq!(route[key], posted[key], "{key}");
    }
    let at = route["last_activity"].as_str().expect("a time");
    assert!(at.starts_with("20") && at.ends_with('Z') && at.len() == "2018-02-20T21:18:29.579Z".len(), "{at}");
    for path in ["/api/routes/user/foo@bar", "/api/routes/user/foo%40bar/"] {
        let (status, one) = chp.rest("GET", path, "").await;
        assert_eq!((status, serde_json::from_str(&one).ok()), (200, Some(route.clone())), "{path}");
    }
    assert_eq!(chp.rest("DELETE", "/api/routes/user/foo%40bar/", "").await.0, 204);
    assert_eq!(chp.routes().await, json!({}));
}

#[tokio::test]
async fn the_token_is_asked_for_and_without_one_all_is_open() {
    let chp = Chp::start(&[]).await;
    let status = async |authorization: &str| {
        let head = format!("GET /api/routes HTTP/1.1\r\nhost: a\r\n{authorization}connection: close\r\n\r\n");
        ask(chp.api, &head).await.status
    };
    for (authorization, expected) in [
        ("", 403),
        ("authorization: token wrong\r\n", 403),
        ("authorization: token\r\n", 403),
        ("authorization: Token secret!\r\n", 403),
        ("authorization: tokensecret!\r\n", 403),
        ("authorization: token secret!x\r\n", 403),
        ("authorization: token secret!\r\n", 200),
        ("authorization: token   secret! \r\n", 200),
        ("authorization: x token secret! y\r\n", 200),
    ] {
        assert_eq!(status(authorization).await, expected, "{authorization}");
    }
    assert_eq!(TOKEN, "secret!");
    let open = Chp::start_with(&[], &[("CONFIGPROXY_AUTH_TOKEN", "")]).await;
    let answer = ask(open.api, "GET /api/routes HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
}

#[tokio::test]
async fn the_list_can_be_limited_to_what_nobody_uses() {
    let chp = Chp::start(&["--default-target", "http://127.0.0.1:1"]).await;
    chp.post("/a", "http://127.0.0.1:1").await;
    let listed = async |query: &str| {
        let (status, body) = chp.rest("GET", &format!("/api/routes?{query}"), "").await;
        assert_eq!(status, 200, "{body}");
        let listed: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        listed.as_object().expect("an object").keys().cloned().collect::<Vec<_>>()
    };
    let all = ["/", "/a"];
    assert_eq!(listed("inactiveSince=2999-01-01T00:00:00.000Z").await, all);
    assert_eq!(listed("inactive_since=2999-01-01T00:00:00.000Z").await, all);
    assert_eq!(listed("inactiveSince=2999-01-01T00%3A00%3A00Z&inactive_since=2000-01-01").await, all);
    assert_eq!(listed("inactiveSince=2000-01-01T00:00:00.000Z").await, Vec::<String>::new());
    assert_eq!(listed("inactiveSince=").await, all);
}
