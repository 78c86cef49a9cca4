//! A class that clicks: one connection each, and at once all requests sent before the first is answered.

use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until};

use super::{Launch, Routed};

/// Between two looks at a proxy's routes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

struct Client {
    address: SocketAddr,
    token: Option<String>,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    async fn connect(address: SocketAddr, token: Option<String>) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { address, token, sender }
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), String> {
        let mut request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("token {token}"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.header("content-type", "application/json").body(Full::from(body)).unwrap();
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

async fn connect_all(address: SocketAddr, token: Option<&str>, count: usize) -> Vec<Client> {
    let token = token.map(str::to_owned);
    join_all((0..count).map(|_| Client::connect(address, token.clone()))).await
}

/// When each is to click.
fn turns(count: usize, over: Duration) -> impl Iterator<Item = Instant> {
    let began = Instant::now();
    (0..count).map(move |number| began + over.mul_f64(number as f64 / count as f64))
}

/// When it is its turn, which is when it was to come, however late the machine is.
async fn its(turn: Instant) -> Instant {
    sleep_until(turn.into()).await;
    turn
}

/// Each browser is a new one, and so a student of its own.
pub async fn slipway(proxy: SocketAddr, count: usize, over: Duration, workers: usize) -> Vec<Launch> {
    let clients = connect_all(proxy, None, count).await.into_iter().zip(turns(count, over));
    let clicks = clients.map(|(mut client, turn)| {
        tokio::spawn(async move {
            let clicked = its(turn).await;
            let answer = client.ask(Method::POST, "/api/clusters", Some(json!({ "workers": workers }))).await;
            let (key, refused) = match answer {
                Ok((StatusCode::ACCEPTED, cluster)) => (cluster["id"].as_str().unwrap().to_owned(), None),
                Ok((status, body)) => (String::new(), Some(format!("{status} {body}"))),
                Err(error) => (String::new(), Some(error)),
            };
            Launch { key, clicked, answered: Instant::now(), refused }
        })
    });
    join_all(clicks.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect()
}

/// The users exist already; none has a server.
pub async fn hub(hub: SocketAddr, token: &str, count: usize, over: Duration) -> Vec<Launch> {
    let clients = connect_all(hub, Some(token), count).await.into_iter().zip(turns(count, over)).enumerate();
    let clicks = clients.map(|(number, (mut client, turn))| {
        tokio::spawn(async move {
            let key = format!("u{number:03}");
            let clicked = its(turn).await;
            let answer = client.ask(Method::POST, &format!("/hub/api/users/{key}/server"), None).await;
            let refused = match answer {
                Ok((StatusCode::CREATED | StatusCode::ACCEPTED, _)) => None,
                Ok((status, body)) => Some(format!("{status} {body}")),
                Err(error) => Some(error),
            };
            Launch { key, clicked, answered: Instant::now(), refused }
        })
    });
    join_all(clicks.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect()
}

/// Notes when each route is listed first, by one segment of its path.
pub async fn poll_routes(address: SocketAddr, token: Option<String>, segment: usize, routed: Routed) {
    let mut client = Client::connect(address, token).await;
    loop {
        let (status, routes) = client.ask(Method::GET, "/api/routes", None).await.unwrap();
        assert_eq!(status, StatusCode::OK, "the routes can be read");
        for path in routes.as_object().unwrap().keys() {
            if let Some(name) = path.trim_start_matches('/').split('/').nth(segment)
                && let Entry::Vacant(entry) = routed.lock().unwrap().entry(name.to_owned())
            {
                entry.insert(Instant::now());
            }
        }
        sleep(LOOK_EVERY).await;
    }
}
