//! The proxy between real sockets: what a client and a target see of each other through it.

mod proxy_bed;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use proxy_bed::{Bed, PATH, Target, read_all, read_exactly, read_head, until, within};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::{Proxy, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")
}

fn get_once(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
}

/// An address where nobody listens.
async fn nowhere() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let target = Target::saying(OK).await;
    let bed = Bed::start(target.address).await;
    let mut client = bed.connect().await;
    for _ in 0..5 {
        client.write_all(get(PATH).as_bytes()).await.expect("taken");
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));
        assert_eq!(read_exactly(&mut client, 2).await, "ok");
    }
    assert!(bed.ask(&get_once(PATH)).await.ends_with("ok"));
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let target = Target::echo().await;
    let bed = Bed::start(target.address).await;
    let text = bed
        .ask(&format!("{}{}{}", get("/cluster-678343/1"), get("/cluster-678343/2"), get_once("/cluster-678343/3")))
        .await;
    let order: Vec<_> = ["/1 ", "/2 ", "/3 "].iter().map(|part| text.find(part).expect("answered")).collect();
    assert!(order.is_sorted(), "{text}");
}

#[tokio::test]
async fn a_kept_prefix_and_the_query_arrive_as_sent_and_a_stripped_one_is_gone() {
    let target = Target::echo().await;
    let bed = Bed::start(target.address).await;
    bed.route(Engine::DaskScheduler, target.address, Prefix::Strip);
    for (asked, arrives) in [
        ("/cluster-678343", "/cluster-678343"),
        ("/cluster-678343/lab/tree/a%20b%2Fc?x=%2e&y", "/cluster-678343/lab/tree/a%20b%2Fc?x=%2e&y"),
        ("/cluster-678343?x", "/cluster-678343?x"),
        ("/cluster%2D678343/x", "/cluster%2D678343/x"),
        ("/cluster-678343_9000", "/"),
        ("/cluster-678343_9000?x", "/?x"),
        ("/cluster-678343_9000/a//b?x", "/a//b?x"),
        ("/cluster%2D678343_9000/a", "/a"),
    ] {
        let text = bed.ask(&get_once(asked)).await;
        assert!(text.contains(&format!("\r\n\r\nGET {arrives} HTTP/1.1\r\nhost: h\r\n")), "{asked}: {text}");
    }
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
    assert!(text.contains("\r\n\r\nB\r\nhello world\r\n0\r\nx-sum: 9\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let target = Target::new(|mut stream, _| async move {
        loop {
            let head = read_head(&mut stream).await;
            let answer = match head.split(' ').nth(1) {
                Some("/cluster-678343/204") => "HTTP/1.1 204 No Content\r\n\r\n",
                Some("/cluster-678343/304") => {
                    "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\ncontent-length: 7\r\n\r\n"
                }
                Some(_) => "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n",
                None => return,
            };
            stream.write_all(answer.as_bytes()).await.expect("taken");
        }
    })
    .await;
    let bed = Bed::start(target.address).await;
    let text = bed.ask("HEAD /cluster-678343 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(text.contains("content-length: 7\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    for status in ["204", "304"] {
        let text = bed.ask(&get_once(&format!("{PATH}/{status}"))).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")) && text.ends_with("\r\n\r\n"), "{text}");
        assert!(!text.contains("transfer-encoding"), "{text}");
    }
    assert_eq!(target.connections(), 1, "all on one connection");
}

#[tokio::test]
async fn old_clients_and_old_targets_are_served() {
    let target = Target::new(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains(" HTTP/1.1\r\nhost: "), "{head}");
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").await.expect("taken");
    })
    .await;
    let bed = Bed::start(target.address).await;
    let old = bed.ask(&format!("GET {PATH} HTTP/1.0\r\n\r\n")).await;
    assert!(old.starts_with("HTTP/1.0 200") && old.ends_with("\r\n\r\nuntil the end"), "{old}");
    let new = bed.ask(&get_once(PATH)).await;
    assert!(new.contains("transfer-encoding: chunked") && new.contains("until the end"), "{new}");
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
async fn a_connection_that_the_target_closed_meanwhile_is_replaced_if_that_is_safe() {
    // Answers once on each connection, and closes when it is asked again.
    let target = Target::new(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.expect("taken");
        read_head(&mut stream).await;
    })
    .await;
    let bed = Bed::start(target.address).await;
    assert!(bed.ask(&get_once(PATH)).await.ends_with("ok"));
    assert!(bed.ask(&get_once(PATH)).await.ends_with("ok"), "asked again on a new connection");
    assert_eq!(target.connections(), 2);
    let post = format!("POST {PATH} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx");
    assert!(bed.ask(&post).await.starts_with("HTTP/1.1 503"), "it may have been acted upon");
    assert_eq!(target.connections(), 2);
}

