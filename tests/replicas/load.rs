//! Clients that ask one request after the other, and note each that is not answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::proxy_bed::{Target, echo_websocket, read_head, until, within};

/// A notebook that answers "ok", and under `/socket` says again what it hears.
pub async fn notebook() -> Target {
    Target::new(|mut stream, _| async move {
        loop {
            let head = read_head(&mut stream).await;
            if head.contains("/socket") {
                return echo_websocket(stream, &head).await;
            }
            if head.is_empty()
                || stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err()
            {
                return;
            }
        }
    })
    .await
}

#[derive(Default)]
struct Tally {
    over: AtomicBool,
    answered: AtomicUsize,
    /// The client's port and what went wrong.
    failed: Mutex<Vec<(u16, String)>>,
}

pub struct Load {
    tally: Arc<Tally>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Half of the clients keep their connection as long as they are let.
    pub fn on(address: SocketAddr, path: &str, clients: usize) -> Self {
        let tally = Arc::<Tally>::default();
        let client = |number| {
            let (tally, path) = (Arc::clone(&tally), path.to_owned());
            tokio::spawn(async move {
                while !tally.over.load(Ordering::SeqCst) {
                    let stream = within(TcpStream::connect(address)).await.expect("somebody listens");
                    let port = stream.local_addr().expect("an address").port();
                    if let Err(why) = ask_on(stream, &path, number % 2 == 0, &tally).await {
                        tally.failed.lock().expect("no panic").push((port, why));
                    }
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { tally, clients }
    }

    /// Returns when so many more requests were answered.
    pub async fn goes_on(&self, more: usize) {
        let begun = self.tally.answered.load(Ordering::SeqCst);
        until(|| self.tally.answered.load(Ordering::SeqCst) >= begun + more).await;
    }

    /// Those that were not answered.
    pub async fn end(self) -> Vec<(u16, String)> {
        self.tally.over.store(true, Ordering::SeqCst);
        for client in self.clients {
            within(client).await.expect("no panic");
        }
        std::mem::take(&mut self.tally.failed.lock().expect("no panic"))
    }
}

/// Asks until the connection is to be closed, or all is over.
async fn ask_on(mut stream: TcpStream, path: &str, keep: bool, tally: &Tally) -> Result<(), String> {
    let close = if keep { "" } else { "connection: close\r\n" };
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\n{close}\r\n");
    while !tally.over.load(Ordering::SeqCst) {
        within(stream.write_all(request.as_bytes())).await.map_err(|error| format!("not taken: {error}"))?;
        let head = read_head(&mut stream).await;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(format!("answered {head:?}"));
        }
        let mut body = [0; 2];
        within(stream.read_exact(&mut body)).await.map_err(|error| format!("half an answer: {error}"))?;
        tally.answered.fetch_add(1, Ordering::SeqCst);
        if head.contains("connection: close") {
            return Ok(());
        }
    }
    Ok(())
}

pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub async fn open(address: SocketAddr, path: &str) -> Self {
        let url = format!("ws://{address}{path}/socket");
        Self(within(tokio_tungstenite::connect_async(url)).await.expect("a handshake").0)
    }

    pub fn port(&self) -> u16 {
        match self.0.get_ref() {
            MaybeTlsStream::Plain(stream) => stream.local_addr().expect("an address").port(),
            _ => panic!("it is not encrypted"),
        }
    }

    /// Whether what is said comes back.
    pub async fn echoes(&mut self) -> bool {
        let said = Message::text("there?");
        let sent = within(self.0.send(said.clone())).await;
        sent.is_ok() && matches!(within(self.0.next()).await, Some(Ok(heard)) if heard == said)
    }
}
