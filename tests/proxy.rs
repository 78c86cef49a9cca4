//! The proxy between real sockets: what a client and a target see of each other through it.

mod proxy_bed;

use std::time::Duration;

use proxy_bed::{Bed, PATH, Target, read_all, read_exactly, read_head};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::Settings;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

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
async fn answers_without_a_body_have_none() {
    let target = Target::new(|mut stream, _| async move {
        loop {
            let head = read_head(&mut stream).await;
            let answer = match head.split(' ').nth(1) {
                Some("/cluster-678343/204") => "HTTP/1.1 204 No Content\r\n\r\n",
                Some("/cluster-678343/chunked") => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
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
    let text = bed.ask("HEAD /cluster-678343/chunked HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(!text.contains("content-length"), "nothing is said of what was not told: {text}");
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
    // A server names its own version (RFC 9110, 6.2); what it says is what an old client understands.
    assert!(old.starts_with("HTTP/1.1 200") && old.ends_with("\r\n\r\nuntil the end"), "{old}");
    assert!(old.contains("\r\nconnection: close\r\n") && !old.contains("transfer-encoding"), "{old}");
    let new = bed.ask(&get_once(PATH)).await;
    assert!(new.contains("transfer-encoding: chunked") && new.contains("until the end"), "{new}");
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
    assert_eq!((taken[0].path.as_str(), taken[0].last.timestamp_millis()), (PATH, 7_000));
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
