//! The answers to requests that reach no target: made by another server, from files, or plain.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use crate::error_chain::chain;
use crate::proxy::{Body, ClientTls, Page, Pages, RequestHead, Trouble, Upstream, fetch};

/// Nobody waits longer for a page that says that something went wrong, nor for more bytes of it.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_PAGE: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) enum ErrorPages {
    /// Asked for `/CODE?url=…`.
    Target {
        upstream: Upstream,
        tls: Arc<ClientTls>,
    },
    /// Holds `CODE.html` or `error.html`.
    Folder(PathBuf),
    Plain,
}

impl Pages for ErrorPages {
    fn page<'a>(&'a self, trouble: Trouble<'a>) -> Page<'a> {
        Box::pin(async move {
            let status = shown(trouble.status);
            tracing::warn!("{} {} {}", status.as_u16(), trouble.request.method, trouble.request.uri.path());
            if trouble.upgrade {
                return answer(status, None, "");
            }
            // A request that is no valid one is nobody's to explain but ours.
            let ours = status.is_client_error() && status != StatusCode::NOT_FOUND;
            match self {
                Self::Target { upstream, tls } if !ours => {
                    from_target(upstream, tls, status, trouble.request).await
                }
                Self::Folder(folder) if !ours => from_folder(folder, status).await,
                Self::Target { .. } | Self::Folder(_) | Self::Plain => None,
            }
            .unwrap_or_else(|| plain(status, trouble.why))
        })
    }
}

/// A target that is silent or speaks nonsense is away, to whom configurable-http-proxy is known.
fn shown(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => StatusCode::SERVICE_UNAVAILABLE,
        other => other,
    }
}

async fn from_target(
    upstream: &Upstream,
    tls: &ClientTls,
    status: StatusCode,
    request: &RequestHead,
) -> Option<Response<Body>> {
    let url = request.uri.path_and_query().map_or("/", |url| url.as_str());
    let query = serde_urlencoded::to_string([("url", url)]).ok()?;
    let path = format!("/{}?{query}", status.as_u16());
    let fetched = tokio::time::timeout(PATIENCE, fetch(upstream, Some(tls), &path, LONGEST_PAGE)).await;
    match fetched.unwrap_or_else(|_elapsed| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(page) => {
            let (head, body) = page.into_parts();
            let mut page = answer(status, None, body);
            for name in [CONTENT_TYPE, CONTENT_ENCODING] {
                if let Some(value) = head.headers.get(&name) {
                    page.headers_mut().insert(name, value.clone());
                }
            }
            Some(page)
        }
        Err(error) => {
            tracing::error!(target = %upstream, error = %chain(&error), "cannot get the page for an error");
            None
        }
    }
}

async fn from_folder(folder: &Path, status: StatusCode) -> Option<Response<Body>> {
    for name in [format!("{}.html", status.as_u16()), "error.html".to_owned()] {
        match tokio::fs::read(folder.join(&name)).await {
            Ok(page) => return Some(answer(status, Some("text/html"), page)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "cannot read {name} of --error-path"),
        }
    }
    None
}

fn plain(status: StatusCode, why: &str) -> Response<Body> {
    let reason = status.canonical_reason().unwrap_or("Error");
    let why = match status {
        StatusCode::NOT_FOUND => "No route leads from this address to a server.",
        StatusCode::SERVICE_UNAVAILABLE => "The server behind this address does not answer.",
        _ => why,
    };
    let code = status.as_u16();
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{code}: {reason}</title></head>\n\
         <body><h1>{code}: {reason}</h1><p>{why}</p></body></html>\n"
    );
    answer(status, Some("text/html; charset=utf-8"), page)
}

fn answer(status: StatusCode, kind: Option<&'static str>, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::whole(body));
    *answer.status_mut() = status;
    if let Some(kind) = kind {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    answer
}
