//! What a person or a program sees when the proxy itself has to answer. Nothing here tells where a target is.

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::Body;

/// A problem, told in the form that the client asked for.
pub(super) fn page(status: StatusCode, why: &'static str, headers: &HeaderMap) -> Response<Body> {
    let (kind, text) = if prefers_json(headers) {
        let body = serde_json::json!({ "status": status.as_u16(), "error": why });
        ("application/json", body.to_string())
    } else {
        ("text/html; charset=utf-8", html(status, why))
    };
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
pub(super) fn healthy() -> Response<Body> {
    let mut response = Response::new(Body::whole(r#"{"status":"OK"}"#));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// True if JSON is accepted and no page is: browsers ask for `text/html` first.
fn prefers_json(headers: &HeaderMap) -> bool {
    let mut json = false;
    for value in headers.get_all(ACCEPT) {
        for kind in value.as_bytes().split(|&b| b == b',') {
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
        let json = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().expect("a value"));
            prefers_json(&headers)
        };
        assert!(json("application/json"));
        assert!(json("application/json, */*;q=0.1"));
        assert!(json("application/json, text/html;q=0.5"));
        assert!(!json("text/html,application/xhtml+xml,application/json"));
        assert!(!json("*/*"));
        assert!(!prefers_json(&HeaderMap::new()));
    }
}
