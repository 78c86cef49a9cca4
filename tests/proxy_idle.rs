//! What a connection costs on which nothing happens: thousands of notebooks are open and hardly any is used.

mod proxy_bed;

use proxy_bed::{Bed, PATH, Target, read_head, resident_kib, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TUNNELS: usize = 300;
/// KiB of one tunnel, with its client and its target, which are in this process as well.
const MOST: usize = 8;

#[tokio::test]
async fn an_idle_tunnel_holds_no_buffers() {
    let target = Target::new(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n").await.expect("taken");
        let mut frame = [0; 10];
        while stream.read_exact(&mut frame).await.is_ok() {
            stream.write_all(&frame).await.expect("taken");
        }
    })
    .await;
    let bed = Bed::start(target.address).await;
    // What is there anyway, and what the first ones leave behind.
    for _ in 0..8 {
        drop(used(&bed).await);
    }
    let before = resident_kib();
    let mut tunnels = vec![];
    for _ in 0..TUNNELS {
        tunnels.push(used(&bed).await);
    }
    let each = resident_kib().saturating_sub(before) / tunnels.len();
    assert!(each < MOST, "{each} KiB each");
}

/// A tunnel through which something has gone both ways.
async fn used(bed: &Bed) -> TcpStream {
    let mut client = bed.connect().await;
    let head = format!("GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("taken");
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101"));
    let frame = [0x82, 0x84, 1, 2, 3, 4, 5, 6, 7, 8];
    client.write_all(&frame).await.expect("taken");
    let mut echo = [0; 10];
    within(client.read_exact(&mut echo)).await.expect("as much");
    assert_eq!(echo, frame);
    client
}
