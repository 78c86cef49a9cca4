//! What a target gets, and the client as an answer, when requests are written by hand: nothing that two
//! servers could read in two ways may get through.

mod proxy_bed;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_bed::{Bed, Target, read_all, read_exactly, read_head};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::{Proxy, Settings};
use tokio::io::AsyncWriteExt;

/// A target that notes each request as it reads it, body and all.
async fn recorder() -> (Target, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(vec![]));
    let record = Arc::clone(&requests);
    let target = Target::new(move |mut stream, _| {
        let record = Arc::clone(&record);
        async move {
            loop {
                let mut request = read_head(&mut stream).await;
                if request.is_empty() {
                    return;
                }
                let length = request
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.split('\r').next()?.parse().ok());
                if let Some(length) = length {
                    request.push_str(&read_exactly(&mut stream, length).await);
                } else if request.contains("transfer-encoding") {
                    request.push_str(&read_chunks(&mut stream).await);
                }
                record.lock().expect("no panic").push(request);
                // A client that broke off has no use for it.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (target, requests)
}

async fn read_chunks(stream: &mut tokio::net::TcpStream) -> String {
    let mut body = String::new();
    while !body.ends_with("0\r\n\r\n") {
        let mut one = [0];
        match tokio::io::AsyncReadExt::read(stream, &mut one).await {
            Ok(1) => body.push(char::from(one[0])),
            _ => return body + "(broken off)",
        }
    }
    body
}

/// Sends each as the only thing on a connection: the statuses that came back, and what the target got.
async fn send(raw: &[u8]) -> (Vec<u16>, Vec<String>) {
    let (target, requests) = recorder().await;
    // Whatever keeps waiting for more is cut off soon.
    let settings = Settings { head_timeout: Duration::from_millis(100), ..Settings::default() };
    let bed = Bed::run(Proxy { settings, ..Proxy::new(Arc::default(), None) }).await;
    bed.route(Engine::Notebook, target.address, Prefix::Keep);
    let mut client = bed.connect().await;
    client.write_all(raw).await.expect("taken");
    let answer = read_all(&mut client).await;
    let statuses = answer.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect();
    let requests = requests.lock().expect("no panic").clone();
    (statuses, requests)
}

const HEAD: &str = "POST /cluster-678343/x HTTP/1.1\r\nhost: h\r\n";

#[tokio::test]
async fn ambiguous_requests_reach_no_target() {
    let cases: &[(&str, &str, u16)] = &[
        ("two lengths", "content-length: 1\r\ncontent-length: 2\r\n\r\nxx", 400),
        ("a list of lengths", "content-length: 1, 1\r\n\r\nx", 400),
        ("a signed length", "content-length: +1\r\n\r\nx", 400),
        ("a negative length", "content-length: -1\r\n\r\nx", 400),
        ("a hexadecimal length", "content-length: 0x1\r\n\r\nx", 400),
        ("a length with a blank in it", "content-length: 1 1\r\n\r\nx", 400),
        ("an empty length", "content-length: \r\n\r\nx", 400),
        ("an immense length", "content-length: 99999999999999999999999\r\n\r\nx", 400),
        ("a length and chunks", "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("chunks and a length", "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n", 400),
        ("bare line feeds", "x-a: b\ncontent-length: 0\r\n\r\n", 400),
        ("another coding", "transfer-encoding: gzip\r\n\r\nx", 400),
        ("two codings", "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        ("chunked, but not last", "transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
        ("chunked twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("chunked twice in one", "transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        ("no coding at all", "transfer-encoding: identity\r\n\r\n", 400),
        ("no coding, then one", "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("an empty coding", "transfer-encoding:\r\n\r\n", 400),
        ("a coding with a parameter", "transfer-encoding: chunked;x=y\r\n\r\n0\r\n\r\n", 400),
        ("a coding on a folded line", "transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
        ("a tab before the colon", "transfer-encoding\t: chunked\r\n\r\n0\r\n\r\n", 400),
        ("a length and another coding", "content-length: 1\r\ntransfer-encoding: xchunked\r\n\r\nx", 400),
        (
            "a length that is named as the connection's",
            "connection: content-length\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
            400,
        ),
        ("an end without CR", "content-length: 0\r\n\n", 400),
        ("a coding like chunked", "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        ("a quoted coding", "transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
        ("a coding after a vertical tab", "transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        ("a blank before the colon", "transfer-encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        ("a folded line", "x-a: b\r\n folded\r\n\r\n", 400),
        ("a line without a colon", "nonsense\r\n\r\n", 400),
        ("a line without a name", ": x\r\n\r\n", 400),
        ("a NUL in a value", "x-a: b\0c\r\n\r\n", 400),
        ("a bare CR in a value", "x-a: b\rx-b: c\r\n\r\n", 400),
        ("a CR before the colon", "x-a\r: b\r\n\r\n", 400),
        ("a blank in a name", "x a: b\r\n\r\n", 400),
        ("a second host", "host: h\r\n\r\n", 400),
        ("another host", "host: other\r\n\r\n", 400),
        ("a body on an upgrade", "connection: upgrade\r\nupgrade: x\r\ncontent-length: 1\r\n\r\nx", 400),
    ];
    for (what, rest, status) in cases {
        let (statuses, requests) = send(format!("{HEAD}{rest}").as_bytes()).await;
        assert_eq!((statuses, requests), (vec![*status], vec![]), "{what}");
    }
}

#[tokio::test]
async fn strange_first_lines_reach_no_target() {
    let cases: &[(&str, &str, u16)] = &[
        ("another host in the target", "GET http://other/cluster-678343 HTTP/1.1\r\nhost: h", 400),
        ("somebody in the target", "GET http://me@h/cluster-678343 HTTP/1.1\r\nhost: h", 400),
        ("another scheme", "GET ftp://h/cluster-678343 HTTP/1.1\r\nhost: h", 400),
        ("no host", "GET /cluster-678343 HTTP/1.1", 400),
        ("an empty host", "GET /cluster-678343 HTTP/1.1\r\nhost:", 400),
        ("two hosts in one", "GET /cluster-678343 HTTP/1.1\r\nhost: a, b", 400),
        ("a path in the host", "GET /cluster-678343 HTTP/1.1\r\nhost: a/b", 400),
        ("CONNECT", "CONNECT h:80 HTTP/1.1\r\nhost: h:80", 405),
        ("TRACE", "TRACE /cluster-678343 HTTP/1.1\r\nhost: h", 405),
        ("an asterisk", "OPTIONS * HTTP/1.1\r\nhost: h", 400),
        ("no slash", "GET cluster-678343 HTTP/1.1\r\nhost: h", 400),
        ("two slashes", "GET //cluster-678343 HTTP/1.1\r\nhost: h", 400),
        ("a way up", "GET /cluster-678343/../cluster-678344 HTTP/1.1\r\nhost: h", 400),
        ("an encoded way up", "GET /cluster-678343/%2e%2E/x HTTP/1.1\r\nhost: h", 400),
        ("an encoded way up behind an encoded slash", "GET /cluster-678343/a%2f..%2fx HTTP/1.1\r\nhost: h", 400),
        ("an encoded NUL", "GET /cluster-678343/%00 HTTP/1.1\r\nhost: h", 400),
        ("half an escape", "GET /cluster-678343/%4 HTTP/1.1\r\nhost: h", 400),
        ("a blank in the target", "GET /cluster-678343/a b HTTP/1.1\r\nhost: h", 400),
        ("a tab for a blank", "GET\t/cluster-678343 HTTP/1.1\r\nhost: h", 400),
        ("two blanks", "GET  /cluster-678343 HTTP/1.1\r\nhost: h", 400),
        ("a CR in the target", "GET /cluster-678343/\rx HTTP/1.1\r\nhost: h", 400),
        ("somebody in the host", "GET /cluster-678343 HTTP/1.1\r\nhost: me@h", 400),
        ("HTTP/0.9", "GET /cluster-678343", 400),
        ("no version", "GET /cluster-678343\r\nhost: h", 400),
        ("HTTP/1.2", "GET /cluster-678343 HTTP/1.2\r\nhost: h", 400),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM", 400),
        (
            "chunks in HTTP/1.0",
            "POST /cluster-678343 HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0",
            400,
        ),
        ("an odd method", "G@T /cluster-678343 HTTP/1.1\r\nhost: h", 400),
    ];
    for (what, head, status) in cases {
        let (statuses, requests) = send(format!("{head}\r\n\r\n").as_bytes()).await;
        let first = statuses.first().copied();
        // What cannot even be taken for HTTP may go without an answer.
        let refused = first == Some(*status) || (first.is_none() && *what == "HTTP/2");
        assert!(refused && statuses.len() < 2 && requests.is_empty(), "{what}: {statuses:?} {requests:?}");
    }
}

#[tokio::test]
async fn too_much_is_refused() {
    let long = |length: usize| "a".repeat(length);
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let cases = [
        ("a long target", format!("GET /cluster-678343/{} HTTP/1.1\r\nhost: h\r\n\r\n", long(20_000)), 414),
        ("an immense target", format!("GET /cluster-678343/{} HTTP/1.1\r\nhost: h\r\n\r\n", long(66_000)), 431),
        ("a long header", format!("{HEAD}x-a: {}\r\n\r\n", long(70_000)), 431),
        ("many headers", format!("{HEAD}{many}\r\n"), 431),
    ];
    for (what, raw, status) in cases {
        let (statuses, requests) = send(raw.as_bytes()).await;
        assert!(requests.is_empty(), "{what}");
        // The rest of what was sent may break the connection before the answer is read, and which limit is
        // met first depends on how it was cut up on the way.
        let expected = statuses.iter().all(|&got| got == status || (got == 414 && what == "an immense target"));
        assert!(expected && statuses.len() < 2, "{what}: {statuses:?}");
    }
}

#[tokio::test]
async fn bad_chunks_end_the_connection() {
    for chunks in [
        "g\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1\r\nxGET / HTTP/1.1\r\n\r\n",
        "fffffffffffffffff\r\nx",
        "1\nx\r\n0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "1;a=b\nx\r\n0\r\n\r\n",
        "1 1\r\nx\r\n0\r\n\r\n",
        "1\r\r\nx\r\n0\r\n\r\n",
        "\r\n1\r\nx\r\n0\r\n\r\n",
    ] {
        let smuggled = "GET /cluster-678343/smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
        let (statuses, requests) =
            send(format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunks}{smuggled}").as_bytes()).await;
        assert!(statuses.iter().all(|&status| status == 400) && statuses.len() <= 1, "{chunks:?}: {statuses:?}");
        assert!(requests.iter().all(|request| request.ends_with("(broken off)")), "{chunks:?}: {requests:?}");
        assert!(requests.len() <= 1, "{chunks:?}: {requests:?}");
    }
}

#[tokio::test]
async fn plain_requests_arrive_rewritten_and_once() {
    let cases = [
        ("an equal length twice", format!("{HEAD}connection: close\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx")),
        ("the host in the target", "POST http://h/cluster-678343/x HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx".into()),
        ("empty lines first", format!("\r\n\r\n{HEAD}connection: close\r\ncontent-length: 1\r\n\r\nx")),
        ("headers of the connection", format!("{HEAD}connection: close, x-a\r\nx-a: 1\r\nkeep-alive: 1\r\nproxy-connection: x\r\nproxy-authorization: x\r\nte: x\r\ncontent-length: 1\r\n\r\nx")),
    ];
    for (what, raw) in cases {
        let (statuses, requests) = send(raw.as_bytes()).await;
        assert_eq!(statuses, [200], "{what}");
        let expected = "POST /cluster-678343/x HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\n\
                        x-forwarded-port: 80\r\nx-forwarded-host: h\r\ncontent-length: 1\r\n\r\nx";
        assert_eq!(requests, [expected], "{what}");
    }
}

#[tokio::test]
async fn what_follows_a_doubt_is_not_looked_at() {
    let plain = "GET /cluster-678343/plain HTTP/1.1\r\nhost: h\r\n\r\n";
    let doubtful = format!("{HEAD}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    let (statuses, requests) = send(format!("{plain}{plain}{doubtful}{plain}").as_bytes()).await;
    assert_eq!(statuses, [200, 200, 400]);
    assert_eq!(requests.len(), 2);
}

#[tokio::test]
async fn trailers_of_a_request_end_at_the_proxy() {
    let chunks = "1\r\nx\r\n0\r\ncontent-length: 9\r\nhost: other\r\nx-a: 1\r\n\r\n";
    let (statuses, requests) =
        send(format!("{HEAD}connection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunks}").as_bytes()).await;
    assert_eq!(statuses, [200]);
    assert!(requests[0].ends_with("transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"), "{requests:?}");
    assert!(!requests[0].contains("other") && !requests[0].contains("x-a"), "{requests:?}");
}
