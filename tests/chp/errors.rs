//! What clients are told when there is nobody to ask.

use crate::chp_bed::{Chp, ask};
use crate::proxy_bed::Target;

/// Nobody listens there.
const AWAY: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn the_error_target_is_asked_with_the_code_and_the_address() {
    let hub = Target::new(|mut stream, _| async move {
        let head = crate::proxy_bed::read_head(&mut stream).await;
        let line = head.lines().next().expect("a request");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/x-hub\r\nx-secret: 1\r\ncontent-length: {}\r\n\r\n{line}",
            line.len()
        );
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.expect("taken");
    })
    .await;
    for base in ["/hub/error", "/hub/error/"] {
        let chp = Chp::start(&["--error-target", &format!("http://{}{base}", hub.address)]).await;
        chp.post("/away", AWAY).await;
        for (path, status, asked) in [
            ("/none/a%20b?c=d&e", 404, "404?url=%2Fnone%2Fa%2520b%3Fc%3Dd%26e"),
            ("/away/x", 503, "503?url=%2Faway%2Fx"),
        ] {
            let answer = chp.get(path).await;
            assert_eq!((answer.status, answer.body), (status, format!("GET /hub/error/{asked} HTTP/1.1")));
            assert!(answer.head.contains("content-type: text/x-hub"), "{}", answer.head);
            assert!(!answer.head.contains("x-secret"), "{}", answer.head);
        }
    }
}

#[tokio::test]
async fn an_error_target_that_is_away_leaves_a_plain_page() {
    let chp = Chp::start(&["--error-target", AWAY]).await;
    let answer = chp.get("/none").await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("404: Not Found") && !answer.body.contains("127.0.0.1"), "{}", answer.body);
}

#[tokio::test]
async fn pages_come_from_the_error_path_by_code_and_else_error_html() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("404.html"), "ours: 404").expect("written");
    let chp = Chp::start(&["--error-path", folder.path().to_str().expect("text")]).await;
    chp.post("/away", AWAY).await;
    let answer = chp.get("/none").await;
    assert_eq!((answer.status, answer.body.as_str()), (404, "ours: 404"));
    assert!(answer.head.contains("content-type: text/html"), "{}", answer.head);
    assert!(chp.get("/away").await.body.contains("503: Service Unavailable"), "there is neither file");
    std::fs::write(folder.path().join("error.html"), "ours: any").expect("written");
    let answer = chp.get("/away").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "ours: any"));
}

#[tokio::test]
async fn what_is_no_valid_request_is_refused_and_the_error_target_not_asked() {
    let hub = Target::echo().await;
    let url = format!("http://{}", hub.address);
    let chp = Chp::start(&["--error-target", &url, "--default-target", &url]).await;
    for path in ["/%", "/a/../b", "//evil.example"] {
        assert_eq!(chp.get(path).await.status, 400, "{path}");
    }
    assert_eq!(hub.connections(), 0);
}

#[tokio::test]
async fn a_silent_target_is_away_after_the_time_that_was_set() {
    let silent = Target::new(|mut stream, _| async move {
        crate::proxy_bed::read_all(&mut stream).await;
    })
    .await;
    let url = format!("http://{}", silent.address);
    let chp = Chp::start(&["--default-target", &url, "--proxy-timeout", "100"]).await;
    assert_eq!(chp.get("/").await.status, 503);
}

#[tokio::test]
async fn a_websocket_that_leads_nowhere_gets_a_status_and_nothing_else() {
    let hub = Target::echo().await;
    let chp = Chp::start(&["--error-target", &format!("http://{}", hub.address)]).await;
    chp.post("/away", AWAY).await;
    for (path, status) in [("/none", 404), ("/away", 503)] {
        let answer = ask(
            chp.public,
            &format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n"),
        )
        .await;
        assert_eq!((answer.status, answer.body.as_str()), (status, ""));
        assert!(answer.head.contains("content-length: 0"), "{}", answer.head);
    }
    assert_eq!(hub.connections(), 0);
}

#[tokio::test]
async fn it_tells_that_it_runs_at_one_address_only() {
    let chp = Chp::start(&[]).await;
    let answer = chp.get("/_chp_healthz").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"status":"OK"}"#));
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    assert_eq!(chp.get("/_chp_healthz/").await.status, 404);
}
