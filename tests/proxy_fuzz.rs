//! Any bytes at all, sent to a real proxy: its target never sees a request that was not framed beyond doubt,
//! and the connection always ends.

mod proxy_bed;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proxy_bed::{Bed, Target, read_all, read_head};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::{Proxy, Settings};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// After which a proxy that waits for more is to give up.
const SOON: Duration = Duration::from_millis(60);
/// Ends the connection where it is read as a request.
const LAST: &[u8] = b"GET /cluster-678343/last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

/// The target of a request and its body.
type Seen = (String, Vec<u8>);

struct Case {
    runtime: tokio::runtime::Runtime,
    bed: Bed,
    _target: Target,
    seen: Arc<Mutex<Vec<Seen>>>,
    panicked: Arc<AtomicBool>,
}

impl Case {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let seen = Arc::new(Mutex::new(vec![]));
        let panicked = Arc::new(AtomicBool::new(false));
        let (record, panics) = (Arc::clone(&seen), Arc::clone(&panicked));
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            panics.store(true, Ordering::SeqCst);
            before(info);
        }));
        let (target, bed) = runtime.block_on(async {
            let target = Target::new(move |stream, _| record_all(stream, Arc::clone(&record))).await;
            let settings = Settings { head_timeout: SOON, body_timeout: SOON, ..Settings::default() };
            let bed = Bed::run(Proxy { settings, ..Proxy::new(Arc::default(), None) }).await;
            bed.route(Engine::Notebook, target.address, Prefix::Keep);
            (target, bed)
        });
        Self { runtime, bed, _target: target, seen, panicked }
    }

    /// What the target saw of these bytes, and what the client was answered.
    fn send(&self, bytes: &[u8]) -> (Vec<Seen>, String) {
        self.seen.lock().expect("no panic").clear();
        let answers = self.runtime.block_on(async {
            let mut client = self.bed.connect().await;
            // A proxy that has seen enough may close before all is sent.
            let _ = client.write_all(bytes).await;
            read_all(&mut client).await
        });
        assert!(!self.panicked.load(Ordering::SeqCst), "something panicked");
        (self.seen.lock().expect("no panic").clone(), answers)
    }

    fn check(&self, bytes: &[u8]) -> Result<(), TestCaseError> {
        let (seen, answers) = self.send(bytes);
        let clear = framed_beyond_doubt(bytes);
        let mut rest = clear.iter();
        for request in &seen {
            prop_assert!(rest.any(|framed| framed == request), "{request:?} is not among {clear:?}: {answers}");
        }
        prop_assert!(answers.is_empty() || answers.starts_with("HTTP/1."), "{answers}");
        Ok(())
    }
}

/// Notes each complete request.
async fn record_all(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>) {
    loop {
        let head = read_head(&mut stream).await;
        let Some(target) = head.split(' ').nth(1) else { return };
        let length =
            head.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
        let body = if let Some(length) = length {
            match read_body(&mut stream, length).await {
                Some(body) => body,
                None => return,
            }
        } else if head.contains("\r\ntransfer-encoding: chunked\r\n") {
            let mut body = vec![];
            loop {
                let Some(size) = read_line(&mut stream).await else { return };
                let size = usize::from_str_radix(&size, 16).expect("a size");
                let Some(part) = read_body(&mut stream, size + 2).await else { return };
                if size == 0 {
                    break body;
                }
                body.extend_from_slice(&part[..size]);
            }
        } else {
            vec![]
        };
        seen.lock().expect("no panic").push((target.to_owned(), body));
        // A client that broke off has no use for it.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }
}

async fn read_body(stream: &mut TcpStream, length: usize) -> Option<Vec<u8>> {
    let mut body = vec![0; length];
    tokio::io::AsyncReadExt::read_exact(stream, &mut body).await.ok()?;
    Some(body)
}

async fn read_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = vec![];
    while !line.ends_with(b"\r\n") {
        line.extend(read_body(stream, 1).await?);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).ok()
}

/// The requests at the front of these bytes of which it is certain where they begin and end. Written for this
/// test, slow and strict, and nothing of it comes from the proxy.
fn framed_beyond_doubt(mut bytes: &[u8]) -> Vec<Seen> {
    let mut requests = vec![];
    while let Some((request, rest)) = first_framed(bytes) {
        requests.push(request);
        bytes = rest;
    }
    requests
}

fn first_framed(mut bytes: &[u8]) -> Option<(Seen, &[u8])> {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
    let mut lines = head.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let bare = head.split(|&b| b == b'\n').rev().skip(1).any(|line| !line.ends_with(b"\r"));
    let first = String::from_utf8(lines.next()?.to_vec()).ok()?;
    let words: Vec<_> = first.split(' ').collect();
    let [_, target, "HTTP/1.1" | "HTTP/1.0"] = words[..] else { return None };
    let (mut lengths, mut codings) = (vec![], vec![]);
    for line in lines {
        let colon = line.iter().position(|&b| b == b':')?;
        let (name, value) =
            (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_ascii_lowercase());
        match name.as_slice() {
            b"content-length" => lengths.push(String::from_utf8(value).ok()?),
            b"transfer-encoding" => codings.push(value),
            name if name.iter().any(|b| b" \t\r".contains(b)) => return None,
            _ => {}
        }
    }
    if bare || head.contains(&0) {
        return None;
    }
    let whole = |body: Vec<u8>, rest| Some(((target.to_owned(), body), rest));
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => whole(vec![], rest),
        ([length, others @ ..], []) if others.iter().all(|other| other == length) => {
            let length: usize = length.parse().ok()?;
            whole(rest.get(..length)?.to_vec(), &rest[length..])
        }
        ([], [coding]) if coding == b"chunked" => {
            let (body, rest) = unchunked(rest)?;
            whole(body, rest)
        }
        _ => None,
    }
}

