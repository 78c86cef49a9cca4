//! A running proxy, targets that do as they are told, and a client that sends exactly what it is given.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::DateTime;
use futures_util::{SinkExt, StreamExt};
use slipway::domain::{ClusterId, Engine, Prefix, Route, RouteChange, RoutePath};
use slipway::proxy::{Clock, Proxy, Routes, Settings, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

pub(crate) const PATH: &str = "/cluster-678343";
/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Bed {
    pub address: SocketAddr,
    pub routes: Arc<Routes>,
    /// The proxy's clock, in milliseconds: it stands still unless a test moves it.
    pub now: Arc<AtomicI64>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
}

impl Bed {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let bed = Self::with(Settings::default(), None).await;
        bed.route(Engine::Notebook, target, Prefix::Keep);
        bed
    }

    pub(crate) async fn with(settings: Settings, fallback: Option<SocketAddr>) -> Self {
        let now = Arc::new(AtomicI64::new(1_000));
        let clock = Clock::from_fn({
            let now = Arc::clone(&now);
            move || now.load(Ordering::SeqCst)
        });
        let mut bed = Self::run(Proxy { settings, clock, ..Proxy::new(Arc::default(), fallback) }).await;
        bed.now = now;
        bed
    }

    pub(crate) async fn run(proxy: Proxy) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), proxy)
    }

    pub(crate) fn on(listener: TcpListener, proxy: Proxy) -> Self {
        let address = listener.local_addr().expect("an address");
        let routes = Arc::clone(&proxy.routes);
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(listener, Arc::new(proxy), async {
            // A dropped sender stops it as well.
            drop(stopped.await);
        }));
        Self { address, routes, now: Arc::default(), stop: Some(stop), served: Some(served) }
    }

    pub(crate) fn route(&self, engine: Engine, target: SocketAddr, prefix: Prefix) {
        let id = ClusterId::from_number(678_343).expect("six digits");
        let since = DateTime::from_timestamp_millis(1).expect("a time");
        let path = RoutePath::of(id, engine);
        self.routes.apply([RouteChange::Put { path, route: Route { target, prefix }, since }]);
    }

    /// The last use of the notebook's route.
    pub(crate) fn last_ms(&self) -> i64 {
        self.routes.get(PATH).expect("the route").last_activity().timestamp_millis()
    }

    pub(crate) fn set_now(&self, ms: i64) {
        self.now.store(ms, Ordering::SeqCst);
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the proxy listens")
    }

    /// Sends it on a new connection; all that comes back until the proxy closes.
    pub(crate) async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("taken");
        read_all(&mut stream).await
    }

    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn stopped(&mut self) {
        within(self.served.take().expect("running")).await.expect("no panic");
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// Waits until it holds.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    within(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Memory of this process, in KiB.
pub(crate) fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the memory");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the resident part");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// All until the other side closes, or breaks off.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = vec![];
    // What came before a reset counts.
    let _ = within(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Up to and with the end of a head.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        match within(stream.read_u8()).await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

pub(crate) async fn read_exactly(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    within(stream.read_exact(&mut bytes)).await.expect("as many bytes");
    String::from_utf8(bytes).expect("text")
}

/// Agrees to the WebSocket that this head asks for, and says again what it hears until the other side is gone.
pub(crate) async fn echo_websocket(mut stream: TcpStream, head: &str) {
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// A target; how many connections it got.
pub(crate) struct Target {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Target {
    /// Does `act` with each connection and its number, from 0 on.
    pub(crate) async fn new<F>(act: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(act(stream, count.fetch_add(1, Ordering::SeqCst)));
            }
        });
        Self { address, connections, task }
    }

    /// Answers each bodiless request with the same text.
    pub(crate) async fn saying(answer: &'static str) -> Self {
        Self::new(move |mut stream, _| async move {
            while !read_head(&mut stream).await.is_empty() {
                stream.write_all(answer.as_bytes()).await.expect("taken");
            }
        })
        .await
    }

    /// Answers each bodiless request with the head that it got.
    pub(crate) async fn echo() -> Self {
        Self::new(|mut stream, _| async move {
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
                stream.write_all(answer.as_bytes()).await.expect("taken");
            }
        })
        .await
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
