//! A request that may go on: nothing about it is in doubt.

use bytes::Bytes;
use http::Version;

use super::head::RequestHead;
use super::vet::{self, Refusal, Vetted, bad};
use crate::proxy::answer::pages;
use crate::proxy::answer::reply::Reply;
use crate::proxy::door::stay::Stay;
use crate::proxy::upstream::outgoing::Sent;

/// What a target is to be asked.
#[derive(Debug)]
pub(crate) struct Order {
    pub head: RequestHead,
    pub vetted: Vetted,
    pub sent: Sent,
    /// Until it is agreed to.
    pub change: Option<Change>,
}

/// What the client would change the connection to.
#[derive(Debug)]
pub(crate) struct Change {
    pub protocol: Bytes,
    pub stay: Option<Stay>,
}

impl Order {
    /// Reads the request; the answer if it goes no further. `body` says how its body is to be sent on.
    pub(crate) fn read(
        head: RequestHead,
        max_target: usize,
        body: impl FnOnce(&Vetted) -> Sent,
    ) -> Result<Self, Box<Reply>> {
        let read = vet::check(&head, max_target).and_then(|vetted| {
            let sent = body(&vetted);
            Ok((change(&head, &vetted, sent)?, vetted, sent))
        });
        match read {
            Ok((change, vetted, sent)) => Ok(Self { head, vetted, sent, change }),
            Err(Refusal(status, why)) => Err(Box::new(pages::page(status, why, &head.fields).into())),
        }
    }
}

fn change(request: &RequestHead, vetted: &Vetted, sent: Sent) -> Result<Option<Change>, Refusal> {
    if !vetted.connection.upgrade || request.version != Version::HTTP_11 {
        return Ok(None);
    }
    let Some(protocol) = request.fields.share("upgrade") else {
        return Ok(None);
    };
    // HTTP/2 inside the tunnel would pass by every rule that requests are held to.
    let http_2 = |name: &[u8]| name.trim_ascii().get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"));
    if protocol.split(|&b| b == b',').any(http_2) {
        return Ok(None);
    }
    match sent {
        Sent::Nothing | Sent::Length(0) => Ok(Some(Change { protocol, stay: None })),
        Sent::Length(_) | Sent::Chunked => Err(bad("A request to change the protocol has no body.")),
    }
}