#[tokio::test]
async fn a_connection_with_something_unasked_on_it_is_not_used_again() {
    let target = Target::new(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream
            .write_all(format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison").as_bytes())
            .await
            .expect("taken");
        read_all(&mut stream).await;
    })
    .await;
    let bed = Bed::start(target.address).await;
    for _ in 0..3 {
        assert!(bed.ask(&get_once(PATH)).await.ends_with("\r\n\r\nok"));
    }
    assert_eq!(target.connections(), 3);
}

#[tokio::test]
async fn garbage_is_a_502_and_an_interim_answer_is_skipped() {
    let garbage = Target::saying("220 mail.example ESMTP\r\n\r\n").await;
    let bed = Bed::start(garbage.address).await;
    assert!(bed.ask(&get_once(PATH)).await.starts_with("HTTP/1.1 502"));
    let interim = Target::saying(
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let bed = Bed::start(interim.address).await;
    let text = bed.ask(&get_once(PATH)).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("ok"), "{text}");
}

#[tokio::test]
async fn pages_say_what_is_wrong_and_never_where() {
    let bed = Bed::start(nowhere().await).await;
    let text = bed.ask(&get_once(PATH)).await;
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("http-equiv=\"refresh\""), "{text}");
    assert!(text.contains("cache-control: no-store") && text.contains("starting or has stopped"), "{text}");
    assert!(!text.contains("127.0.0.1"), "{text}");
    let text = bed.ask(&get_once("/cluster-100000/x")).await;
    assert!(text.starts_with("HTTP/1.1 404") && text.contains("text/html") && !text.contains("refresh"), "{text}");
    let json = "GET /nothing HTTP/1.1\r\nhost: h\r\naccept: application/json\r\nconnection: close\r\n\r\n";
    let text = bed.ask(json).await;
    assert!(text.contains("application/json") && text.contains("\"status\":404"), "{text}");
    assert_eq!(bed.last_ms(), 1, "none of that is use");
}

#[tokio::test]
async fn what_no_route_matches_goes_to_slipway_with_its_cookie() {
    let (pod, own) = (Target::echo().await, Target::echo().await);
    let bed = Bed::with(Settings::default(), Some(own.address)).await;
    bed.route(Engine::Notebook, pod.address, Prefix::Keep);
    let ask = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: h\r\ncookie: a=1; slipway=s\r\nconnection: close\r\n\r\n")
    };
    let text = bed.ask(&ask("/api/clusters")).await;
    assert!(text.contains("cookie: a=1; slipway=s\r\n"), "{text}");
    let text = bed.ask(&ask(PATH)).await;
    assert!(text.contains("cookie: a=1\r\n"), "{text}");
    assert_eq!((own.connections(), pod.connections()), (1, 1));
}

#[tokio::test]
async fn use_is_a_success_or_what_the_client_sends() {
    let target = Target::new(|mut stream, _| async move {
        loop {
            let head = read_head(&mut stream).await;
            if head.contains("content-length: 1\r\n") {
                read_exactly(&mut stream, 1).await;
            }
            let Some(status) = head.split([' ', '/']).nth(3) else { return };
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("taken");
        }
    })
    .await;
    let bed = Bed::start(target.address).await;
    for (at, status, body, counts) in [
        (2_000, 200, "", true),
        (3_000, 302, "", false),
        (4_000, 404, "", false),
        (5_000, 500, "", false),
        (6_000, 404, "x", true),
        (7_000, 204, "", true),
    ] {
        let before = bed.last_ms();
        bed.set_now(at);
        let length = body.len();
        let text = bed
            .ask(&format!("PUT {PATH}/{status} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"))
            .await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
        assert_eq!(bed.last_ms(), if counts { at } else { before }, "{status} {body}");
    }
    let taken = bed.routes.take_activity();
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].0.as_str(), taken[0].1.timestamp_millis()), (PATH, 7_000));
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
    let text = bed
        .ask(&format!("GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: upgrade, close\r\nupgrade: h2c\r\nhttp2-settings: x\r\n\r\n"))
        .await;
    assert!(text.contains("HTTP/1.1 200 OK") && !text.contains("h2c") && !text.contains("http2"), "{text}");
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
    let settings = Settings { drain: Duration::from_millis(50), ..Settings::default() };
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

#[tokio::test]
async fn a_target_that_does_not_answer_in_time_is_a_504() {
    let target = Target::new(|mut stream, _| async move {
        read_all(&mut stream).await;
    })
    .await;
    let settings = Settings { answer_timeout: Some(Duration::from_millis(50)), ..Settings::default() };
    let bed = Bed::with(settings, None).await;
    bed.route(Engine::Notebook, target.address, Prefix::Keep);
    assert!(bed.ask(&get_once(PATH)).await.starts_with("HTTP/1.1 504"));
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
