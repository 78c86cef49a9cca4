//! The admin API of configurable-http-proxy, as far as it reads: which routes there are, and when each was
//! last used. Routes come from the log and are not changed here.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::metrics;
use crate::exposition;
use crate::proxy::listen::accept::pause_after;
use crate::proxy::request::path::decode;
use crate::proxy::{Entry, Phase, Proxy};
use crate::secret::Secret;

const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers are small: whoever has not taken one by then gets no more of it after a shutdown.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves the API until `shutdown` resolves. With a token, only to those that send it as
/// `Authorization: token …` or `Bearer …`; `/healthz` (the process answers), `/readyz` (requests should be sent
/// here) and `/metrics` are open to all.
pub async fn serve_admin(
    listener: TcpListener,
    proxy: Arc<Proxy>,
    token: Option<String>,
    shutdown: impl Future<Output = ()>,
) {
    let token = token.as_deref().map(Secret::new);
    let api = Arc::new(Api { proxy, token });
    let mut tasks = JoinSet::new();
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let api = Arc::clone(&api);
                    let service = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(api.answer(&request))));
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), service);
                    let connection = graceful.watch(connection);
                    tasks.spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%peer, %error, "an admin connection ended early");
                        }
                    });
                }
                Err(error) => pause_after(&error).await,
            },
            Some(_) = tasks.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    // What is being answered takes no time.
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tasks.shutdown().await;
    }
}

#[derive(Debug)]
struct Api {
    proxy: Arc<Proxy>,
    token: Option<Secret>,
}

impl Api {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        match path {
            "/healthz" => return read_only(request, || text(StatusCode::OK, "ok\n".into())),
            "/readyz" => return read_only(request, || ready(self.proxy.standing.phase())),
            "/metrics" => return read_only(request, || metrics(&self.proxy)),
            _ => {}
        }
        let Some(wanted) =
            path.strip_prefix("/api/routes").filter(|rest| rest.is_empty() || rest.starts_with('/'))
        else {
            return text(StatusCode::NOT_FOUND, "Not Found\n".into());
        };
        if !self.allows(request.headers()) {
            return text(StatusCode::FORBIDDEN, String::new());
        }
        read_only(request, || match wanted.trim_end_matches('/') {
            "" => self.list(request.uri().query().unwrap_or_default()),
            one => self.one(one),
        })
    }

    fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|value| {
            let blank = value.iter().position(|&b| b == b' ')?;
            let (scheme, given) = value.split_at(blank);
            let known = scheme.eq_ignore_ascii_case(b"token") || scheme.eq_ignore_ascii_case(b"bearer");
            known.then(|| given.trim_ascii())
        });
        given.is_some_and(|given| token.is(given))
    }

    fn list(&self, query: &str) -> Response<Full<Bytes>> {
        let before = match inactive_since(query) {
            Ok(before) => before,
            Err(given) => {
                let why = format!("Invalid datestamp '{given}' must be ISO8601.\n");
                return text(StatusCode::BAD_REQUEST, why);
            }
        };
        let wanted = |entry: &Arc<Entry>| before.is_none_or(|before| entry.last_activity() < before);
        let listed: serde_json::Map<_, _> = self
            .proxy
            .routes
            .list()
            .iter()
            .filter(|entry| wanted(entry))
            .map(|entry| (entry.path().to_string(), shown(entry)))
            .collect();
        json(&listed.into())
    }

    fn one(&self, path: &str) -> Response<Full<Bytes>> {
        let entry = decode(path.as_bytes())
            .and_then(|path| String::from_utf8(path).ok())
            .and_then(|path| self.proxy.routes.get(&path));
        match entry {
            Some(entry) => json(&shown(&entry)),
            None => text(StatusCode::NOT_FOUND, String::new()),
        }
    }
}

fn ready(phase: Phase) -> Response<Full<Bytes>> {
    match phase {
        Phase::Serving => text(StatusCode::OK, "ok\n".into()),
        Phase::Loading => text(StatusCode::SERVICE_UNAVAILABLE, "the routes are not loaded yet\n".into()),
        Phase::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".into()),
    }
}

fn metrics(proxy: &Proxy) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, metrics::text(proxy));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(exposition::CONTENT_TYPE));
    response
}

fn shown(entry: &Entry) -> serde_json::Value {
    serde_json::json!({
        "target": entry.upstream().to_string(),
        "last_activity": entry.last_activity().to_rfc3339_opts(SecondsFormat::Millis, true),
    })
}

/// The time that the query asks for, if any.
///
/// # Errors
/// With the text that is none, without control characters and of at most 80 characters.
pub fn inactive_since(query: &str) -> Result<Option<DateTime<Utc>>, String> {
    let value = |wanted: &str| query.split('&').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='));
    let given = |name| value(name).filter(|text| !text.is_empty());
    let Some(raw) = given("inactiveSince").or_else(|| given("inactive_since")) else {
        return Ok(None);
    };
    let given =
        decode(raw.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| raw.into());
    match time(&given) {
        Some(time) => Ok(Some(time)),
        None => Err(given.chars().filter(|c| !c.is_control()).take(80).collect()),
    }
}

