//! How a proxy ends: no request and no connection is lost, and nothing holds it up for longer than it may.

mod proxy_bed;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use proxy_bed::{Bed, PATH, Target, echo_websocket, read_all, read_exactly, read_head, until, within};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::{Place, Proxy, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET /cluster-678343 HTTP/1.1\r\nhost: h\r\n\r\n";
const GET_ONCE: &str = "GET /cluster-678343 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// Answers what is asked under `/slow` only once it is let go, and speaks WebSocket under `/socket`.
async fn target(go: Arc<Notify>) -> Target {
    Target::new(move |mut stream, _| {
        let go = Arc::clone(&go);
        async move {
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                if head.contains("/socket") {
                    return echo_websocket(stream, &head).await;
                }
                if head.contains("/slow") {
                    go.notified().await;
                }
                let _ = stream.write_all(OK.as_bytes()).await;
            }
        }
    })
    .await
}

async fn bed(settings: Settings, target: SocketAddr) -> Bed {
    let bed = Bed::with(settings, None).await;
    bed.route(Engine::Notebook, target, Prefix::Keep);
    bed
}

async fn websocket(bed: &Bed) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let url = format!("ws://{}{PATH}/socket", bed.address);
    within(tokio_tungstenite::connect_async(url)).await.expect("a handshake").0
}

async fn echoes(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> bool {
    let sent = within(socket.send(Message::text("there?"))).await;
    sent.is_ok() && matches!(within(socket.next()).await, Some(Ok(message)) if message == Message::text("there?"))
}

/// Asks on a connection that is open; whether the answer says that it was the last.
async fn ask(client: &mut TcpStream) -> bool {
    client.write_all(GET.as_bytes()).await.expect("taken");
    let head = read_head(client).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head:?}");
    assert_eq!(read_exactly(client, 2).await, "ok");
    head.contains("connection: close\r\n")
}

#[tokio::test]
async fn a_client_that_goes_on_asking_is_told_which_answer_is_the_last() {
    let target = target(Arc::default()).await;
    let mut bed = bed(Settings::default(), target.address).await;
    let mut client = bed.connect().await;
    assert!(!ask(&mut client).await);
    bed.ask_to_stop();
    // It was asked to stop, and at some time it does: until then every request is answered.
    while !ask(&mut client).await {}
    assert_eq!(read_all(&mut client).await, "", "then it is closed");
    bed.stopped().await;
}

#[tokio::test]
async fn tunnels_are_cut_when_their_time_is_over_and_requests_go_on() {
    let go = Arc::new(Notify::new());
    let target = target(Arc::clone(&go)).await;
    let settings = Settings { drain: LONG, drain_tunnels: Duration::from_millis(300), ..Settings::default() };
    let mut bed = bed(settings, target.address).await;
    let mut socket = websocket(&bed).await;
    assert!(echoes(&mut socket).await);
    let mut slow = bed.connect().await;
    slow.write_all(format!("GET {PATH}/slow HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.expect("taken");
    until(|| target.connections() == 2).await;
    bed.ask_to_stop();
    while echoes(&mut socket).await {}
    go.notify_one();
    assert!(read_all(&mut slow).await.ends_with("ok"));
    bed.stopped().await;
}

#[tokio::test]
async fn requests_are_cut_when_their_time_is_over_and_tunnels_go_on() {
    let target = target(Arc::default()).await;
    let settings = Settings { drain: Duration::from_millis(300), drain_tunnels: LONG, ..Settings::default() };
    let mut bed = bed(settings, target.address).await;
    let mut socket = websocket(&bed).await;
    let mut slow = bed.connect().await;
    slow.write_all(format!("GET {PATH}/slow HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.expect("taken");
    until(|| target.connections() == 2).await;
    bed.ask_to_stop();
    assert_eq!(read_all(&mut slow).await, "");
    assert!(echoes(&mut socket).await);
    drop(socket);
    bed.stopped().await;
}

/// One of two at the same address.
fn listen(address: SocketAddr) -> TcpListener {
    let place = Place::bind(address, true).expect("the address is shared");
    TcpListener::from_std(place.into_listener().expect("it listens")).expect("a listener")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_handed_over_without_a_connection_lost() {
    const CLIENTS: usize = 16;
    let target = target(Arc::default()).await;
    let first = listen(([127, 0, 0, 1], 0).into());
    let address = first.local_addr().expect("an address");
    let begin = |listener| {
        let bed = Bed::on(listener, Proxy::new(Arc::default(), None));
        bed.route(Engine::Notebook, target.address, Prefix::Keep);
        bed
    };
    let mut old = begin(first);
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    let mut stream = within(TcpStream::connect(address)).await.expect("somebody listens");
                    stream.write_all(GET_ONCE.as_bytes()).await.expect("taken");
                    let mut text = String::new();
                    within(stream.read_to_string(&mut text)).await.expect("no reset");
                    assert!(text.ends_with("ok"), "{text:?}");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..4 {
        let seen = answered.load(Ordering::SeqCst);
        until(|| answered.load(Ordering::SeqCst) > seen + 100).await;
        let new = begin(listen(address));
        old.ask_to_stop();
        old.stopped().await;
        old = new;
    }
    let seen = answered.load(Ordering::SeqCst);
    until(|| answered.load(Ordering::SeqCst) > seen + 100).await;
    over.store(true, Ordering::SeqCst);
    for client in clients {
        within(client).await.expect("every request was answered");
    }
}

#[tokio::test]
async fn nobody_connects_to_an_address_that_is_only_taken() {
    let place = Place::bind(([127, 0, 0, 1], 0).into(), false).expect("a port");
    let address = place.address().expect("an address");
    assert!(TcpStream::connect(address).await.is_err(), "refused, so that a balancer goes elsewhere");
    place.listen().expect("it listens");
    assert!(TcpStream::connect(address).await.is_ok());
    let second = Place::bind(address, false).and_then(|place| place.listen());
    assert_eq!(second.expect_err("in use").kind(), std::io::ErrorKind::AddrInUse);
}
