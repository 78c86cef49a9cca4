//! A request that may go on: nothing about it is in doubt.

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Response, Version};

use super::vet::{self, Refusal, Vetted, bad};
use crate::proxy::Body;
use crate::proxy::answer::pages;
use crate::proxy::door::stay::Stay;
use crate::proxy::upstream::outgoing::Sent;

/// What a target is to be asked.
#[derive(Debug)]
pub(crate) struct Order {
    pub parts: Parts,
    pub vetted: Vetted,
    pub sent: Sent,
    /// Until it is agreed to.
    pub change: Option<Change>,
}

/// What the client would change the connection to.
#[derive(Debug)]
pub(crate) struct Change {
    pub protocol: HeaderValue,
    pub stay: Option<Stay>,
}

/// A request that goes no further, and the answer to it.
pub(crate) type Turned = Box<(Parts, Response<Body>)>;

impl Order {
    /// Reads the request. `body` says how its body is to be sent on.
    pub(crate) fn read(
        parts: Parts,
        max_target: usize,
        body: impl FnOnce(&Vetted) -> Sent,
    ) -> Result<Self, Turned> {
        let read = vet::check(&parts, max_target).and_then(|vetted| {
            let sent = body(&vetted);
            Ok((change(&parts, &vetted, sent)?, vetted, sent))
        });
        match read {
            Ok((change, vetted, sent)) => Ok(Self { parts, vetted, sent, change }),
            Err(refusal) => {
                let refused = refused(&parts, refusal);
                Err(Box::new((parts, refused)))
            }
        }
    }
}

fn refused(request: &Parts, Refusal(status, why): Refusal) -> Response<Body> {
    let mut refusal = pages::page(status, why, &request.headers);
    // Who sends such a request may have meant what follows as a part of it.
    if request.version < Version::HTTP_2 {
        refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    refusal
}

fn change(request: &Parts, vetted: &Vetted, sent: Sent) -> Result<Option<Change>, Refusal> {
    if !vetted.connection.upgrade || request.version != Version::HTTP_11 {
        return Ok(None);
    }
    let Some(protocol) = request.headers.get(UPGRADE).cloned() else {
        return Ok(None);
    };
    // HTTP/2 inside the tunnel would pass by every rule that requests are held to.
    let http_2 = |name: &[u8]| name.trim_ascii().get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"));
    if protocol.as_bytes().split(|&b| b == b',').any(http_2) {
        return Ok(None);
    }
    match sent {
        Sent::Nothing | Sent::Length(0) => Ok(Some(Change { protocol, stay: None })),
        Sent::Length(_) | Sent::Chunked => Err(bad("A request to change the protocol has no body.")),
    }
}
