//! The REST API: `/api/routes`, as JupyterHub's proxy class and everything written for configurable-http-proxy
//! speaks it.

use std::sync::Arc;

use http::header::{ALLOW, AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value};

use super::book::{Book, Refused};
use super::metrics::Tally;
use super::serve::{Answer, Service, empty, text, with_type};
use crate::domain::{Invalid, RoutePath};
use crate::proxy::admin::inactive_since;
use crate::proxy::decoded;
use crate::secret::Secret;

/// The longest body of a POST, in bytes: JupyterHub's have some two hundred.
const LONGEST_BODY: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Api {
    book: Arc<Book>,
    token: Option<Secret>,
    pub tally: Tally,
}

impl Service for Api {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = self.route(request).await;
        self.tally.answered(answer.status());
        tracing::info!("{} {method} {path}", answer.status().as_u16());
        answer
    }
}

impl Api {
    pub(super) fn new(book: Arc<Book>, token: Option<&str>) -> Self {
        Self { book, token: token.map(Secret::new), tally: Tally::default() }
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let wanted = request.uri().path().strip_prefix("/api/routes");
        let Some(wanted) = wanted.filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            return text(StatusCode::NOT_FOUND, "Not Found");
        };
        let method = request.method();
        if !matches!(*method, Method::GET | Method::POST | Method::DELETE) {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "Method not supported");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
            return refusal;
        }
        if !self.allows(request.headers()) {
            return empty(StatusCode::FORBIDDEN);
        }
        if *method == Method::DELETE && wanted.is_empty() {
            return text(StatusCode::BAD_REQUEST, "Name the route: DELETE /api/routes/<path>");
        }
        let path = match route_path(wanted) {
            Ok(path) => path,
            Err(why) => return text(StatusCode::BAD_REQUEST, why),
        };
        self.tally.served(method);
        match *method {
            Method::GET if path.as_str() == "/" => self.list(request.uri().query().unwrap_or_default()),
            Method::GET => match self.book.get(&path) {
                Some(route) => json(&route),
                None => empty(StatusCode::NOT_FOUND),
            },
            Method::POST => self.post(path, request.into_body()).await,
            _ => match self.book.delete(path).await {
                Ok(true) => empty(StatusCode::NO_CONTENT),
                Ok(false) => empty(StatusCode::NOT_FOUND),
                Err(why) => refusal(&why),
            },
        }
    }

    /// The scheme may stand anywhere in the header: that is how it has always been read.
    fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let given = value.match_indices("token").find_map(|(at, scheme)| {
            let rest = &value[at + scheme.len()..];
            let given = rest.trim_start();
            (given.len() < rest.len()).then(|| given.split_whitespace().next()).flatten()
        });
        given.is_some_and(|given| token.is(given))
    }

    fn list(&self, query: &str) -> Answer {
        match inactive_since(query) {
            Ok(since) => json(&self.book.list(since).into()),
            Err(given) => text(StatusCode::BAD_REQUEST, format!("Invalid datestamp '{given}' must be ISO8601.")),
        }
    }

    async fn post(&self, path: RoutePath, body: Incoming) -> Answer {
        let body = match Limited::new(body, LONGEST_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return text(StatusCode::PAYLOAD_TOO_LARGE, "The body has more than 64 KiB");
            }
            Err(_) => return text(StatusCode::BAD_REQUEST, "The body could not be read"),
        };
        let data = match serde_json::from_slice(&body) {
            Ok(Value::Object(data)) => data,
            Ok(_) => Map::new(),
            Err(error) => {
                return text(StatusCode::BAD_REQUEST, format!("Body not valid JSON: SyntaxError: {error}"));
            }
        };
        match self.book.post(path, data).await {
            Ok(()) => empty(StatusCode::CREATED),
            Err(why) => refusal(&why),
        }
    }
}

/// What follows `/api/routes`, decoded.
fn route_path(raw: &str) -> Result<RoutePath, String> {
    let decoded = decoded(raw).ok_or("The path has a % that stands for no character")?;
    decoded.parse().map_err(|why: Invalid| why.to_string())
}

fn refusal(why: &Refused) -> Answer {
    let status = match why {
        Refused::NoTarget | Refused::BadTarget { .. } | Refused::Nul => StatusCode::BAD_REQUEST,
        Refused::NotRecorded => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, why.to_string())
}

fn json(value: &Value) -> Answer {
    with_type(StatusCode::OK, "application/json", value.to_string())
}
