//! `X-Forwarded-*`: what a target is told of the client. A client's own claims count only if it is a
//! proxy that is trusted.

use crate::proxy::upstream::outgoing::line;
use crate::proxy::{Fields, Scheme};

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
    pub(crate) fn rewrites(&self, name: &[u8]) -> bool {
        if self.trusted {
            return matches!(
                name,
                b"x-forwarded-for"
                    | b"x-forwarded-proto"
                    | b"x-forwarded-port"
                    | b"x-forwarded-host"
                    | b"x-forwarded-prefix"
            );
        }
        name.starts_with(b"x-forwarded-") || matches!(name, b"forwarded" | b"x-real-ip" | b"x-scheme")
    }

    /// What the client calls this proxy.
    pub(crate) fn host<'h>(&self, fields: &'h Fields) -> Option<&'h [u8]> {
        self.said(fields, "x-forwarded-host").or_else(|| fields.get("host"))
    }

    /// Whether the client's way here is encrypted.
    pub(crate) fn is_https(&self, fields: &Fields) -> bool {
        match self.said(fields, "x-forwarded-proto") {
            Some(proto) => matches!(proto, b"https" | b"wss"),
            None => self.scheme == Scheme::Https,
        }
    }

    /// A header that counts if the peer is trusted.
    fn said<'h>(&self, fields: &'h Fields, name: &'h str) -> Option<&'h [u8]> {
        self.trusted.then(|| fields.get(name)).flatten()
    }

    /// Writes the headers: what a trusted peer said is kept, its address added to the chain, and `prefix`, which the
    /// target does not see in its paths, to what was taken off before.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        fields: &Fields,
        host: &[u8],
        upgrade: Option<&[u8]>,
        prefix: &str,
    ) {
        let said = |name: &'static str| self.said(fields, name);
        out.extend_from_slice(b"x-forwarded-for: ");
        if self.trusted {
            for earlier in fields.get_all("x-forwarded-for") {
                out.extend_from_slice(earlier);
                out.extend_from_slice(b", ");
            }
        }
        out.extend_from_slice(self.peer.as_bytes());
        out.extend_from_slice(b"\r\n");
        let websocket = upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
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
