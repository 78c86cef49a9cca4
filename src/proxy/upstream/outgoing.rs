//! Which headers go on, and the head of the request that a target gets.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{self, HeaderName};

use crate::proxy::door::doorman::{Authorization, Luggage};
use crate::proxy::request::{cookies, forwarded, query};
use crate::proxy::{Fields, Manner, RequestHead};

/// What the `Connection` header lines say.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    named: Vec<Vec<u8>>,
}

impl Connection {
    /// Takes in one more of the lines.
    pub(crate) fn read(&mut self, value: &[u8]) {
        for token in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !token.is_empty() {
                let name = token.to_ascii_lowercase();
                if !matches!(name.as_slice(), b"content-length" | b"set-cookie" | b"content-type") {
                    self.named.push(name);
                }
            }
        }
    }

    pub(crate) fn names_any(&self) -> bool {
        !self.named.is_empty()
    }

    /// Whether a header is meant for this connection only; never one that the message needs.
    pub(crate) fn names(&self, name: &[u8]) -> bool {
        self.named.iter().any(|named| named == name)
    }
}

/// Headers that concern one connection and never go on, both ways.
pub(crate) fn is_hop_by_hop(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"proxy-authenticate"
            | b"proxy-authorization"
            | b"te"
            | b"transfer-encoding"
            | b"upgrade"
    )
}

/// Drops trailers that would change what a message means (RFC 9110, 6.5.1).
pub(crate) fn drop_forbidden_trailers(trailers: &mut HeaderMap) {
    let forbidden = |name: &HeaderName| {
        is_hop_by_hop(name.as_str().as_bytes())
            || matches!(
                *name,
                header::CONTENT_LENGTH
                    | header::CONTENT_ENCODING
                    | header::CONTENT_RANGE
                    | header::CONTENT_TYPE
                    | header::HOST
                    | header::SET_COOKIE
                    | header::TRAILER
                    | header::CACHE_CONTROL
            )
    };
    let names: Vec<_> = trailers.keys().filter(|name| forbidden(name)).cloned().collect();
    for name in names {
        trailers.remove(name);
    }
}

/// How the request's body is framed for the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Nothing,
    Length(u64),
    Chunked,
}

/// A request as the target is to get it.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub request: &'a RequestHead,
    /// What is put before the path: empty, or with a slash at its start and none at its end.
    pub base: &'a str,
    /// The path without what the route takes off; without the query.
    pub path: &'a str,
    /// What the route takes off.
    pub prefix: &'a str,
    pub sent: Sent,
    pub connection: &'a Connection,
    /// The protocol that the client would change to.
    pub upgrade: Option<&'a [u8]>,
    pub forwarded: forwarded::By<'a>,
    /// For slipway itself, which may see its own cookie.
    pub own: bool,
    /// What a doorman made of the visitor's belongings, if there is one.
    pub luggage: Option<&'a Luggage<'a>>,
    /// Asked for where there is no `Host`: HTTP/2 has its own way, and HTTP/1.0 may have none.
    pub asked: &'a str,
    /// The target's own name.
    pub target: &'a str,
    pub manner: &'a Manner,
}

