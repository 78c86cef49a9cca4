//! What is counted, under the names that dashboards for configurable-http-proxy ask for.

use crate::chp_bed::{Chp, ask};
use crate::proxy_bed::Target;

fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn requests_of_both_sides_are_counted() {
    let chp = Chp::start(&["--metrics-ip", "127.0.0.1", "--metrics-port", "0"]).await;
    let metrics = chp.metrics.expect("it says where");
    let read = async |path: &str| {
        ask(metrics, &format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")).await
    };
    let target = Target::echo().await;
    chp.post("/a", &format!("http://{}", target.address)).await;
    chp.post("/b", &format!("http://{}", target.address)).await;
    assert_eq!(chp.rest("DELETE", "/api/routes/b", "").await.0, 204);
    assert_eq!(chp.rest("DELETE", "/api/routes/b", "").await.0, 404);
    chp.routes().await;
    assert_eq!(chp.get("/a/x").await.status, 200);
    assert_eq!(chp.get("/nowhere").await.status, 404);
    let upgrade = "GET /nowhere HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    ask(chp.public, &upgrade.replace("upgrade\r\nu", "upgrade, close\r\nu")).await;

    let answer = read("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    for (name, expected) in [
        ("api_route_add", 2),
        ("api_route_delete", 2),
        ("api_route_get", 1),
        ("requests_api{status=\"201\"}", 2),
        ("requests_api{status=\"404\"}", 1),
        ("requests_web", 2),
        ("requests_ws", 1),
        ("requests_proxy{status=\"200\"}", 1),
        ("requests_proxy{status=\"404\"}", 2),
        ("slipway_proxy_upgrades_total", 1),
        ("slipway_proxy_routes", 1),
    ] {
        assert_eq!(value(&answer.body, name), Some(expected), "{name} in {}", answer.body);
    }
    assert_eq!(read("/").await.status, 404);
}
