//! Bodies on their way through the proxy: long ones, chunked ones, and those that end early.

mod proxy_bed;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proxy_bed::{Bed, PATH, Target, read_all, read_exactly, read_head, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")
}

#[tokio::test]
async fn a_long_download_streams_without_being_collected() {
    const SIZE: usize = 200 << 20;
    // What the sockets' buffers on the way may hold, with room to spare.
    const AHEAD: usize = 32 << 20;
    let taken = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&taken);
    let target = Target::new(move |mut stream, _| {
        let seen = Arc::clone(&seen);
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("taken");
            let block = vec![7; 1 << 20];
            for sent in 1..=SIZE >> 20 {
                stream.write_all(&block).await.expect("taken");
                assert!((sent << 20) < seen.load(Ordering::SeqCst) + AHEAD, "the proxy collects");
            }
        }
    })
    .await;
    let bed = Bed::start(target.address).await;
    let mut client = bed.connect().await;
    client.write_all(get(PATH).as_bytes()).await.expect("taken");
    read_head(&mut client).await;
    let mut buffer = vec![0; 256 << 10];
    while taken.load(Ordering::SeqCst) < SIZE {
        let read = within(client.read(&mut buffer)).await.expect("more");
        assert!(read > 0 && buffer[..read].iter().all(|&b| b == 7));
        taken.fetch_add(read, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_long_upload_streams_without_being_collected() {
    const SIZE: usize = 50 << 20;
    let target = Target::new(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains(&format!("content-length: {SIZE}\r\n")), "{head}");
        let mut buffer = vec![0; 256 << 10];
        let mut taken = 0;
        while taken < SIZE {
            taken += stream.read(&mut buffer).await.expect("more");
        }
        stream.write_all(OK.as_bytes()).await.expect("taken");
    })
    .await;
    let bed = Bed::start(target.address).await;
    let mut client = bed.connect().await;
    let head = format!("PUT {PATH}/x HTTP/1.1\r\nhost: h\r\ncontent-length: {SIZE}\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("taken");
    let block = vec![7; 1 << 20];
    for _ in 0..SIZE >> 20 {
        within(client.write_all(&block)).await.expect("taken");
    }
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn chunks_pass_both_ways_and_trailers_back() {
    let target = Target::new(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"), "{head}");
        let mut body = String::new();
        while !body.ends_with("0\r\n\r\n") {
            body.push_str(&read_exactly(&mut stream, 1).await);
        }
        let body: String = body.split("\r\n").skip(1).step_by(2).collect();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n{:x};e=1\r\n{body}\r\n0\r\nx-sum: 9\r\n\r\n",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.expect("taken");
    })
    .await;
    let bed = Bed::start(target.address).await;
    let text = bed
        .ask(&format!(
            "POST {PATH} HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: close, te\r\ntransfer-encoding: chunked\r\n\r\n\
             5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        ))
        .await;
    assert!(text.contains("transfer-encoding: chunked\r\n"), "{text}");
    assert!(text.contains("\r\n\r\nb\r\nhello world\r\n0\r\nx-sum: 9\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let target = Target::new(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(!head.contains("expect"), "{head}");
        assert_eq!(read_exactly(&mut stream, 5).await, "hello");
        stream.write_all(OK.as_bytes()).await.expect("taken");
    })
    .await;
    let bed = Bed::start(target.address).await;
    let mut client = bed.connect().await;
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("taken");
    assert_eq!(read_head(&mut client).await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.expect("taken");
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_gets_through() {
    let target = Target::new(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig")
            .await
            .expect("taken");
    })
    .await;
    let bed = Bed::start(target.address).await;
    let mut client = bed.connect().await;
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\nfirst");
    client.write_all(head.as_bytes()).await.expect("taken");
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 413"));
    assert_eq!(read_exactly(&mut client, 3).await, "big");
}

#[tokio::test]
async fn the_target_may_answer_while_it_is_sent_to() {
    let target = Target::new(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.expect("taken");
        for _ in 0..3 {
            let line = read_exactly(&mut stream, 6).await;
            assert!(line.starts_with("1\r\n"), "{line}");
            stream.write_all(format!("1\r\n{}\r\n", &line[3..4]).as_bytes()).await.expect("taken");
        }
        stream.write_all(b"0\r\n\r\n").await.expect("taken");
    })
    .await;
    let bed = Bed::start(target.address).await;
    let mut client = bed.connect().await;
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("taken");
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));
    for letter in ["a", "b", "c"] {
        client.write_all(format!("1\r\n{letter}\r\n").as_bytes()).await.expect("taken");
        assert_eq!(read_exactly(&mut client, 6).await, format!("1\r\n{letter}\r\n"));
    }
}

#[tokio::test]
async fn a_target_that_dies_within_its_answer_is_not_taken_for_complete() {
    let target = Target::new(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        let answer: &[u8] = if head.contains("/chunked") {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello"
        };
        stream.write_all(answer).await.expect("taken");
    })
    .await;
    let bed = Bed::start(target.address).await;
    bed.set_now(5_000);
    let text = bed.ask(&get(PATH)).await;
    assert!(text.ends_with("hello") && text.contains("content-length: 100"), "{text}");
    let text = bed.ask(&get(&format!("{PATH}/chunked"))).await;
    assert!(text.ends_with("5\r\nhello\r\n"), "{text}");
    assert_eq!(bed.last_ms(), 1, "an answer that was not completed is no use");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_request_at_the_target() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let target = Target::new(move |mut stream, _| {
        let count = Arc::clone(&count);
        async move {
            read_head(&mut stream).await;
            assert_eq!(read_all(&mut stream).await, "");
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let bed = Bed::start(target.address).await;
    let mut client = bed.connect().await;
    client.write_all(get(PATH).as_bytes()).await.expect("taken");
    until(|| target.connections() == 1).await;
    drop(client);
    until(|| ended.load(Ordering::SeqCst) == 1).await;
}
