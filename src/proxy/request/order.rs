//! A request that may go on: nothing about it is in doubt.

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;

use super::vet::{self, Refusal, Vetted};
use crate::proxy::Body;
use crate::proxy::answer::pages;
use crate::proxy::door::stay::Stay;

/// What a target is to be asked.
#[derive(Debug)]
pub(crate) struct Order {
    pub parts: Parts,
    /// Until it is sent.
    pub body: Option<Incoming>,
    pub vetted: Vetted,
    /// Until it is agreed to.
    pub change: Option<Change>,
}

/// What the client would change the connection to.
#[derive(Debug)]
pub(crate) struct Change {
    pub protocol: HeaderValue,
    pub on: OnUpgrade,
    pub stay: Option<Stay>,
}

impl Order {
    /// Reads the request; the answer if it goes no further. `clear`: whether its head left no doubt (see `framing`).
    pub(crate) fn read(
        mut request: Request<Incoming>,
        clear: bool,
        max_target: usize,
    ) -> Result<Self, Box<Response<Body>>> {
        let vetted = match clear {
            true => vet::check(&request, max_target),
            false => Err(vet::TWO_WAYS),
        };
        let vetted = vetted.and_then(|vetted| Ok((change(&vetted, &mut request)?, vetted)));
        match vetted {
            Ok((change, vetted)) => {
                let (parts, body) = request.into_parts();
                Ok(Self { parts, body: Some(body), vetted, change })
            }
            Err(refusal) => Err(Box::new(refused(&request, refusal))),
        }
    }
}

fn refused(request: &Request<Incoming>, Refusal(status, why): Refusal) -> Response<Body> {
    let mut refusal = pages::page(status, why, request.headers());
    // Who sends such a request may have meant what follows as a part of it.
    if request.version() < Version::HTTP_2 {
        refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    refusal
}

fn change(vetted: &Vetted, request: &mut Request<Incoming>) -> Result<Option<Change>, Refusal> {
    if !vetted.connection.upgrade || request.version() != Version::HTTP_11 {
        return Ok(None);
    }
    let Some(protocol) = request.headers().get(UPGRADE).cloned() else {
        return Ok(None);
    };
    // HTTP/2 inside the tunnel would pass by every rule that requests are held to.
    let http_2 = |name: &[u8]| name.trim_ascii().get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"));
    if protocol.as_bytes().split(|&b| b == b',').any(http_2) {
        return Ok(None);
    }
    if !request.body().is_end_stream() {
        return Err(Refusal(StatusCode::BAD_REQUEST, "A request to change the protocol has no body."));
    }
    let on = hyper::upgrade::on(request);
    Ok(Some(Change { protocol, on, stay: None }))
}
