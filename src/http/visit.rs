//! Where requests come from.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use warp::Filter;
use warp::http::{HeaderMap, HeaderValue};

use super::Api;
use super::identity::Caller;
use crate::domain::{Cidr, cidr};
use crate::store::append::{Meta, Visit};

/// Whose word counts on where a request comes from, and whether that is kept.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// slipway's proxies, and those in front of them.
    pub trusted: Vec<Cidr>,
    pub kept: bool,
}

/// What is known of a request beside its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) headers: HeaderMap,
    peer: Option<IpAddr>,
}

pub(super) fn head() -> impl Filter<Extract = (Head,), Error = Infallible> + Clone {
    let peer = |address: Option<SocketAddr>| address.map(|address| address.ip().to_canonical());
    warp::header::headers_cloned()
        .and(warp::addr::remote())
        .map(move |headers, address| Head { headers, peer: peer(address) })
}

impl Api {
    /// What this caller does by this request.
    pub(super) fn act(&self, caller: &Caller, head: &Head) -> Meta {
        let peer = head.peer.filter(|_| self.origins.kept);
        let address = peer.map(|peer| self.origins.client(peer, &head.headers));
        Meta { visit: Some(Visit { address }), ..Meta::by(caller.subject.clone()) }
    }
}

impl Origins {
    /// The client's address: of those that a request has passed, the nearest that nobody has to be believed for.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line: &HeaderValue| line.to_str().ok());
        let mut passed = lines.flat_map(|line| line.split(',')).rev().map(|hop| hop.trim().parse::<IpAddr>());
        let mut client = peer;
        while cidr::holds(&self.trusted, client)
            && let Some(Ok(before)) = passed.next()
        {
            client = before.to_canonical();
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "::1"].map(|range| range.parse().expect("a range")).to_vec();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().expect("a header"));
        }
        Origins { trusted, kept: true }.client(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn the_client_is_the_first_whom_nobody_trusted_speaks_for() {
        for (peer, forwarded, expected) in [
            ("10.0.0.1", &["203.0.113.7"][..], "203.0.113.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("203.0.113.7", &["198.51.100.1"], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.1", "203.0.113.7 ,10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["", "10.0.0.2"], "10.0.0.2"),
            ("::1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            ("::1", &["2001:db8::7"], "2001:db8::7"),
        ] {
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }
}