/// ISO 8601 with an offset; without one it is UTC, without a time the day's begin.
fn time(text: &str) -> Option<DateTime<Utc>> {
    // In a query a plus sign may have come as a blank.
    let text = text.replacen(' ', "+", usize::from(text.contains('T')));
    DateTime::parse_from_rfc3339(&text)
        .or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .map(|time| time.to_utc())
        .ok()
        .or_else(|| Some(NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok()?.and_utc()))
        .or_else(|| {
            Some(NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_time(chrono::NaiveTime::MIN).and_utc())
        })
}

fn read_only<B>(request: &Request<B>, answer: impl FnOnce() -> Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer();
    }
    let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "Method not supported\n".into());
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    refusal
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClusterId, Engine, Prefix, Route, RouteChange, RoutePath};
    use crate::proxy::Routes;
    use http_body_util::BodyExt;

    fn api(token: Option<&str>) -> Api {
        let routes = Routes::default();
        for (number, at) in [(678_343, "2016-08-23T19:51:43.091Z"), (678_344, "2020-01-01T00:00:00Z")] {
            routes.apply([RouteChange::Put {
                path: RoutePath::of(ClusterId::from_number(number).expect("six digits"), Engine::Notebook),
                route: Route { target: ([10, 20, 1, 17], 8080).into(), prefix: Prefix::Keep },
                since: time(at).expect("a time"),
            }]);
        }
        Api { proxy: Arc::new(Proxy::new(Arc::new(routes), None)), token: token.map(Secret::new) }
    }

    fn ask(api: &Api, method: &str, uri: &str, authorization: Option<&str>) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let answer = api.answer(&request.body(()).expect("a request"));
        let status = answer.status().as_u16();
        let body = futures_util::FutureExt::now_or_never(answer.into_body().collect());
        let bytes = body.expect("ready").expect("infallible").to_bytes();
        (status, String::from_utf8(bytes.to_vec()).expect("text"))
    }

    #[test]
    fn the_list_is_as_configurable_http_proxy_gives_it() {
        let api = api(None);
        let one = r#"{"last_activity":"2016-08-23T19:51:43.091Z","target":"http://10.20.1.17:8080"}"#;
        let other = r#"{"last_activity":"2020-01-01T00:00:00.000Z","target":"http://10.20.1.17:8080"}"#;
        let both = format!(r#"{{"/cluster-678343":{one},"/cluster-678344":{other}}}"#);
        for uri in ["/api/routes", "/api/routes/"] {
            assert_eq!(ask(&api, "GET", uri, None), (200, both.clone()), "{uri}");
        }
        for uri in ["/api/routes/cluster-678343", "/api/routes/cluster%2D678343/"] {
            assert_eq!(ask(&api, "GET", uri, None), (200, one.into()), "{uri}");
        }
        assert_eq!(ask(&api, "GET", "/api/routes/cluster-100000", None).0, 404);
    }

    #[test]
    fn inactive_routes_are_those_strictly_before() {
        let api = api(None);
        let count = |query: &str| {
            let (status, text) = ask(&api, "GET", &format!("/api/routes?{query}"), None);
            (status, text.matches("target").count())
        };
        assert_eq!(count("inactive_since=2016-08-23T19:51:43.091Z"), (200, 0));
        assert_eq!(count("inactiveSince=2016-08-23T19:51:43.092Z"), (200, 1));
        assert_eq!(count("inactive_since=2016-08-23T21%3A51%3A43.092%2B02%3A00"), (200, 1));
        assert_eq!(count("inactive_since=2016-08-23T21:51:43.092+0200"), (200, 1));
        assert_eq!(count("inactive_since=2021-01-01"), (200, 2));
        assert_eq!(count("inactive_since=2019-01-01T00:00:00"), (200, 1));
        let refused = ask(&api, "GET", "/api/routes?inactiveSince=endoftheuniverse", None);
        assert_eq!(refused, (400, "Invalid datestamp 'endoftheuniverse' must be ISO8601.\n".into()));
    }

    #[test]
    fn only_the_token_opens_it() {
        let api = api(Some("secret"));
        for right in ["token secret", "Bearer secret", "bearer  secret "] {
            assert_eq!(ask(&api, "GET", "/api/routes", Some(right)).0, 200, "{right}");
        }
        for wrong in
            [None, Some("token wrong"), Some("secret"), Some("token"), Some("token "), Some("Basic secret")]
        {
            assert_eq!(ask(&api, "GET", "/api/routes", wrong), (403, String::new()), "{wrong:?}");
        }
        for open in ["/healthz", "/metrics"] {
            assert_eq!(ask(&api, "GET", open, None).0, 200, "{open}");
        }
    }

    #[test]
    fn it_is_ready_only_between_loading_and_draining() {
        let api = api(None);
        let ready = || ask(&api, "GET", "/readyz", None).0;
        assert_eq!(ready(), 503);
        api.proxy.standing.enter(Phase::Serving);
        assert_eq!(ready(), 200);
        api.proxy.standing.enter(Phase::Draining);
        assert_eq!(ready(), 503);
        assert_eq!(ask(&api, "GET", "/healthz", None).0, 200, "alive all the while");
    }

    #[test]
    fn it_only_reads() {
        let api = api(None);
        for method in ["POST", "DELETE", "PUT", "PATCH"] {
            assert_eq!(ask(&api, method, "/api/routes/cluster-678343", None).0, 405, "{method}");
        }
        for path in ["/", "/api", "/api/", "/api/routesx", "/metrics/x"] {
            assert_eq!(ask(&api, "GET", path, None).0, 404, "{path}");
        }
    }
}
