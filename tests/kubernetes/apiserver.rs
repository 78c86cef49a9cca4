//! The way from a worker to the API server: counts what is asked, and misbehaves when it is told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpListener;

type AnyBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What becomes of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Through,
    /// Every one is answered so.
    Answer(u16),
    /// Connections are closed without an answer.
    Away,
}

/// Kills a process at one of its writes.
#[derive(Debug, Clone, Copy)]
pub struct Strike {
    /// The number of the write from now on, counted from 0.
    pub at: usize,
    /// After the API server has done it, but before the process is told.
    pub done: bool,
    pub pid: i32,
}

pub struct ApiServer {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    client: Client,
    mode: Mutex<Mode>,
    seen: Mutex<Vec<(Method, String)>>,
    strike: Mutex<Option<Strike>>,
}

impl ApiServer {
    /// In front of the one that the client talks to.
    pub async fn start(client: Client) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State {
            client,
            mode: Mutex::new(Mode::Through),
            seen: Mutex::default(),
            strike: Mutex::default(),
        });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                let serve = service_fn(move |request| forward(state.clone(), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve),
                );
            }
        });
        Self { address, state }
    }

    /// Also cuts what is open, such as watches: they end with the next thing that they would tell.
    pub fn set(&self, mode: Mode) {
        *self.state.mode.lock().expect("no panic under the lock") = mode;
    }

    pub fn strike(&self, strike: Strike) {
        *self.state.strike.lock().expect("no panic under the lock") = Some(strike);
    }

    /// Whether the strike has not come yet.
    pub fn is_armed(&self) -> bool {
        self.state.strike.lock().expect("no panic under the lock").is_some()
    }

    /// What was asked since the last call of this.
    pub fn take(&self) -> Vec<(Method, String)> {
        std::mem::take(&mut *self.state.seen.lock().expect("no panic under the lock"))
    }

    /// A kubeconfig of this way in a file.
    pub fn write_kubeconfig(&self, path: &Path) {
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{ name: c, cluster: {{ server: 'http://{}' }} }}]\n\
             users: [{{ name: u, user: {{}} }}]\ncontexts: [{{ name: x, context: {{ cluster: c, user: u }} }}]\n\
             current-context: x\n",
            self.address
        );
        std::fs::write(path, text).expect("a file");
    }
}

async fn forward(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, Box<dyn std::error::Error + Send + Sync>> {
    let (method, path) = (request.method().clone(), request.uri().to_string());
    state.seen.lock().expect("no panic under the lock").push((method.clone(), path));
    match *state.mode.lock().expect("no panic under the lock") {
        Mode::Through => {}
        Mode::Away => return Err("away".into()),
        Mode::Answer(code) => return Ok(misbehaved(code)),
    }
    let due = method != Method::GET && state.is_due();
    if let Some(strike) = state.struck(due, false) {
        kill(Pid::from_raw(strike.pid), Signal::SIGKILL).expect("it runs");
        return Err("the client is gone".into());
    }
    let (parts, body) = request.into_parts();
    let mut onward =
        Request::builder().method(parts.method).uri(parts.uri.path_and_query().expect("a path").as_str());
    for name in ["content-type", "accept"] {
        if let Some(value) = parts.headers.get(name) {
            onward = onward.header(name, value);
        }
    }
    let body = body.collect().await?.to_bytes();
    let answer = state.client.send(onward.body(Body::from(body.to_vec()))?).await;
    if let Some(strike) = state.struck(due, true) {
        kill(Pid::from_raw(strike.pid), Signal::SIGKILL).expect("it runs");
        return Err("the client is gone".into());
    }
    let (mut head, body) = answer?.into_parts();
    head.headers.remove("transfer-encoding");
    let watched = state.clone();
    let body = body
        .map_frame(|frame| frame)
        .map_err(move |error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>);
    let body = Cut { body, state: watched };
    Ok(Response::from_parts(head, UnsyncBoxBody::new(body)))
}

impl State {
    /// Counts a write; whether it is the one to strike at.
    fn is_due(&self) -> bool {
        let mut strike = self.strike.lock().expect("no panic under the lock");
        match strike.as_mut() {
            Some(Strike { at: 0, .. }) => true,
            Some(strike) => {
                strike.at -= 1;
                false
            }
            None => false,
        }
    }

    fn struck(&self, due: bool, done: bool) -> Option<Strike> {
        let mut strike = self.strike.lock().expect("no panic under the lock");
        strike.take_if(|strike| due && strike.done == done)
    }
}

fn misbehaved(code: u16) -> Response<AnyBody> {
    let status = StatusCode::from_u16(code).expect("a status");
    let text = format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"told to","reason":"{}","code":{code}}}"#,
        status.canonical_reason().unwrap_or_default()
    );
    let body = Full::from(text).map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
    response
}

/// A body that breaks off once the server is away.
struct Cut<B> {
    body: B,
    state: Arc<State>,
}

impl<B: hyper::body::Body<Error = Box<dyn std::error::Error + Send + Sync>> + Unpin> hyper::body::Body for Cut<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        let polled = std::pin::Pin::new(&mut self.body).poll_frame(context);
        let away = *self.state.mode.lock().expect("no panic under the lock") != Mode::Through;
        if away && polled.is_ready() { std::task::Poll::Ready(Some(Err("away".into()))) } else { polled }
    }
}
