//! Clients that take more than their share: of connections, of time, of memory.

mod proxy_bed;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proxy_bed::{Bed, PATH, Target, read_all, read_exactly, read_head, until, within};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::{Proxy, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SOON: Duration = Duration::from_millis(50);
/// What the sockets' buffers on the way may hold, with room to spare.
const AHEAD: usize = 32 << 20;

fn get() -> String {
    format!("GET {PATH} HTTP/1.1\r\nhost: h\r\n\r\n")
}

async fn bed(settings: Settings, target: &Target) -> Bed {
    let bed = Bed::run(Proxy { settings, ..Proxy::new(Arc::default(), None) }).await;
    bed.route(Engine::Notebook, target.address, Prefix::Keep);
    bed
}

/// A connection on which something was answered, so that it is counted by now.
async fn seated(bed: &Bed) -> TcpStream {
    let mut client = bed.connect().await;
    client.write_all(get().as_bytes()).await.expect("taken");
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));
    read_exactly(&mut client, 2).await;
    client
}

#[tokio::test]
async fn one_client_has_so_many_connections_and_no_more() {
    let target = Target::saying(OK).await;
    let settings = Settings { connections_per_client: Some(2), ..Settings::default() };
    let bed = bed(settings.clone(), &target).await;
    let first = seated(&bed).await;
    let _second = seated(&bed).await;
    let answer = read_all(&mut bed.connect().await).await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after"), "{answer}");
    drop(first);
    // The place is free as soon as the proxy has seen the connection end.
    within(async {
        loop {
            let mut client = bed.connect().await;
            client.write_all(get().as_bytes()).await.expect("taken");
            if read_head(&mut client).await.starts_with("HTTP/1.1 200") {
                break;
            }
        }
    })
    .await;

    let trusted = vec!["127.0.0.0/8".parse().expect("a network")];
    let bed = self::bed(Settings { trusted, ..settings }, &target).await;
    let _all = futures_util::future::join_all((0..5).map(|_| seated(&bed))).await;
}

