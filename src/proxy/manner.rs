//! How requests and answers are treated beyond what HTTP asks of every proxy. The default is slipway's own
//! way; configurable-http-proxy has others.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::answer::location::Relocation;
use super::{Body, RequestHead};

/// Decided once, when the proxy is made.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Whether the cookie by which slipway knows a person is kept from all targets but slipway itself.
    pub guards_cookie: bool,
    /// Whether targets are told of the client in `X-Forwarded-*`. Else these pass as they came.
    pub tells_client: bool,
    /// Whether targets find their own name in `Host` instead of the one that the client asked for.
    pub names_target: bool,
    /// Whether routes begin with the name of the host that was asked for: `/host.example/path`.
    pub by_host: bool,
    /// Put into each request, in place of the client's own of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub relocation: Option<Relocation>,
    /// A path that the proxy answers itself, before any route, with `{"status":"OK"}`.
    pub health: Option<&'static str>,
    /// In place of slipway's own pages.
    pub pages: Option<Arc<dyn Pages>>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            guards_cookie: true,
            tells_client: true,
            names_target: false,
            by_host: false,
            headers: vec![],
            relocation: None,
            health: None,
            pages: None,
        }
    }
}

impl Manner {
    /// Whether a header of the client is replaced by one of ours.
    pub(super) fn replaces(&self, name: &[u8]) -> bool {
        !self.headers.is_empty() && self.headers.iter().any(|(ours, _)| ours.as_str().as_bytes() == name)
    }
}

/// Something for which the proxy itself has to answer.
#[derive(Debug)]
pub struct Trouble<'a> {
    pub status: StatusCode,
    /// One sentence for a person.
    pub why: &'static str,
    pub request: &'a RequestHead,
    /// The client asked for another protocol.
    pub upgrade: bool,
}

pub type Page<'a> = Pin<Box<dyn Future<Output = Response<Body>> + Send + 'a>>;

/// Makes the answers to requests that reach no target, which are not the ones that have to be fast.
pub trait Pages: fmt::Debug + Send + Sync {
    fn page<'a>(&'a self, trouble: Trouble<'a>) -> Page<'a>;
}
