//! WebSockets and other long connections, and what counts as use of a route.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};

use crate::chp_bed::Chp;
use crate::proxy_bed::{Target, read_head};

/// Echoes each message of a WebSocket; says one of its own first.
async fn echo_socket() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.expect("a handshake");
                socket.send(Message::text("hello")).await.expect("taken");
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

async fn used(chp: &Chp, path: &str) -> DateTime<Utc> {
    let routes = chp.routes().await;
    routes[path]["last_activity"].as_str().expect("a time").parse().expect("ISO 8601")
}

/// Asks again until the route was used after that time.
async fn used_after(chp: &Chp, path: &str, before: DateTime<Utc>, mut act: impl AsyncFnMut()) {
    let waiting = async {
        while used(chp, path).await <= before {
            act().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it counts as use");
}

#[tokio::test]
async fn a_websocket_lives_through_changes_of_routes_and_its_client_counts_as_use() {
    let url = echo_socket().await;
    let chp = Chp::start(&[]).await;
    chp.post("/ws", &url).await;
    let posted = used(&chp, "/ws").await;
    let (mut socket, _) = connect_async(format!("ws://{}/ws/x", chp.public)).await.expect("a handshake");
    assert_eq!(socket.next().await.expect("open").expect("a message"), Message::text("hello"));
    assert_eq!(used(&chp, "/ws").await, posted, "what the target says is no use");
    used_after(&chp, "/ws", posted, async || {
        socket.send(Message::text("ping")).await.expect("taken");
        assert_eq!(socket.next().await.expect("open").expect("a message"), Message::text("ping"));
    })
    .await;
    chp.post("/ws", "http://127.0.0.1:1").await;
    chp.post("/other", &url).await;
    assert_eq!(chp.rest("DELETE", "/api/routes/ws", "").await.0, 204);
    socket.send(Message::text("still here")).await.expect("taken");
    assert_eq!(socket.next().await.expect("open").expect("a message"), Message::text("still here"));
}

#[tokio::test]
async fn only_answers_below_300_are_use() {
    let target = Target::new(|mut stream, _| async move {
        loop {
            let head = read_head(&mut stream).await;
            let Some(status) = head.split(['/', ' ']).nth(2) else { return };
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("taken");
        }
    })
    .await;
    let chp = Chp::start(&["--default-target", &format!("http://{}", target.address)]).await;
    let before = used(&chp, "/").await;
    for status in [302, 304, 404, 500] {
        assert_eq!(chp.get(&format!("/{status}")).await.status, status);
        assert_eq!(used(&chp, "/").await, before, "{status}");
    }
    used_after(&chp, "/", before, async || assert_eq!(chp.get("/201").await.status, 201)).await;
}

#[tokio::test]
async fn at_sigterm_requests_get_the_time_to_end_that_was_given() {
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let (go, gone) = tokio::sync::watch::channel(false);
    let target = Target::new(move |mut stream, _| {
        let (arrived, mut gone) = (arrived.clone(), gone.clone());
        async move {
            read_head(&mut stream).await;
            arrived.send(()).expect("the test runs");
            gone.wait_for(|go| *go).await.expect("the test runs");
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("taken");
        }
    })
    .await;
    let url = format!("http://{}", target.address);
    let mut chp = Chp::start(&["--default-target", &url, "--drain-timeout", "20000"]).await;
    let (public, request) = (chp.public, "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    let asking = tokio::spawn(async move { crate::chp_bed::ask(public, request).await });
    arrivals.recv().await.expect("asked");
    chp.signal(Signal::SIGTERM);
    go.send(true).expect("the target waits");
    assert_eq!(asking.await.expect("no panic").body, "ok");
    assert_eq!(chp.ended().await, Some(2));
}
