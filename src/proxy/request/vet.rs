//! Refuses requests that two servers could read in two ways. What does not parse was refused already; here goes
//! what parses and is still ambiguous, or is not for a reverse proxy.

use std::net::Ipv6Addr;

use http::{Method, StatusCode, Uri, Version};

use super::head::RequestHead;
use super::path;
use crate::proxy::length::content_length;
use crate::proxy::upstream::outgoing::{Connection, Sent};

/// The status of the refusal and what to tell the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal(pub StatusCode, pub &'static str);

/// Header lines of one request.
pub(crate) const MOST_HEADERS: usize = 100;

pub(crate) const TOO_MANY_HEADERS: Refusal =
    Refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request has too many headers.");

pub(crate) const fn bad(why: &'static str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, why)
}

/// What of a request's headers decides how it is forwarded, found in one go through them.
#[derive(Debug, Default)]
pub(crate) struct Vetted {
    pub connection: Connection,
    pub chunked: bool,
    pub length: Option<u64>,
}

impl Vetted {
    /// The body that these headers announce (RFC 9112, 6.3).
    pub(crate) fn body(&self) -> Sent {
        match self.length {
            _ if self.chunked => Sent::Chunked,
            Some(length) => Sent::Length(length),
            None => Sent::Nothing,
        }
    }
}

pub(crate) fn check(request: &RequestHead, max_target: usize) -> Result<Vetted, Refusal> {
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "This method is not served here."));
    }
    // HTTP/2 would only be held to their size.
    if request.fields.len() > MOST_HEADERS {
        return Err(TOO_MANY_HEADERS);
    }
    let (vetted, host) = headers(request)?;
    let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = match (host, authority, request.version) {
        (None, authority, Version::HTTP_2) => authority,
        (None, Some(_), _) => return Err(bad("The request names a host in its first line only.")),
        (Some(host), Some(authority), _) if !host.eq_ignore_ascii_case(authority) => {
            return Err(bad("The request names two hosts."));
        }
        (host, _, _) => host,
    };
    match host {
        Some(host) if !well_formed(host) => return Err(bad("The request's host is not valid.")),
        None if request.version != Version::HTTP_10 => return Err(bad("The request names no host.")),
        Some(_) | None => {}
    }
    target(&request.uri, max_target)?;
    Ok(vetted)
}

/// At most one host, and one way to tell where the body ends. A request with a length and a `Transfer-Encoding` is legal
/// to read, but whatever stands in front may have believed the other of the two, and have let somebody's request
/// through inside another's body.
fn headers(request: &RequestHead) -> Result<(Vetted, Option<&[u8]>), Refusal> {
    let mut vetted = Vetted::default();
    let mut host = None;
    for (name, value) in request.fields.iter() {
        match name {
            b"host" if host.replace(value).is_some() => return Err(bad("The request names more than one host.")),
            b"host" => {}
            b"connection" => vetted.connection.read(value),
            b"transfer-encoding" => {
                if vetted.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(bad("The request's transfer encoding is not served here."));
                }
                vetted.chunked = true;
            }
            b"content-length" => {
                let length = content_length(value).ok_or(bad("The request's length is not valid."))?;
                if vetted.length.replace(length).is_some_and(|earlier| earlier != length) {
                    return Err(bad("The request has two lengths."));
                }
            }
            _ => {}
        }
    }
    if vetted.chunked && vetted.length.is_some() {
        return Err(bad("The request has two lengths."));
    }
    if vetted.chunked && request.version < Version::HTTP_11 {
        return Err(bad("HTTP/1.0 knows no chunks."));
    }
    Ok((vetted, host))
}

fn well_formed(host: &[u8]) -> bool {
    let text = std::str::from_utf8(host).unwrap_or_default();
    let port = |text: &str| text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok()
            && (rest.is_empty() || rest.strip_prefix(':').is_some_and(port));
    }
    let (name, after) = text.split_once(':').unwrap_or((text, ""));
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !name.is_empty() && name.bytes().all(plain) && port(after)
}

fn target(uri: &Uri, max: usize) -> Result<(), Refusal> {
    let length = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if length > max {
        return Err(Refusal(StatusCode::URI_TOO_LONG, "The address is too long."));
    }
    if uri.scheme().is_some_and(|scheme| *scheme != http::uri::Scheme::HTTP && *scheme != http::uri::Scheme::HTTPS)
    {
        return Err(bad("The address has a scheme that is not served here."));
    }
    path::check(uri.path()).map_err(|why| match why {
        path::BadPath::Start => bad("The address must begin with one slash."),
        path::BadPath::Percent => bad("The address has a % that no two hexadecimal digits follow."),
        path::BadPath::Nul => bad("The address has an encoded NUL."),
        path::BadPath::Dots => bad("The address has a . or .. in it."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(target: &str, headers: &[(&str, &str)]) -> u16 {
        match check(&RequestHead::get(target, headers), 100) {
            Ok(_) => 200,
            Err(Refusal(status, _)) => status.as_u16(),
        }
    }

    #[test]
    fn a_request_names_one_host() {
        for host in ["a", "a.b:80", "[::1]:8000", "[::1]", "10.0.0.1:1", "a_b"] {
            assert_eq!(verdict("/", &[("host", host)]), 200, "{host}");
        }
        for host in
            ["", "a b", "a,b", "a@b", "a/b", ":80", "a:b", "a:123456", "a:1:2", "[::1", "a]", "[x]y", "a[::1]"]
        {
            assert_eq!(verdict("/", &[("host", host)]), 400, "{host}");
        }
        assert_eq!(verdict("/", &[]), 400);
        assert_eq!(verdict("/", &[("host", "a"), ("host", "a")]), 400);
        assert_eq!(verdict("http://A:80/x", &[("host", "a:80")]), 200);
        assert_eq!(verdict("http://b/x", &[("host", "a")]), 400);
        assert_eq!(verdict("http://u@a/x", &[("host", "a")]), 400);
        assert_eq!(verdict("ftp://a/x", &[("host", "a")]), 400);
    }

    #[test]
    fn a_body_has_one_length() {
        let host = ("host", "a");
        assert_eq!(verdict("/", &[host, ("transfer-encoding", "Chunked")]), 200);
        assert_eq!(verdict("/", &[host, ("transfer-encoding", "gzip, chunked")]), 400);
        assert_eq!(verdict("/", &[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]), 400);
        assert_eq!(verdict("/", &[host, ("transfer-encoding", "chunked"), ("content-length", "1")]), 400);
        assert_eq!(verdict("/", &[host, ("content-length", "1"), ("transfer-encoding", "chunked")]), 400);
        assert_eq!(verdict("/", &[host, ("content-length", "1"), ("content-length", "1")]), 200);
        for length in ["", "+1", "1, 1", "0x1", "1234567890123456789"] {
            assert_eq!(verdict("/", &[host, ("content-length", length)]), 400, "{length}");
        }
        assert_eq!(verdict("/", &[host, ("content-length", "1"), ("content-length", "2")]), 400);
    }

    #[test]
    fn targets_are_paths_of_bounded_length() {
        let host = ("host", "a");
        assert_eq!(verdict("*", &[host]), 400);
        assert_eq!(verdict("/a/../b", &[host]), 400);
        assert_eq!(verdict(&format!("/{}", "a".repeat(100)), &[host]), 414);
    }
}
