//! Connections that are opened and left half way, in all the ways that networks and laptops have for it: none
//! leaves a socket or memory behind.

mod proxy_bed;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use proxy_bed::{Bed, PATH, Target, read_head, resident_kib, within};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::{Proxy, Settings};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Together 2,000, and no more descriptors at once than any system allows.
const ROUNDS: usize = 10;
const AT_ONCE: usize = 200;
/// What may be left of memory after all rounds but the first, in KiB.
const LEFT: usize = 8 * 1024;

const SOON: Duration = Duration::from_millis(60);

/// How far a client gets before it is not heard of any more.
const BEGINNINGS: &[&str] = &[
    "",
    "GET ",
    "GET /cluster-678343 HTTP/1.1\r\nhost: h\r\nx-a",
    "GET /cluster-678343 HTTP/1.1\r\nhost: h\r\n\r\n",
    "POST /cluster-678343 HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf",
    "POST /cluster-678343 HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal",
    "GET /cluster-678343 HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
    "GET /cluster-678343 HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "GET /cluster-678343 HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\u{1}\u{7f}",
];

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("the descriptors").count()
}

/// Breaks off in one of three ways: with a reset, in order, or not at all until the proxy has had enough.
async fn abandon(bed: &Bed, number: usize) {
    let mut client = bed.connect().await;
    let beginning = BEGINNINGS[number % BEGINNINGS.len()];
    client.write_all(beginning.as_bytes()).await.expect("taken");
    match number / BEGINNINGS.len() % 3 {
        0 => SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("known to the kernel"),
        1 => client.shutdown().await.expect("half closed"),
        _ => {
            let mut all = vec![];
            let _ = within(client.read_to_end(&mut all)).await;
        }
    }
}

/// Agrees to what is asked, answers what is complete, and closes when the proxy does.
async fn serve(mut stream: TcpStream) {
    let head = read_head(&mut stream).await;
    let answer: &[u8] = if head.contains("upgrade: websocket") {
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    } else if head.starts_with("POST") {
        b""
    } else {
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    };
    let _ = stream.write_all(answer).await;
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test]
async fn nothing_is_left_of_2000_abandoned_connections() {
    let target = Target::new(|stream, _| serve(stream)).await;
    let settings = Settings {
        head_timeout: SOON,
        body_timeout: SOON,
        tunnel_ping: Some(SOON),
        tunnel_pong: SOON,
        idle_per_target: 0,
        ..Settings::default()
    };
    let bed = Bed::run(Proxy { settings, ..Proxy::new(Arc::default(), None) }).await;
    bed.route(Engine::Notebook, target.address, Prefix::Keep);
    let before = descriptors();
    let mut settled = 0;
    for round in 0..ROUNDS {
        let all = (0..AT_ONCE).map(|number| abandon(&bed, number + round));
        within(futures_util::future::join_all(all)).await;
        within(async {
            while descriptors() > before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        if round == 0 {
            settled = resident_kib();
        }
    }
    let after = resident_kib();
    assert!(after < settled + LEFT, "{settled} KiB after the first round, {after} KiB at the end");
    let answer = bed.ask(&format!("GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")).await;
    assert!(answer.ends_with("ok"), "{answer}");
}
