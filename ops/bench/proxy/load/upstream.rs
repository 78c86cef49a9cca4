//! Stands for a cluster, under any path: `…/bytes/N` is a body of N bytes, `…/slow` takes 100 ms, an upgrade is an
//! echo, all else is 1 KB. A body that is sent is read and counted.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::websockets::small_buffers;

static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
const SLOW: Duration = Duration::from_millis(100);

type Answer = Response<BoxBody<Bytes, Infallible>>;

pub async fn serve(listener: TcpListener) {
    loop {
        // What is left of a connection that broke is an error of the next accept, and no reason to end.
        let Ok((stream, _)) = listener.accept().await else { continue };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        tokio::spawn(
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).with_upgrades(),
        );
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    if let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) {
        let accept = derive_accept_key(key.as_bytes());
        tokio::spawn(echo(hyper::upgrade::on(&mut request)));
        let head = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_ACCEPT, accept);
        return Ok(head.body(full(Bytes::new())).unwrap());
    }
    if request.method() != Method::GET {
        let mut received = 0;
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            received += frame?.data_ref().map_or(0, Bytes::len);
        }
        return Ok(Response::new(full(received.to_string().into())));
    }
    let mut segments = request.uri().path().rsplit('/');
    match (segments.next(), segments.next()) {
        (Some(count), Some("bytes")) => Ok(large(count.parse().unwrap())),
        (Some("slow"), _) => {
            tokio::time::sleep(SLOW).await;
            Ok(one_kilobyte())
        }
        _ => Ok(one_kilobyte()),
    }
}

fn full(bytes: Bytes) -> BoxBody<Bytes, Infallible> {
    Full::new(bytes).boxed()
}

fn one_kilobyte() -> Answer {
    Response::new(full(Bytes::from_static(&CHUNK[..1024])))
}

fn large(count: usize) -> Answer {
    let chunks = stream::iter((0..count).step_by(CHUNK.len())).map(move |from| {
        let chunk = &CHUNK[..CHUNK.len().min(count - from)];
        Ok(Frame::data(Bytes::from_static(chunk)))
    });
    Response::builder().header(CONTENT_LENGTH, count).body(BoxBody::new(StreamBody::new(chunks))).unwrap()
}

async fn echo(upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(small_buffers())).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}
