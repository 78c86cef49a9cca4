//! An answer on its way to a client, whatever that client speaks.

use http::{Response, StatusCode};

use crate::proxy::{Body, Fields};

/// Says nothing of the connection: that is for whoever writes it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: StatusCode,
    pub fields: Fields,
    pub body: Body,
}

/// One of the proxy itself.
impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, fields: Fields::from(&head.headers), body }
    }
}