impl Head<'_> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        let fields = &self.request.fields;
        out.extend_from_slice(self.request.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.base.as_bytes());
        // Nothing is added to a base that is asked for as it is.
        if !self.path.starts_with('/') && (self.base.is_empty() || !self.path.is_empty()) {
            out.push(b'/');
        }
        out.extend_from_slice(self.path.as_bytes());
        let cleaned = self.luggage.and_then(|luggage| luggage.query.as_deref());
        if let Some(query) =
            cleaned.or_else(|| self.request.uri.query()).filter(|query| cleaned.is_none() || !query.is_empty())
        {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let asked = fields.get("host").unwrap_or(self.asked.as_bytes());
        line(out, b"host", if self.manner.names_target { self.target.as_bytes() } else { asked });
        let mut cookies = false;
        for (name, value) in fields.iter() {
            match name {
                // HTTP/2 sends each on a line of its own.
                b"cookie" => {
                    if !std::mem::replace(&mut cookies, true) {
                        self.cookies(out);
                    }
                }
                _ => self.pass(out, name, value),
            }
        }
        if let Some(Luggage { authorization: Authorization::Password(password), .. }) = self.luggage {
            out.extend_from_slice(b"authorization: token ");
            out.extend_from_slice(password.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        for (name, value) in &self.manner.headers {
            line(out, name.as_str().as_bytes(), value.as_bytes());
        }
        if self.manner.tells_client {
            self.forwarded.write(out, fields, asked, self.upgrade, self.prefix);
        }
        match self.sent {
            Sent::Nothing => {}
            Sent::Length(length) => line(out, b"content-length", length.to_string().as_bytes()),
            Sent::Chunked => line(out, b"transfer-encoding", b"chunked"),
        }
        if let Some(protocol) = self.upgrade {
            line(out, b"connection", b"Upgrade");
            line(out, b"upgrade", protocol);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn pass(&self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        let rewritten = matches!(name, b"host" | b"content-length" | b"expect" | b"trailer" | b"http2-settings");
        if rewritten || is_hop_by_hop(name) || (self.manner.tells_client && self.forwarded.rewrites(name)) {
            return;
        }
        if self.connection.names(name) || self.manner.replaces(name) {
            return;
        }
        match self.luggage {
            Some(luggage) if name == b"authorization" && luggage.authorization != Authorization::Kept => {}
            Some(_) if name == b"referer" => line(out, b"referer", &without_links(value)),
            Some(_) | None => line(out, name, value),
        }
    }

    fn cookies(&self, out: &mut Vec<u8>) {
        if self.connection.names(b"cookie") {
            return;
        }
        let guards = !self.own && self.manner.guards_cookie;
        let mut before: &[u8] = b"cookie: ";
        let mut put = |text: &[u8]| {
            out.extend_from_slice(std::mem::replace(&mut before, b"; "));
            out.extend_from_slice(text);
        };
        for value in self.request.fields.get_all("cookie") {
            match cookies::without_own(value) {
                cookies::Left::Some(rest) if guards => put(&rest),
                cookies::Left::None if guards => {}
                _ => put(value),
            }
        }
        if before == b"; " {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Where a visitor comes from, without what may have let it in there.
fn without_links(referer: &[u8]) -> Cow<'_, [u8]> {
    let Some(at) = referer.iter().position(|&b| b == b'?') else { return referer.into() };
    let cleaned = std::str::from_utf8(&referer[at + 1..])
        .ok()
        .and_then(|queried| query::without(queried, |name, _| matches!(name, "share" | "token")));
    match cleaned {
        None => referer.into(),
        Some(rest) => [&referer[..at], if rest.is_empty() { b"" } else { b"?" }, rest.as_bytes()].concat().into(),
    }
}

pub(crate) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A target may not set or overwrite the cookie by which slipway knows a person.
pub(crate) fn drop_own_cookies(fields: &mut Fields) {
    fields.retain(|name, value| name != b"set-cookie" || !cookies::sets_own(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cidr, cidr};
    use crate::proxy::Scheme;
    use proptest::prelude::*;

    fn written(target: &str, strip: usize, own: bool, trusted: bool, headers: &[(&str, &str)]) -> String {
        let request = RequestHead::get(target, headers);
        let mut connection = Connection::default();
        request.fields.get_all("connection").for_each(|value| connection.read(value));
        let networks: Vec<Cidr> = if trusted { vec!["10.0.0.0/8".parse().expect("a network")] } else { vec![] };
        let peer = "10.9.8.7".parse().expect("an address");
        let head = Head {
            request: &request,
            base: "",
            path: &request.uri.path()[strip..],
            prefix: &request.uri.path()[..strip],
            sent: Sent::Nothing,
            connection: &connection,
            upgrade: None,
            forwarded: forwarded::By {
                scheme: Scheme::Http,
                trusted: cidr::holds(&networks, peer),
                peer: "10.9.8.7",
            },
            own,
            luggage: None,
            asked: "x",
            target: "x",
            manner: &Manner::default(),
        };
        let mut out = vec![];
        head.write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_head_is_the_clients_without_its_connection() {
        let text = written(
            "/a/b?c=%20d",
            0,
            false,
            false,
            &[
                ("host", "h:8000"),
                ("connection", "keep-alive, X-Hop"),
                ("x-hop", "1"),
                ("te", "trailers"),
                ("keep-alive", "5"),
                ("expect", "100-continue"),
                ("x-forwarded-for", "6.6.6.6"),
                ("forwarded", "for=6.6.6.6"),
                ("x-real-ip", "6.6.6.6"),
                ("origin", "http://h:8000"),
                ("cookie", "a=1; slipway=secret; b=2"),
            ],
        );
        assert_eq!(
            text,
            "GET /a/b?c=%20d HTTP/1.1\r\nhost: h:8000\r\norigin: http://h:8000\r\ncookie: a=1; b=2\r\n\
             x-forwarded-for: 10.9.8.7\r\nx-forwarded-proto: http\r\nx-forwarded-port: 8000\r\n\
             x-forwarded-host: h:8000\r\n\r\n"
        );
    }

    #[test]
    fn a_stripped_path_begins_with_a_slash_and_slipway_gets_its_cookie() {
        let text =
            written("/cluster-1?x", "/cluster-1".len(), true, false, &[("host", "h"), ("cookie", "slipway=s")]);
        assert!(text.starts_with("GET /?x HTTP/1.1\r\nhost: h\r\ncookie: slipway=s\r\n"), "{text}");
    }

    #[test]
    fn a_target_is_told_what_was_taken_off_its_paths() {
        let told = |trusted, headers: &[(&str, &str)]| {
            let text = written("/cluster-1/x", "/cluster-1".len(), false, trusted, headers);
            text.split_once("x-forwarded-prefix: ").map(|(_, rest)| rest.trim_end().to_owned())
        };
        let before = ("x-forwarded-prefix", "/class");
        assert_eq!(told(false, &[("host", "h")]).as_deref(), Some("/cluster-1"));
        assert_eq!(told(false, &[("host", "h"), before]).as_deref(), Some("/cluster-1"));
        assert_eq!(told(true, &[("host", "h"), before]).as_deref(), Some("/class/cluster-1"));
        assert!(!written("/x", 0, false, false, &[("host", "h"), before]).contains("prefix"));
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_extended() {
        let text = written(
            "/",
            0,
            false,
            true,
            &[
                ("host", "h"),
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-for", "5.6.7.8"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "public.example"),
            ],
        );
        assert!(
            text.ends_with(
                "x-forwarded-for: 1.2.3.4, 5.6.7.8, 10.9.8.7\r\nx-forwarded-proto: https\r\n\
                 x-forwarded-port: 443\r\nx-forwarded-host: public.example\r\n\r\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_client_cannot_name_away_what_the_proxy_says() {
        let text =
            written("/", 0, false, false, &[("host", "h"), ("connection", "host, x-forwarded-for, cookie")]);
        assert!(text.contains("host: h\r\n") && text.contains("x-forwarded-for: 10.9.8.7\r\n"), "{text}");
    }

    #[test]
    fn a_target_cannot_set_the_cookie_of_slipway() {
        let set = |value| ("set-cookie", value);
        let mut fields = ["a=1", "slipway=forged; Path=/", "b=2"].map(set).into_iter().collect();
        drop_own_cookies(&mut fields);
        assert_eq!(fields, ["a=1", "b=2"].map(set).into_iter().collect());
    }

    proptest! {
        #[test]
        fn no_header_value_adds_a_line(value in "[ -~]{0,40}", name in "x-[a-z]{1,10}") {
            let value = value.trim();
            let text = written("/", 0, false, false, &[("host", "h"), (&name, value)]);
            let lines: Vec<_> = text.split("\r\n").collect();
            prop_assert!(lines.len() <= 9);
            if !name.starts_with("x-forwarded") && !["x-scheme"].contains(&name.as_str()) {
                let expected = format!("{name}: {value}");
                prop_assert!(lines.contains(&expected.as_str()));
            }
        }
    }
}
