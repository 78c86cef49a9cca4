//! Sends those who came by HTTP to HTTPS.

use http::header::{HOST, LOCATION};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;

use super::serve::{Answer, Service, empty, text};

#[derive(Debug)]
pub(super) struct ToHttps {
    pub port: u16,
}

impl Service for ToHttps {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        match self.location(host, path) {
            Some(location) => {
                let mut answer = empty(StatusCode::MOVED_PERMANENTLY);
                answer.headers_mut().insert(LOCATION, location);
                answer
            }
            None => text(
                StatusCode::BAD_REQUEST,
                format!("This server speaks HTTPS on port {}, and the request names no host.", self.port),
            ),
        }
    }
}

impl ToHttps {
    fn location(&self, host: &str, path: &str) -> Option<HeaderValue> {
        let end = host.rfind(']').map_or(0, |end| end + 1);
        let name = host[end..].find(':').map_or(host, |colon| &host[..end + colon]);
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'[' | b']' | b':');
        if name.is_empty() || !name.bytes().all(plain) || !path.starts_with('/') {
            return None;
        }
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        HeaderValue::try_from(format!("https://{name}{port}{path}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_kept_and_the_port_replaced() {
        let to = |port, host, path| {
            ToHttps { port }.location(host, path).map(|value| value.to_str().expect("text").to_owned())
        };
        assert_eq!(to(443, "hub.example:80", "/a?b").as_deref(), Some("https://hub.example/a?b"));
        assert_eq!(to(8443, "hub", "/").as_deref(), Some("https://hub:8443/"));
        assert_eq!(to(8443, "[::1]:80", "/").as_deref(), Some("https://[::1]:8443/"));
        for (host, path) in [("", "/"), (":80", "/"), ("a/b", "/"), ("a b", "/"), ("a@b", "/"), ("a", "*")] {
            assert_eq!(to(443, host, path), None, "{host} {path}");
        }
    }
}
