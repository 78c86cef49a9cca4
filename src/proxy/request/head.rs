//! What a client asks: the first line of a request and its header lines.

use http::request::Parts;
use http::{Method, Uri, Version};

use crate::proxy::Fields;

#[derive(Debug, Clone, PartialEq)]
pub struct RequestHead {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub fields: Fields,
}

/// As hyper has read it.
impl From<Parts> for RequestHead {
    fn from(parts: Parts) -> Self {
        Self { fields: Fields::from(&parts.headers), method: parts.method, uri: parts.uri, version: parts.version }
    }
}

#[cfg(test)]
impl RequestHead {
    /// A GET of HTTP/1.1.
    pub(crate) fn get(target: &str, fields: &[(&str, &str)]) -> Self {
        Self {
            method: Method::GET,
            uri: target.parse().expect("a target"),
            version: Version::HTTP_11,
            fields: fields.iter().copied().collect(),
        }
    }
}
