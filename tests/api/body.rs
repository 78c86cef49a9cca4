//! Bodies that cannot be taken, and addresses that lead nowhere.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warp::http::Method;

use crate::server::Server;

#[tokio::test]
async fn what_is_not_json_is_refused() {
    let server = Server::start().await;
    let browser = server.browser().await;
    for malformed in ["", "{", "workers=3", "{\"workers\":}", "\u{0}", "{\"workers\":1}{}", "[[[["] {
        let answer = browser.send(Method::POST, "/api/clusters", Some(malformed.to_owned())).await;
        answer.refused(400, "malformed_json");
    }
}

#[tokio::test]
async fn json_that_says_something_else_is_refused() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let wrong = [
        json!([]),
        json!("launch"),
        json!(null),
        json!({"wrokers": 3}),
        json!({"workers": 3, "owner": "me"}),
        json!({"workers": -1}),
        json!({"workers": 0}),
        json!({"workers": 1_001}),
        json!({"workers": 65_537}),
        json!({"workers": 2.5}),
        json!({"workers": 1e300}),
        json!({"workers": "3"}),
        json!({"workers": [3]}),
        json!({"workers": u64::MAX}),
        json!({"profile": "No Such"}),
        json!({"profile": 3}),
        json!({"materials": "https://example.org/course"}),
        json!({"materials": [3]}),
    ];
    for body in wrong {
        browser.post("/api/clusters", body).await.refused(422, "invalid_field");
    }
    let twice = r#"{"workers": 1, "workers": 2}"#.to_owned();
    browser.send(Method::POST, "/api/clusters", Some(twice)).await.refused(422, "invalid_field");
    browser.post("/api/clusters", json!({"profile": "gpu"})).await.refused(422, "no_such_profile");
}

#[tokio::test]
async fn materials_that_cannot_be_cloned_are_refused_with_the_reason() {
    let server = Server::start().await;
    let browser = server.browser().await;
    for wrong in
        ["--upload-pack=id", "https://user:secret@example.org/x", "file:///etc", "https://example.org/...git"]
    {
        let answer = browser.post("/api/clusters", json!({"materials": [wrong]})).await;
        let message = answer.refused(422, "invalid_field").json()["error"]["message"].to_string();
        assert!(message.contains("write https://host/path"), "{message}");
    }
    let many: Vec<String> = (0..11).map(|n| format!("https://example.org/course-{n}")).collect();
    browser.post("/api/clusters", json!({"materials": many[..10]})).await.is(202);
    browser.post("/api/clusters", json!({"materials": many})).await.refused(422, "invalid_materials");
    let same = ["https://example.org/a/course", "https://example.org/b/course.git@x"];
    browser.post("/api/clusters", json!({"materials": same})).await.refused(422, "invalid_materials");
}

#[tokio::test]
async fn a_scale_says_how_many_and_nothing_else() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let id = browser.post("/api/clusters", json!({})).await.is(202).id();
    let path = format!("/api/clusters/{id}");
    for wrong in [json!({}), json!({"workers": 0}), json!({"workers": null}), json!({"workers": 2, "x": 1})] {
        browser.patch(&path, wrong).await.refused(422, "invalid_field");
    }
    browser.send(Method::PATCH, &path, Some("{".to_owned())).await.refused(400, "malformed_json");
}

#[tokio::test]
async fn a_body_that_is_not_declared_as_json_is_refused() {
    let server = Server::start().await;
    let browser = server.browser().await;
    for declared in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "", "json"] {
        let answer = browser.with("content-type", declared).post("/api/clusters", json!({})).await;
        answer.refused(415, "not_json");
    }
    for declared in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        browser.with("content-type", declared).post("/api/clusters", json!({})).await.is(202);
    }
    browser.send(Method::POST, "/api/clusters", None).await.refused(415, "not_json");
}

#[tokio::test]
async fn a_body_may_have_64_kibibytes() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let padded = |length: usize| Some(format!("{{{}}}", " ".repeat(length - 2)));
    browser.send(Method::POST, "/api/clusters", padded(65_536)).await.is(202);
    browser.send(Method::POST, "/api/clusters", padded(65_537)).await.refused(413, "body_too_large");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_cut_off_at_the_same_size() {
    let server = Server::start().await;
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    let head = "POST /api/clusters HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("it can be written");
    for _ in 0..65 {
        let chunk = format!("400\r\n{}\r\n", " ".repeat(1_024));
        if socket.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.expect("an answer before the body ends");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
}

#[tokio::test]
async fn ids_that_are_none_and_clusters_that_are_not_there_are_told_apart() {
    let server = Server::start().await;
    let browser = server.browser().await;
    for wrong in ["x", "678343", "cluster-1", "cluster-0678343", "cluster-678343_9000", "..%2f", "%00"] {
        let path = format!("/api/clusters/{wrong}");
        browser.get(&path).await.refused(400, "invalid_id");
        browser.delete(&path).await.refused(400, "invalid_id");
        browser.patch(&path, json!({"workers": 1})).await.refused(400, "invalid_id");
        browser.get(&format!("{path}/events")).await.refused(400, "invalid_id");
    }
    let path = "/api/clusters/cluster-678343";
    browser.get(path).await.refused(404, "no_such_cluster");
    browser.delete(path).await.refused(404, "no_such_cluster");
    browser.patch(path, json!({"workers": 1})).await.refused(404, "no_such_cluster");
    browser.get(&format!("{path}/events")).await.refused(404, "no_such_cluster");
}

#[tokio::test]
async fn other_addresses_lead_nowhere() {
    let server = Server::start().await;
    let browser = server.browser().await;
    for nowhere in ["/api", "/api/", "/api/cluster", "/api/clusters/a/b", "/index.html", "/assets/x"] {
        browser.get(nowhere).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn other_methods_are_not_taken() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let addresses =
        ["/", "/healthz", "/readyz", "/api/session", "/api/clusters", "/api/events", "/api/openapi.json"];
    for address in addresses {
        browser.send(Method::PUT, address, None).await.refused(405, "method_not_allowed");
    }
    browser.delete("/api/clusters").await.refused(405, "method_not_allowed");
    browser.post("/api/clusters/cluster-678343", json!({})).await.refused(405, "method_not_allowed");
    browser.post("/api/clusters/cluster-678343/events", json!({})).await.refused(405, "method_not_allowed");
}
