//! An HTTP client that keeps its cookie, as a browser of its own would, or has a bearer token.

use std::sync::Mutex;

use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

pub struct Client {
    base: String,
    /// The header that says who asks.
    identity: Mutex<Option<(&'static str, String)>>,
    pool: Pool<HttpConnector, Full<bytes::Bytes>>,
}

pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text))
    }
}

impl Client {
    /// Of a server like `http://127.0.0.1:8000`.
    pub fn new(base: &str) -> Self {
        let pool = Pool::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { base: base.to_owned(), identity: Mutex::new(None), pool }
    }

    /// As whoever has this `cookie` or `authorization`.
    pub fn identified(base: &str, header: &'static str, value: String) -> Self {
        Self { identity: Mutex::new(Some((header, value))), ..Self::new(base) }
    }

    /// `None` when nobody answers.
    pub async fn try_send(&self, method: &str, path: &str, key: Option<&str>, body: &str) -> Option<Answer> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some((header, value)) = &*self.identity.lock().expect("no panic under the lock") {
            request = request.header(*header, value);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::from(body.to_owned())).expect("a valid request");
        let response = self.pool.request(request).await.ok()?;
        let status = response.status().as_u16();
        let cookie = response.headers().get("set-cookie").and_then(|value| value.to_str().ok());
        // Not a notebook's: those have paths of their own.
        if let Some(cookie) = cookie.filter(|cookie| cookie.starts_with("slipway=")) {
            let pair = cookie.split(';').next().map(|pair| ("cookie", pair.to_owned()));
            *self.identity.lock().expect("no panic under the lock") = pair;
        }
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some(Answer { status, text: String::from_utf8_lossy(&body).into_owned() })
    }

    pub async fn send(&self, method: &str, path: &str, key: Option<&str>, body: &str) -> Answer {
        let answer = self.try_send(method, path, key, body).await;
        answer.unwrap_or_else(|| panic!("no answer to {method} {}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, "").await
    }
}
