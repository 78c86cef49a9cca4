//! A browser that keeps its cookie, or a program with its token.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;
use warp::http::{HeaderMap, Method, Request, Response, StatusCode};

/// Longer than any answer takes, shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub struct Client {
    pooled: Pooled<HttpConnector, Full<Bytes>>,
    server: SocketAddr,
    headers: Vec<(String, String)>,
}

impl Client {
    pub fn new(server: SocketAddr) -> Self {
        Self { pooled: Pooled::builder(TokioExecutor::new()).build_http(), server, headers: vec![] }
    }

    /// The same one, which sends this header along from now on.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.retain(|(known, _)| known != name);
        other.headers.push((name.to_owned(), value.to_owned()));
        other
    }

    pub fn bearer(&self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// As a browser that has opened the page.
    pub async fn known(&self) -> Self {
        self.keeping(&self.get("/api/session").await)
    }

    /// With the cookie of this answer.
    pub fn keeping(&self, answer: &Answer) -> Self {
        let line = answer.header("set-cookie").expect("the answer sets a cookie");
        self.with("cookie", line.split(';').next().expect("a cookie has a value"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body.to_string())).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body.to_string())).await
    }

    /// With a body that is declared to be JSON, whatever it is.
    pub async fn send(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        let response = self.open(method, path, body).await;
        let (parts, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.expect("the answer ends");
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.expect("the answer is whole").to_bytes(),
        }
    }

    /// The answer's head, and its body to be read.
    pub async fn open(&self, method: Method, path: &str, body: Option<String>) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.server));
        let declared = self.headers.iter().any(|(name, _)| name == "content-type");
        if body.is_some() && !declared {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(body.unwrap_or_default())).expect("a valid request");
        timeout(PATIENCE, self.pooled.request(request)).await.expect("an answer in time").expect("an answer")
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header in ASCII"))
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// A refusal in the one shape that all have.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        let body = answer.json();
        assert_eq!(body["error"]["code"], code, "{body}");
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
        let detail = body["error"].as_object().expect("an object");
        assert_eq!(detail.keys().collect::<Vec<_>>(), ["action", "code", "message"]);
        assert!(detail.values().all(|text| text.as_str().is_some_and(|text| !text.is_empty())), "{body}");
        answer
    }

    #[track_caller]
    pub fn id(&self) -> String {
        self.json()["id"].as_str().expect("the answer is a cluster").to_owned()
    }
}