#[tokio::test]
async fn all_clients_together_have_so_many_connections() {
    let target = Target::saying(OK).await;
    let bed = bed(Settings { max_connections: Some(3), ..Settings::default() }, &target).await;
    let _all = futures_util::future::join_all((0..3).map(|_| seated(&bed))).await;
    let answer = read_all(&mut bed.connect().await).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let target = Target::new(move |mut stream, _| {
        let count = Arc::clone(&count);
        async move {
            read_head(&mut stream).await;
            read_all(&mut stream).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let bed = bed(Settings { body_timeout: SOON, ..Settings::default() }, &target).await;
    for (number, body) in
        ["content-length: 9\r\n\r\n", "content-length: 9\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n5\r\nhe"]
            .into_iter()
            .enumerate()
    {
        let answer = bed.ask(&format!("POST {PATH} HTTP/1.1\r\nhost: h\r\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{body}: {answer}");
        until(|| ended.load(Ordering::SeqCst) == number + 1).await;
    }
}

#[tokio::test]
async fn a_target_that_reads_late_is_not_the_clients_pause() {
    const SIZE: usize = 16 << 20;
    let target = Target::new(|mut stream, _| async move {
        read_head(&mut stream).await;
        // Longer than a client may pause.
        tokio::time::sleep(4 * SOON).await;
        let mut taken = 0;
        let mut buffer = vec![0; 256 << 10];
        while taken < SIZE {
            taken += stream.read(&mut buffer).await.expect("more");
        }
        stream.write_all(OK.as_bytes()).await.expect("taken");
    })
    .await;
    let bed = bed(Settings { body_timeout: SOON, ..Settings::default() }, &target).await;
    let mut client = bed.connect().await;
    let head = format!("PUT {PATH} HTTP/1.1\r\nhost: h\r\ncontent-length: {SIZE}\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("taken");
    within(client.write_all(&vec![7; SIZE])).await.expect("taken");
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_holds_it_up_and_is_disconnected() {
    let sent = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicUsize::new(0));
    let (count, over) = (Arc::clone(&sent), Arc::clone(&ended));
    let target = Target::new(move |mut stream, _| {
        let (count, over) = (Arc::clone(&count), Arc::clone(&over));
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("taken");
            let block = vec![7; 1 << 20];
            while stream.write_all(&block).await.is_ok() {
                let sent = count.fetch_add(block.len(), Ordering::SeqCst);
                assert!(sent < AHEAD, "the proxy collects");
            }
            over.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let bed = bed(Settings { write_timeout: SOON, ..Settings::default() }, &target).await;
    let mut client = bed.connect().await;
    client.write_all(get().as_bytes()).await.expect("taken");
    until(|| ended.load(Ordering::SeqCst) == 1).await;
    assert!(sent.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn a_target_that_does_not_read_holds_up_the_client() {
    let target = Target::new(|mut stream, _| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let bed = bed(Settings::default(), &target).await;
    for head in [
        format!("PUT {PATH} HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\n"),
        format!("PUT {PATH} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3b9aca00\r\n"),
    ] {
        let mut client = bed.connect().await;
        client.write_all(head.as_bytes()).await.expect("taken");
        let block = vec![7; 1 << 20];
        let mut sent = 0;
        // Nothing but being held up ends this in time.
        while let Ok(written) = tokio::time::timeout(4 * SOON, client.write(&block)).await {
            sent += written.expect("still open");
            assert!(sent < AHEAD, "the proxy collects");
        }
    }
}

#[tokio::test]
async fn memory_does_not_grow_with_a_body() {
    const SIZE: usize = 256 << 20;
    let target = Target::new(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        let block = vec![7; 256 << 10];
        if head.starts_with("GET") {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("taken");
            for _ in 0..SIZE / block.len() {
                stream.write_all(&block).await.expect("taken");
            }
        } else {
            let (mut taken, mut buffer) = (0, block);
            while taken < SIZE {
                taken += stream.read(&mut buffer).await.expect("more");
            }
            stream.write_all(OK.as_bytes()).await.expect("taken");
        }
    })
    .await;
    let bed = bed(Settings::default(), &target).await;
    let before = proxy_bed::resident_kib();
    let mut most = 0;
    let mut buffer = vec![7; 256 << 10];

    let mut client = bed.connect().await;
    let head = format!("PUT {PATH} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("taken");
    for _ in 0..SIZE / buffer.len() {
        within(client.write_all(&buffer)).await.expect("taken");
        most = most.max(proxy_bed::resident_kib());
    }
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));

    let mut client = bed.connect().await;
    client.write_all(get().as_bytes()).await.expect("taken");
    read_head(&mut client).await;
    let mut taken = 0;
    while taken < SIZE {
        taken += within(client.read(&mut buffer)).await.expect("more");
        most = most.max(proxy_bed::resident_kib());
    }
    // The other tests of this file run beside it and hold a few blocks.
    assert!(most < before + (64 << 10), "{before} KiB before, {most} KiB at most");
}

#[tokio::test]
async fn a_request_is_asked_once_more_and_no_oftener() {
    // Answers the first request of the first connection only.
    let target = Target::new(|mut stream, number| async move {
        read_head(&mut stream).await;
        if number == 0 {
            stream.write_all(OK.as_bytes()).await.expect("taken");
            read_head(&mut stream).await;
        }
    })
    .await;
    let bed = bed(Settings::default(), &target).await;
    drop(seated(&bed).await);
    let answer = bed.ask(&format!("GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(target.connections(), 2);
    for (method, body) in [("PUT", "x"), ("PATCH", ""), ("POST", "")] {
        let target = Target::new(|mut stream, _| async move {
            let head = read_head(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.expect("taken");
            assert!(head.starts_with("GET"));
            read_head(&mut stream).await;
        })
        .await;
        let bed = self::bed(Settings::default(), &target).await;
        drop(seated(&bed).await);
        let length = body.len();
        let head = format!("{method} {PATH} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}");
        let answer = bed.ask(&format!("{head}\r\n\r\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{method}: {answer}");
        assert_eq!(target.connections(), 1, "{method} may have been acted upon");
    }
}
