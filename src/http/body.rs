//! JSON bodies: bounded, strict, and with a clear reason when refused.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, pin_mut};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use warp::http::{HeaderMap, StatusCode, header};
use warp::{Filter, Rejection};

use super::problem::Problem;

/// The largest body taken, in bytes. The largest sensible launch is a tenth of it.
pub(super) const MOST: usize = 64 * 1024;

/// The body, or why it was not taken.
pub(super) fn bytes() -> impl Filter<Extract = (Result<Bytes, Problem>,), Error = Rejection> + Clone {
    warp::body::stream().then(collect)
}

async fn collect(stream: impl Stream<Item = Result<impl Buf, warp::Error>>) -> Result<Bytes, Problem> {
    pin_mut!(stream);
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "broken_body", "The request's body broke off")
                .action("Send it again")
        })?;
        if body.len() + chunk.remaining() > MOST {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("The body is larger than {MOST} bytes"),
            )
            .action("Send a smaller one"));
        }
        body.put(chunk);
    }
    Ok(body.freeze())
}

/// Parses a body of the declared type `application/json`.
///
/// That type is asked for because a foreign site cannot make a browser send it without our consent.
pub(super) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            format!("The body is declared as {essence:?}"),
        )
        .action("Send JSON with the header Content-Type: application/json"));
    }
    // A struct would also be read from a list of its fields' values: `[]` would launch a cluster.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let parsed = if is_object {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice::<IgnoredAny>(body).and_then(|_| Err(serde_json::Error::custom("it is no object")))
    };
    parsed.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_field",
            format!("The body is not valid: {error}"),
        )
        .action("Correct it and send the request again"),
        _ => Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("The body is not JSON: {error}"))
            .action("Correct it and send the request again"),
    })
}