fn unchunked(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = vec![];
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[..end]).ok()?;
        let size = line.split([';', ' ', '\t']).next()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
    if let Some(rest) = bytes.strip_prefix(b"\r\n") {
        return Some((body, rest));
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((body, &bytes[end + 4..]))
}

/// What requests consist of, whole and broken.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(vec![
        "GET /cluster-678343/a HTTP/1.1\r\nhost: h\r\n\r\n",
        "POST /cluster-678343/b HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello",
        "POST /cluster-678343/c HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ]);
    let head = prop::sample::select(vec![
        "POST /cluster-678343/d HTTP/1.1\r\nhost: h\r\n",
        "GET /cluster-678343/e HTTP/1.1\r\nhost: h\r\n",
        "PUT /cluster-678343/f HTTP/1.0\r\n",
    ]);
    let line = prop::sample::select(vec![
        "content-length: 5\r\n",
        "Content-Length:0\r\n",
        "content-length: 41\r\n",
        "content-length : 5\r\n",
        "content-length: 5\n",
        "content-length: 0x5\r\n",
        "transfer-encoding: chunked\r\n",
        "Transfer-Encoding:\tCHUNKED\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding\t: chunked\r\n",
        "x: y\r\n z\r\n",
        "x: y\rz\r\n",
        "expect: 100-continue\r\n",
        "connection: keep-alive\r\n",
        "connection: content-length, transfer-encoding\r\n",
        "host: h\r\n",
    ]);
    let body = prop::sample::select(vec![
        "",
        "hello",
        "5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5;x=y\r\nhello\r\n0\r\nt: x\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "0\r\n\r\n",
        "GET /cluster-678343/smuggled HTTP/1.1\r\nhost: h\r\n\r\n",
    ]);
    let end = prop::sample::select(vec!["\r\n", "\n", "\r\n\r\n", ""]);
    let built = (head, prop::collection::vec(line, 0..3), end, body)
        .prop_map(|(head, lines, end, body)| [&[head], lines.as_slice(), &[end, body]].concat().concat());
    let noise = prop::collection::vec(any::<u8>(), 0..30);
    prop_oneof![
        3 => whole.prop_map(|text| text.as_bytes().to_vec()),
        6 => built.prop_map(String::into_bytes),
        1 => noise,
    ]
}

/// Pieces one after the other, with a byte changed here and there.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec(
        (any::<prop::sample::Index>(), prop::sample::select(b"\r\n\0 :;,0a\t".to_vec())),
        0..3,
    );
    (prop::collection::vec(pieces(), 1..4), changes).prop_map(|(pieces, changes)| {
        let mut bytes = pieces.concat();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes.extend_from_slice(LAST);
        bytes
    })
}

/// A file of the corpus: its lines without their ends, and then `\r`, `\n`, `\0`, `\t`, `\\` and `\x0b` for bytes.
fn unescaped(text: &str) -> Vec<u8> {
    let text: String = text.lines().collect();
    let (mut bytes, mut chars) = (vec![], text.chars());
    while let Some(c) = chars.next() {
        let byte = match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('r')) => b'\r',
            ('\\', Some('n')) => b'\n',
            ('\\', Some('t')) => b'\t',
            ('\\', Some('0')) => 0,
            ('\\', Some('x')) => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).expect("two digits")
            }
            (c, _) => u8::try_from(c).expect("ASCII"),
        };
        bytes.push(byte);
    }
    bytes
}

#[test]
fn no_bytes_bring_a_doubtful_request_to_a_target() {
    let case = Case::new();
    let (plain, _) = case.send(LAST);
    assert_eq!(plain, [("/cluster-678343/last".to_owned(), vec![])], "what is clear does arrive");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/requests");
    for file in fs::read_dir(folder).expect("the corpus") {
        let path = file.expect("a file").path();
        let bytes = unescaped(&fs::read_to_string(&path).expect("text"));
        case.check(&bytes).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
        let (seen, _) = case.send(&bytes);
        assert!(!seen.iter().any(|(target, _)| target.ends_with("smuggled")), "{}: {seen:?}", path.display());
    }
    let config = ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner.run(&requests(), |bytes| case.check(&bytes)).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn the_measure_itself_is_right() {
    let clear = |text: &str| framed_beyond_doubt(text.as_bytes()).len();
    assert_eq!(clear("GET /a HTTP/1.1\r\n\r\n\r\nPOST /b HTTP/1.1\r\ncontent-length: 1\r\n\r\nx"), 2);
    assert_eq!(
        clear(
            "POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nt: 1\r\n\r\nGET /a HTTP/1.1\r\n\r\n"
        ),
        2
    );
    for text in [
        "GET /a HTTP/1.1\n\n",
        "GET /a HTTP/1.1\r\nx: y\n\r\n\r\n",
        "POST /b HTTP/1.1\r\ncontent-length: 2\r\n\r\nx",
        "POST /b HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        assert_eq!(clear(text), 0, "{text:?}");
    }
}
