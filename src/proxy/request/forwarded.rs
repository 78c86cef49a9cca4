//! `X-Forwarded-*`: what a target is told of the client. A client's own claims count only if it is a
//! proxy that is trusted.

use http::header::HOST;
use http::{HeaderMap, HeaderValue};

use crate::proxy::Scheme;
use crate::proxy::upstream::outgoing::line;

/// Who forwards, for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By<'a> {
    pub scheme: Scheme,
    /// The peer may speak for others.
    pub trusted: bool,
    /// The peer's address as text.
    pub peer: &'a str,
}

impl By<'_> {
    /// Whether a header of the client is not to be passed on as it is.
    pub(crate) fn rewrites(&self, name: &str) -> bool {
        if self.trusted {
            return matches!(
                name,
                "x-forwarded-for"
                    | "x-forwarded-proto"
                    | "x-forwarded-port"
                    | "x-forwarded-host"
                    | "x-forwarded-prefix"
            );
        }
        name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip" | "x-scheme")
    }

    /// What the client calls this proxy.
    pub(crate) fn host<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        self.said(headers, "x-forwarded-host").or_else(|| headers.get(HOST).map(HeaderValue::as_bytes))
    }

    /// Whether the client's way here is encrypted.
    pub(crate) fn is_https(&self, headers: &HeaderMap) -> bool {
        match self.said(headers, "x-forwarded-proto") {
            Some(proto) => matches!(proto, b"https" | b"wss"),
            None => self.scheme == Scheme::Https,
        }
    }

    /// A header that counts if the peer is trusted.
    fn said<'h>(&self, headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
        self.trusted.then(|| headers.get(name)).flatten().map(HeaderValue::as_bytes)
    }

    /// Writes the headers: what a trusted peer said is kept, its address added to the chain, and `prefix`, which the
    /// target does not see in its paths, to what was taken off before.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        headers: &HeaderMap,
        host: &[u8],
        upgrade: Option<&HeaderValue>,
        prefix: &str,
    ) {
        let said = |name: &str| self.said(headers, name);
        out.extend_from_slice(b"x-forwarded-for: ");
        if self.trusted {
            for earlier in headers.get_all("x-forwarded-for") {
                out.extend_from_slice(earlier.as_bytes());
                out.extend_from_slice(b", ");
            }
        }
        out.extend_from_slice(self.peer.as_bytes());
        out.extend_from_slice(b"\r\n");
        let websocket = upgrade.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let proto: &[u8] = match (self.scheme, websocket) {
            (Scheme::Http, false) => b"http",
            (Scheme::Http, true) => b"ws",
            (Scheme::Https, false) => b"https",
            (Scheme::Https, true) => b"wss",
        };
        let proto = said("x-forwarded-proto").unwrap_or(proto);
        line(out, b"x-forwarded-proto", proto);
        let port = said("x-forwarded-port").or_else(|| port_of(host));
        let usual: &[u8] = if matches!(proto, b"https" | b"wss") { b"443" } else { b"80" };
        line(out, b"x-forwarded-port", port.unwrap_or(usual));
        line(out, b"x-forwarded-host", said("x-forwarded-host").unwrap_or(host));
        let before = said("x-forwarded-prefix").unwrap_or_default();
        if !before.is_empty() || !prefix.is_empty() {
            line(out, b"x-forwarded-prefix", &[before, prefix.as_bytes()].concat());
        }
    }
}

/// The digits after the last colon, if it is not one of an IPv6 address.
fn port_of(host: &[u8]) -> Option<&[u8]> {
    let at = host.iter().rposition(|&b| !b.is_ascii_digit())?;
    (host[at] == b':' && at + 1 < host.len()).then(|| &host[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_hosts() {
        assert_eq!(port_of(b"a:80"), Some(&b"80"[..]));
        assert_eq!(port_of(b"[::1]:80"), Some(&b"80"[..]));
        for host in ["a", "[::1]", "a:", "", "80"] {
            assert_eq!(port_of(host.as_bytes()), None, "{host}");
        }
    }
}
