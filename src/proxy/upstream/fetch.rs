//! One small page from another server.

use std::io;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HOST};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::proxy::upstream::Stream;
use crate::proxy::{ClientTls, Upstream};

/// Asks for `path`, which begins with a slash, below the upstream's own. The answer's body has at most `most`
/// bytes. How long it may take is for the caller to say.
///
/// # Errors
/// When the server is not reached, its answer is no HTTP, or its body is longer.
pub async fn fetch(
    upstream: &Upstream,
    tls: Option<&ClientTls>,
    path: &str,
    most: usize,
) -> io::Result<Response<Bytes>> {
    let stream = Stream::open(&upstream.target, tls).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get(format!("{}{path}", upstream.base))
        .header(HOST, &*upstream.authority)
        // Whoever the page is for has not said which other encodings it reads.
        .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let answered = async {
        let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, most).collect().await.map_err(io::Error::other)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    // The connection ends with the answer: whatever becomes of it then is told by the answer.
    let driven = async {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a fetch ended early");
        }
        std::future::pending().await
    };
    tokio::select! {
        answer = answered => answer,
        never = driven => never,
    }
}
