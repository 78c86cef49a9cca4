//! `X-Forwarded-*`: what a target is told of the client. A client's own claims count only if it is a
//! proxy that is trusted.

use std::net::IpAddr;
use std::str::FromStr;

use http::header::HOST;
use http::{HeaderMap, HeaderValue};

use super::Scheme;
use super::outgoing::line;

/// A range of addresses, such as `10.0.0.0/8` or `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    /// How many leading bits count.
    bits: u8,
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a network as an address, a slash and its leading bits, like 10.0.0.0/8")]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits.parse().map_err(|_| NotANetwork)?)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| NotANetwork)?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits <= most { Ok(Self { base, bits }) } else { Err(NotANetwork) }
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

pub(super) fn trusts(networks: &[Network], peer: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(peer))
}

/// Who forwards, for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    pub scheme: Scheme,
    /// The peer may speak for others.
    pub trusted: bool,
    /// The peer's address as text.
    pub peer: &'a str,
}

impl By<'_> {
    /// Whether a header of the client is not to be passed on as it is.
    pub(super) fn rewrites(&self, name: &str) -> bool {
        if self.trusted {
            return matches!(
                name,
                "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-port" | "x-forwarded-host"
            );
        }
        name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip" | "x-scheme")
    }

    /// What the client calls this proxy.
    pub(super) fn host<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        self.said(headers, "x-forwarded-host").or_else(|| headers.get(HOST).map(HeaderValue::as_bytes))
    }

    /// Whether the client's way here is encrypted.
    pub(super) fn is_https(&self, headers: &HeaderMap) -> bool {
        match self.said(headers, "x-forwarded-proto") {
            Some(proto) => matches!(proto, b"https" | b"wss"),
            None => self.scheme == Scheme::Https,
        }
    }

    /// A header that counts if the peer is trusted.
    fn said<'h>(&self, headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
        self.trusted.then(|| headers.get(name)).flatten().map(HeaderValue::as_bytes)
    }

    /// Writes the four headers: what a trusted peer said is kept, and its address added to the chain.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        headers: &HeaderMap,
        host: &[u8],
        upgrade: Option<&HeaderValue>,
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
    fn networks_hold_their_addresses() {
        let holds = |network: &str, address: &str| {
            network.parse::<Network>().expect("a network").contains(address.parse().expect("an address"))
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("127.0.0.1", "127.0.0.1"));
        assert!(holds("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(!holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("0.0.0.0/0", "8.8.8.8"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("fd00::/8", "fd12::1"));
        assert!(!holds("fd00::/8", "fe80::1"));
        for text in ["", "10.0.0.0/33", "10.0.0/8", "x", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
        }
    }

    #[test]
    fn the_port_is_the_hosts() {
        assert_eq!(port_of(b"a:80"), Some(&b"80"[..]));
        assert_eq!(port_of(b"[::1]:80"), Some(&b"80"[..]));
        for host in ["a", "[::1]", "a:", "", "80"] {
            assert_eq!(port_of(host.as_bytes()), None, "{host}");
        }
    }
}
