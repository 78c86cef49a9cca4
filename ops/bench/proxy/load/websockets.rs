//! Many WebSockets through a proxy: as fast as they echo, or idle.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt, stream};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{quantile, told_to_stop};

/// Handshakes under way at once.
const OPENING: usize = 64;
/// Connections from one address: there are some 28,000 ports for each.
const PER_ADDRESS: usize = 5_000;
/// A keystroke in a terminal is smaller, a kernel's answer larger.
const MESSAGE: usize = 64;

pub type Socket = WebSocketStream<TcpStream>;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    path: String,
    #[arg(long, default_value = "1000")]
    connections: usize,
    /// Of echo; without it the connections are held until SIGTERM
    #[arg(long)]
    seconds: Option<f64>,
}

/// Those of the library hold 128 KB for each connection, which is all the memory there is for 10,000.
pub fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0)
}

pub async fn open(to: SocketAddr, from: IpAddr, path: &str) -> Result<Socket, String> {
    let socket = TcpSocket::new_v4().unwrap();
    // Else the port is taken for itself, until a minute after the end: nobody else connects from it, the proxy neither.
    setsockopt(&socket, IpBindAddressNoPort, &true).map_err(|error| format!("port: {error}"))?;
    socket.bind((from, 0).into()).map_err(|error| format!("bind: {error}"))?;
    let stream = socket.connect(to).await.map_err(|error| format!("connect: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let url = format!("ws://{to}{path}");
    let opened = client_async_with_config(url, stream, Some(small_buffers())).await;
    opened.map(|(socket, _)| socket).map_err(|error| error.to_string())
}

/// The loopback address that the connection of this number comes from.
fn source(number: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, 2 + (number / PER_ADDRESS) as u8).into()
}

pub async fn run(options: Options) -> Value {
    let Options { to, path, connections, seconds } = options;
    let opening = (0..connections).map(|number| open(to, source(number), &path));
    let opened: Vec<_> = stream::iter(opening).buffer_unordered(OPENING).collect().await;
    let (sockets, failed): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    let sockets: Vec<Socket> = sockets.into_iter().map(Result::unwrap).collect();
    let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
    let mut report = json!({ "opened": sockets.len(), "refused": failed.len(), "why": failed.first() });
    if let Some(seconds) = seconds {
        let (messages, took, mut times, broken) = echo(sockets, Duration::from_secs_f64(seconds)).await;
        report["per_second"] = json!(messages as f64 / took.as_secs_f64());
        report["messages"] = json!(messages);
        report["p99_ms"] = json!(quantile(&mut times, 0.99));
        report["broken"] = json!(broken);
    } else {
        println!("{report}");
        report["broken"] = json!(hold(sockets).await);
    }
    report
}

/// Each connection sends its next message when the last has come back.
async fn echo(sockets: Vec<Socket>, during: Duration) -> (usize, Duration, Vec<Duration>, usize) {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for mut socket in sockets {
        tasks.spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < during {
                let sent = Instant::now();
                match echo_once(&mut socket).await {
                    Ok(()) => times.push(sent.elapsed()),
                    Err(_) => return (times, true),
                }
            }
            (times, false)
        });
    }
    let (mut all, mut broken) = (Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (times, broke) = done.unwrap();
        all.extend(times);
        broken += usize::from(broke);
    }
    (all.len(), began.elapsed(), all, broken)
}

/// Sends a message and waits until it is back; what the proxy pings meanwhile is answered by the library.
pub async fn echo_once(socket: &mut Socket) -> Result<(), String> {
    socket.send(Message::binary(vec![7; MESSAGE])).await.map_err(|error| error.to_string())?;
    loop {
        match socket.next().await {
            Some(Ok(message)) if message.is_binary() => return Ok(()),
            Some(Ok(message)) if message.is_close() => return Err("closed".into()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("ended".into()),
        }
    }
}

/// Reads, so that pings are answered, until told to stop; how many broke meanwhile.
async fn hold(sockets: Vec<Socket>) -> usize {
    let mut tasks = JoinSet::new();
    for mut socket in sockets {
        tasks.spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
    }
    let open = tasks.len();
    tokio::select! {
        () = told_to_stop() => {}
        () = async { while tasks.join_next().await.is_some() {} } => {}
    }
    open - tasks.len()
}
