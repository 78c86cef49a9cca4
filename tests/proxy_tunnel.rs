//! Connections that live long: WebSockets, and what is open when a route changes or the proxy stops.

mod proxy_bed;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use proxy_bed::{Bed, PATH, Target, read_all, read_exactly, read_head, until, within};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::{Proxy, Settings};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")
}

fn get_once(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
}

async fn websocket_echo() -> Target {
    Target::new(|stream, _| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a handshake");
        socket.send(Message::text("welcome")).await.expect("taken");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.expect("taken");
            }
        }
    })
    .await
}

#[tokio::test]
async fn websockets_pass_and_only_the_clients_bytes_are_use() {
    let target = websocket_echo().await;
    let bed = Bed::start(target.address).await;
    bed.set_now(2_000);
    let url = format!("ws://{}{PATH}/api/kernels/1/channels", bed.address);
    let (mut socket, answer) = within(tokio_tungstenite::connect_async(url)).await.expect("a handshake");
    assert_eq!(answer.status(), 101);
    assert_eq!(within(socket.next()).await.expect("open").expect("a message"), Message::text("welcome"));
    assert_eq!(bed.last_ms(), 1, "what the server says is no use");
    bed.set_now(3_000);
    let large = Message::binary(vec![5; 3 << 20]);
    within(socket.send(large.clone())).await.expect("taken");
    assert!(within(socket.next()).await.expect("open").expect("a message") == large);
    assert_eq!(bed.last_ms(), 3_000);
    within(socket.close(None)).await.expect("closed");
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let target = Target::echo().await;
    let bed = Bed::start(target.address).await;
    let text = bed
        .ask(&format!("GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\norigin: http://h\r\n\r\n{}", get_once(PATH)))
        .await;
    assert!(
        text.contains("connection: Upgrade\r\nupgrade: websocket\r\n") && text.contains("origin: http://h"),
        "{text}"
    );
    assert!(text.contains("x-forwarded-proto: ws\r\n"), "{text}");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "the connection goes on: {text}");
    for protocol in ["h2c", "websocket, H2C"] {
        let text = bed
            .ask(&format!(
                "GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: upgrade, close\r\nupgrade: {protocol}\r\n\
                 http2-settings: x\r\n\r\n"
            ))
            .await;
        assert!(
            text.contains("HTTP/1.1 200 OK") && !text.contains("upgrade: ") && !text.contains("http2"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn each_side_of_a_tunnel_ends_for_itself() {
    let target = Target::new(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\nfirst")
            .await
            .expect("taken");
        let all = read_all(&mut stream).await;
        stream.write_all(format!(" got {all}").as_bytes()).await.expect("taken");
    })
    .await;
    let bed = Bed::start(target.address).await;
    let mut client = bed.connect().await;
    let head = format!("GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\nearly ");
    client.write_all(head.as_bytes()).await.expect("taken");
    let answer = read_head(&mut client).await;

    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("upgrade: chat\r\n"), "{answer}");
    assert_eq!(read_exactly(&mut client, 5).await, "first");
    client.write_all(b"late").await.expect("taken");
    client.shutdown().await.expect("half closed");
    assert_eq!(read_all(&mut client).await, " got early late");
}

#[tokio::test]
async fn a_changed_route_leaves_open_connections_alone() {
    let (old, new) = (websocket_echo().await, Target::echo().await);
    let bed = Bed::start(old.address).await;
    let url = format!("ws://{}{PATH}", bed.address);
    let (mut socket, _) = within(tokio_tungstenite::connect_async(url)).await.expect("a handshake");
    within(socket.next()).await.expect("open").expect("the welcome");
    bed.route(Engine::Notebook, new.address, Prefix::Keep);
    assert!(bed.ask(&get_once(PATH)).await.starts_with("HTTP/1.1 200"));
    assert_eq!(new.connections(), 1);
    within(socket.send(Message::text("still there"))).await.expect("taken");
    assert_eq!(within(socket.next()).await.expect("open").expect("a message"), Message::text("still there"));
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_takes_no_more() {
    let go = Arc::new(tokio::sync::Notify::new());
    let begin = Arc::clone(&go);
    let target = Target::new(move |mut stream, _| {
        let begin = Arc::clone(&begin);
        async move {
            read_head(&mut stream).await;
            begin.notified().await;
            stream.write_all(OK.as_bytes()).await.expect("taken");
        }
    })
    .await;
    let mut bed = Bed::start(target.address).await;
    let mut idle = bed.connect().await;
    let mut busy = bed.connect().await;
    busy.write_all(get(PATH).as_bytes()).await.expect("taken");
    until(|| target.connections() == 1).await;
    bed.ask_to_stop();
    assert_eq!(read_all(&mut idle).await, "", "an idle connection is closed");
    assert!(tokio::net::TcpStream::connect(bed.address).await.is_err(), "nobody listens");
    go.notify_one();
    assert!(read_all(&mut busy).await.ends_with("ok"), "and closed after its answer");
    bed.stopped().await;
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_its_deadline() {
    let target = websocket_echo().await;
    let soon = Duration::from_millis(50);
    let settings = Settings { drain: soon, drain_tunnels: soon, ..Settings::default() };
    let mut bed = Bed::with(settings, None).await;
    bed.route(Engine::Notebook, target.address, Prefix::Keep);
    let (mut socket, _) = within(tokio_tungstenite::connect_async(format!("ws://{}{PATH}", bed.address)))
        .await
        .expect("a handshake");
    within(socket.next()).await.expect("open").expect("the welcome");
    bed.ask_to_stop();
    bed.stopped().await;
    assert!(within(socket.next()).await.is_none_or(|message| message.is_err()));
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_head_is_disconnected() {
    let settings = Settings { head_timeout: Duration::from_millis(50), ..Settings::default() };
    let target = Target::new(|mut stream, _| async move {
        read_head(&mut stream).await;
        // Longer than the client may take; the answer is not the client's delay.
        tokio::time::sleep(Duration::from_millis(200)).await;
        stream.write_all(OK.as_bytes()).await.expect("taken");
    })
    .await;
    let bed = Bed::run(Proxy { settings, ..Proxy::new(Arc::default(), None) }).await;
    bed.route(Engine::Notebook, target.address, Prefix::Keep);
    assert_eq!(bed.ask("GET / HTTP/1.1\r\nhost: h\r\n").await, "");
    assert!(bed.ask(&get(PATH)).await.ends_with("ok"), "then idle, and closed");
}
