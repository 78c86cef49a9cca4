//! A student at a notebook: starts a kernel through Jupyter's API and runs cells over its WebSocket.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use slipway::domain::{ClusterId, Endpoint, Engine};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub struct Kernel {
    pub id: String,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    cells: u32,
}

impl Kernel {
    pub async fn start(id: ClusterId, endpoint: &Endpoint, token: &str) -> Self {
        let place = SocketAddr::new(endpoint.address, endpoint.ports[&Engine::Notebook]);
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
        let request = http::Request::post(format!("http://{place}/{id}/api/kernels"))
            .header("authorization", format!("token {token}"))
            .body(Full::from("{}"))
            .expect("a valid request");
        let response = client.request(request).await.expect("Jupyter answers");
        assert_eq!(response.status(), 201);
        let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
        let kernel: Value = serde_json::from_slice(&body).expect("JSON");
        let kernel = kernel["id"].as_str().expect("a kernel has an id");
        Self::connect(id, place, token, kernel).await
    }

    /// To a kernel that runs already.
    pub async fn connect(id: ClusterId, place: SocketAddr, token: &str, kernel: &str) -> Self {
        Self::at(&format!("{place}/{id}"), token, kernel).await
    }

    /// To one of the server at this place and path.
    pub async fn at(server: &str, token: &str, kernel: &str) -> Self {
        let address = format!("ws://{server}/api/kernels/{kernel}/channels");
        let mut request = address.into_client_request().expect("a valid address");
        let authorization = format!("token {token}").parse().expect("a valid header");
        request.headers_mut().insert("authorization", authorization);
        let (socket, _) = connect_async(request).await.expect("the kernel's WebSocket opens");
        Self { id: kernel.to_owned(), socket, cells: 0 }
    }

    /// Sends a cell without waiting for it.
    pub async fn begin(&mut self, code: &str) -> String {
        self.cells += 1;
        let id = format!("cell-{}", self.cells);
        let message = json!({
            "header": { "msg_id": id, "msg_type": "execute_request", "username": "", "session": "test",
                        "date": "2026-01-01T00:00:00Z", "version": "5.3" },
            "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
            "content": { "code": code, "silent": false, "store_history": true, "user_expressions": {},
                         "allow_stdin": false, "stop_on_error": true },
        });
        self.socket.send(Message::text(message.to_string())).await.expect("the WebSocket is open");
        id
    }

    /// What the cell printed, once it is done.
    pub async fn finish(&mut self, cell: &str) -> String {
        let mut printed = String::new();
        loop {
            let message = self.socket.next().await.expect("the WebSocket stays open").expect("a whole message");
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["parent_header"]["msg_id"] != cell {
                continue;
            }
            let content = &message["content"];
            match message["msg_type"].as_str() {
                Some("stream") if content["name"] == "stdout" => {
                    printed.push_str(content["text"].as_str().unwrap_or_default());
                }
                Some("error") => panic!("the cell failed: {} {}", content["ename"], content["evalue"]),
                // Output may come after the reply, but never after this.
                Some("status") if content["execution_state"] == "idle" => return printed.trim().to_owned(),
                _ => {}
            }
        }
    }

    pub async fn run(&mut self, code: &str) -> String {
        let cell = self.begin(code).await;
        self.finish(&cell).await
    }
}
