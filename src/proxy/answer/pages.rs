//! What a person or a program sees when the proxy itself has to answer. Nothing here tells where a target is.

use std::fmt::Write as _;

use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Response, StatusCode};

use crate::proxy::{Body, Fields};

/// A problem, told in the form that the client asked for.
pub(crate) fn page(status: StatusCode, why: &'static str, fields: &Fields) -> Response<Body> {
    if prefers_json(fields) {
        json(status, why)
    } else {
        whole(status, "text/html; charset=utf-8", html(status, why))
    }
}

/// A refusal that programs understand.
pub(crate) fn refused(status: StatusCode, why: &'static str) -> Response<Body> {
    let mut response = json(status, why);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Sends a browser to another address of this host, with this cookie.
pub(crate) fn moved(to: &str, cookie: Option<String>) -> Response<Body> {
    let mut response = whole(StatusCode::FOUND, "text/plain; charset=utf-8", String::new());
    let headers = response.headers_mut();
    // Paths and queries of valid requests are valid here, and so are our cookies.
    if let Ok(to) = HeaderValue::try_from(to) {
        headers.insert(LOCATION, to);
    }
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        headers.insert(SET_COOKIE, cookie);
    }
    // What brought the browser here may be a secret.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A path as the value of a query.
pub(crate) fn quoted(path: &str) -> String {
    let mut text = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn json(status: StatusCode, why: &'static str) -> Response<Body> {
    let body = serde_json::json!({ "status": status.as_u16(), "error": why });
    whole(status, "application/json", body.to_string())
}

fn whole(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::whole(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("3"));
    }
    response
}

/// That the proxy runs.
pub(crate) fn healthy() -> Response<Body> {
    let mut response = Response::new(Body::whole(r#"{"status":"OK"}"#));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// True if a page is accepted: browsers ask for one when they are to show it.
pub(crate) fn wants_page(fields: &Fields) -> bool {
    let is_page = |kind: &[u8]| {
        kind.split(|&b| b == b';').next().unwrap_or_default().trim_ascii().eq_ignore_ascii_case(b"text/html")
    };
    fields.get_all("accept").any(|value| value.split(|&b| b == b',').any(is_page))
}

/// True if JSON is accepted and no page is: browsers ask for `text/html` first.
fn prefers_json(fields: &Fields) -> bool {
    let mut json = false;
    for value in fields.get_all("accept") {
        for kind in value.split(|&b| b == b',') {
            let kind = kind.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
            if kind.eq_ignore_ascii_case(b"text/html") {
                return json;
            }
            json |= kind.eq_ignore_ascii_case(b"application/json");
        }
    }
    json
}

fn html(status: StatusCode, why: &str) -> String {
    let (refresh, title) = match status {
        StatusCode::SERVICE_UNAVAILABLE => (r#"<meta http-equiv="refresh" content="3">"#, "Not ready"),
        StatusCode::NOT_FOUND => ("", "Nothing here"),
        StatusCode::GATEWAY_TIMEOUT => ("", "No answer"),
        StatusCode::BAD_GATEWAY => ("", "No good answer"),
        _ => ("", "Not served"),
    };
    format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">{refresh}
<meta name="color-scheme" content="light dark"><title>{title}</title><style>
body{{margin:0;min-height:100vh;display:grid;place-items:center;font:1.1rem/1.6 system-ui,sans-serif}}
main{{max-width:32rem;padding:2rem}}h1{{font-size:1.5rem;margin:0 0 .5rem}}p{{margin:0 0 1rem}}small{{opacity:.65}}
</style></head><body><main><h1>{title}</h1><p>{why}</p><small>{code} {reason} &middot; slipway</small></main></body></html>
"#,
        code = status.as_u16(),
        reason = status.canonical_reason().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_ask_for_json_get_it_and_browsers_a_page() {
        let json = |accept: &str| prefers_json(&[("accept", accept)].into_iter().collect());
        assert!(json("application/json"));
        assert!(json("application/json, */*;q=0.1"));
        assert!(json("application/json, text/html;q=0.5"));
        assert!(!json("text/html,application/xhtml+xml,application/json"));
        assert!(!json("*/*"));
        assert!(!prefers_json(&Fields::default()));
    }
}
