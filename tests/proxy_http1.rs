//! The client's side of HTTP/1: how requests follow each other on a connection, and how one ends.

mod proxy_bed;

use std::time::Duration;

use proxy_bed::{Bed, PATH, Target, read_all, read_exactly, read_head, within};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::{Proxy, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// No test here may be decided by a time that is over.
async fn patient(target: &Target) -> Bed {
    let settings = Settings { head_timeout: Duration::from_secs(600), ..Settings::default() };
    let bed = Bed::run(Proxy { settings, ..Proxy::new(std::sync::Arc::default(), None) }).await;
    bed.route(Engine::Notebook, target.address, Prefix::Keep);
    bed
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_their_order() {
    let target = Target::echo().await;
    let bed = patient(&target).await;
    let requests: String = (0..20)
        .map(|n| match n % 2 {
            0 => format!("GET {PATH}/{n} HTTP/1.1\r\nhost: h\r\n\r\n"),
            _ => format!("GET /nowhere/{n} HTTP/1.1\r\nhost: h\r\naccept: application/json\r\n\r\n"),
        })
        .collect();
    let last = format!("GET {PATH}/last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    let text = bed.ask(&format!("{requests}{last}")).await;
    let statuses: Vec<_> = text.split("HTTP/1.1 ").filter_map(|part| part.get(..3)?.parse::<u16>().ok()).collect();
    assert_eq!(statuses, [[200, 404].repeat(10), vec![200]].concat(), "{text}");
    let asked: Vec<_> =
        text.split(&format!("GET {PATH}/")).skip(1).filter_map(|rest| rest.split(' ').next()).collect();
    let expected: Vec<_> = (0..20).step_by(2).map(|n| n.to_string()).chain(["last".to_owned()]).collect();
    assert_eq!(asked, expected);
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn an_old_client_keeps_its_connection_only_if_it_asks_to() {
    let target = Target::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let bed = patient(&target).await;
    let mut client = bed.connect().await;
    for _ in 0..2 {
        let kept = format!("GET {PATH} HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
        client.write_all(kept.as_bytes()).await.expect("taken");
        let head = read_head(&mut client).await;
        assert!(head.contains("\r\nconnection: keep-alive\r\n"), "{head}");
        // The target says no date.
        assert_eq!(head.matches("\r\ndate: ").count(), 1, "{head}");
        assert_eq!(read_exactly(&mut client, 2).await, "ok");
    }
    client.write_all(format!("GET {PATH} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("taken");
    let rest = read_all(&mut client).await;
    assert!(rest.contains("\r\nconnection: close\r\n") && rest.ends_with("ok"), "{rest}");
}

#[tokio::test]
async fn what_does_not_begin_like_http_is_told_so_at_once() {
    let target = Target::echo().await;
    let bed = patient(&target).await;
    for hello in [&b"\x16\x03\x01\x02"[..], b"\0", b"\r\r", b"{"] {
        let mut client = bed.connect().await;
        client.write_all(hello).await.expect("taken");
        let answer = read_all(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{hello:?}: {answer}");
        assert!(
            answer.contains("\r\nconnection: close\r\n") && answer.contains("no HTTP/1.1 request"),
            "{answer}"
        );
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn who_still_sends_a_body_that_nobody_wants_gets_the_answer_all_the_same() {
    let target = Target::echo().await;
    let bed = patient(&target).await;
    // More than the buffers of both kernels hold.
    let body = vec![b'x'; 16 << 20];
    for (path, extra, status) in [("/nowhere", "", "404"), (PATH, "content-length: 1\r\n", "400")] {
        let mut client = bed.connect().await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\n{extra}content-length: {}\r\n\r\n", body.len());
        client.write_all(head.as_bytes()).await.expect("taken");
        within(client.write_all(&body)).await.expect("read on by the proxy");
        let answer = read_all(&mut client).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_small_body_that_nobody_wants_costs_no_connection() {
    let target = Target::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let bed = patient(&target).await;
    let mut client = bed.connect().await;
    let unwanted = "POST /nowhere HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    client.write_all(format!("{unwanted}GET {PATH} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.expect("taken");
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 404") && !head.contains("connection: close"), "{head}");
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
    read_exactly(&mut client, length.expect("a length")).await;
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn nobody_is_told_to_go_on_who_has_begun_or_is_turned_away() {
    let target = Target::new(|mut stream, _| async move {
        read_head(&mut stream).await;
        read_exactly(&mut stream, 5).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("taken");
    })
    .await;
    let bed = patient(&target).await;
    for (path, status) in [(PATH, "200"), ("/nowhere", "404")] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
        let begun = if path == PATH { "hello" } else { "" };
        let mut client = bed.connect().await;
        client.write_all(format!("{head}{begun}").as_bytes()).await.expect("taken");
        let answer = read_head(&mut client).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn a_target_is_left_as_soon_as_its_client_has_gone() {
    let (left, mut ends) = mpsc::unbounded_channel();
    let target = Target::new(move |mut stream, _| {
        let left = left.clone();
        async move {
            let head = read_head(&mut stream).await;
            if head.contains("/begun") {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
                    .await
                    .expect("taken");
            }
            left.send(None).expect("a test");
            let read = stream.read(&mut [0; 16]).await;
            left.send(Some(read.is_err() || read.is_ok_and(|read| read == 0))).expect("a test");
        }
    })
    .await;
    let bed = patient(&target).await;
    for path in ["silent", "begun"] {
        let mut client = bed.connect().await;
        let head = format!("GET {PATH}/{path} HTTP/1.1\r\nhost: h\r\n\r\n");
        client.write_all(head.as_bytes()).await.expect("taken");
        assert_eq!(within(ends.recv()).await, Some(None), "asked");
        drop(client);
        assert_eq!(within(ends.recv()).await, Some(Some(true)), "{path}");
    }
}
