//! Peers that are gone without a word, or only half there: found, and their connections closed on both sides.

mod proxy_bed;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_bed::{Bed, PATH, Target, read_all, read_head, until, within};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const SOON: Duration = Duration::from_millis(40);
const LATE: Duration = Duration::from_secs(600);

/// What a target has read after it agreed to an upgrade, and whether its connection has ended.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    ended: bool,
}

/// A target that agrees to any upgrade, says something, and listens from then on.
async fn listener(first: &'static [u8]) -> (Target, Arc<Mutex<Heard>>) {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let ear = Arc::clone(&heard);
    let target = Target::new(move |mut stream, _| {
        let ear = Arc::clone(&ear);
        async move {
            agree(&mut stream).await;
            stream.write_all(first).await.expect("taken");
            let mut buffer = vec![0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                ear.lock().expect("no panic").bytes.extend_from_slice(&buffer[..read]);
            }
            ear.lock().expect("no panic").ended = true;
        }
    })
    .await;
    (target, heard)
}

async fn agree(stream: &mut TcpStream) {
    read_head(stream).await;
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n").await.expect("taken");
}

async fn bed(target: &Target, ping: Duration, pong: Duration) -> Bed {
    let settings =
        Settings { tunnel_ping: Some(ping), tunnel_pong: pong, head_timeout: LATE, ..Settings::default() };
    let bed = Bed::with(settings, None).await;
    bed.route(Engine::Notebook, target.address, Prefix::Keep);
    bed.set_now(2_000);
    bed
}

async fn upgraded(bed: &Bed, protocol: &str) -> TcpStream {
    let mut client = bed.connect().await;
    let head = format!("GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("taken");
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101"));
    client
}

async fn read(client: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    within(client.read_exact(&mut bytes)).await.expect("as many bytes");
    bytes
}

/// The text of the ping that comes next.
async fn ping(client: &mut TcpStream) -> Vec<u8> {
    let frame = read(client, 10).await;
    assert_eq!(frame[..2], [0x89, 8]);
    frame[2..].to_vec()
}

fn masked(first: u8, text: &[u8]) -> Vec<u8> {
    let mask = [9, 8, 7, 6];
    let mut frame = vec![first, 128 | u8::try_from(text.len()).expect("short")];
    frame.extend_from_slice(&mask);
    frame.extend(text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[tokio::test]
async fn a_websocket_whose_client_is_gone_is_found_by_a_ping_and_closed_on_both_sides() {
    let (target, heard) = listener(b"").await;
    let bed = bed(&target, SOON, SOON).await;
    let mut client = upgraded(&bed, "WebSocket").await;
    ping(&mut client).await;
    assert_eq!(read_all(&mut client).await, "", "closed");
    until(|| heard.lock().expect("no panic").ended).await;
    assert_eq!(heard.lock().expect("no panic").bytes, b"");
}

#[tokio::test]
async fn answers_to_pings_stay_with_the_proxy_and_are_no_use() {
    let (target, heard) = listener(b"\x81\x02hi").await;
    let bed = bed(&target, SOON, LATE).await;
    let mut client = upgraded(&bed, "websocket").await;
    assert_eq!(read(&mut client, 4).await, b"\x81\x02hi");
    let other = masked(0x8a, b"other");
    for _ in 0..3 {
        let text = ping(&mut client).await;
        let pong = masked(0x8a, &text);
        // Cut in two, and with another pong behind it.
        client.write_all(&pong[..9]).await.expect("taken");
        client.write_all(&[&pong[9..], &other].concat()).await.expect("taken");
    }
    until(|| heard.lock().expect("no panic").bytes == other.repeat(3)).await;
    assert_eq!(bed.last_ms(), 1, "pongs are nobody's use");
    let data = masked(0x82, b"data");
    client.write_all(&data).await.expect("taken");
    until(|| heard.lock().expect("no panic").bytes.ends_with(&data)).await;
    assert_eq!(heard.lock().expect("no panic").bytes.len(), 3 * other.len() + data.len());
    assert_eq!(bed.last_ms(), 2_000);
}

#[tokio::test]
async fn a_ping_waits_for_the_end_of_a_frame() {
    let go = Arc::new(Notify::new());
    let begin = Arc::clone(&go);
    let target = Target::new(move |mut stream, _| {
        let begin = Arc::clone(&begin);
        async move {
            agree(&mut stream).await;
            stream.write_all(b"\x82\x7e\x00\x80half").await.expect("taken");
            begin.notified().await;
            // By now the client has been silent for longer than it may.
            tokio::time::sleep(3 * SOON).await;
            stream.write_all(&[[7; 124].as_slice(), b"\x81\x01x"].concat()).await.expect("taken");
            read_all(&mut stream).await;
        }
    })
    .await;
    let bed = bed(&target, SOON, LATE).await;
    let mut client = upgraded(&bed, "websocket").await;
    assert_eq!(read(&mut client, 8).await, b"\x82\x7e\x00\x80half");
    go.notify_one();
    assert_eq!(read(&mut client, 124).await, [7; 124]);
    ping(&mut client).await;
    assert_eq!(read(&mut client, 3).await, b"\x81\x01x");
}

#[tokio::test]
async fn where_the_target_asks_the_proxy_does_not() {
    let (target, heard) = listener(b"\x89\x01?").await;
    let bed = bed(&target, SOON, SOON).await;
    let mut client = upgraded(&bed, "websocket").await;
    assert_eq!(read(&mut client, 3).await, b"\x89\x01?");
    assert_eq!(read_all(&mut client).await, "", "not answered, so closed");
    until(|| heard.lock().expect("no panic").ended).await;
}

#[tokio::test]
async fn other_protocols_are_not_touched_until_one_side_has_ended() {
    let (target, heard) = listener(b"").await;
    let bed = bed(&target, SOON, SOON).await;
    let mut client = upgraded(&bed, "chat").await;
    // Far longer than a WebSocket could be silent.
    for step in 1..=3 {
        tokio::time::sleep(2 * SOON).await;
        client.write_all(b"x").await.expect("taken");
        until(|| heard.lock().expect("no panic").bytes.len() == step).await;
    }
    // The target takes the end for a pause and keeps its side open, as those do that have no time limits.
    let silent = Target::new(|mut stream, _| async move {
        agree(&mut stream).await;
        let mut buffer = [0];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        std::future::pending::<()>().await;
    })
    .await;
    bed.route(Engine::Notebook, silent.address, Prefix::Keep);
    let mut client = upgraded(&bed, "chat").await;
    client.shutdown().await.expect("half closed");
    assert_eq!(read_all(&mut client).await, "", "closed");
}
