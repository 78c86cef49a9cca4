//! Whether another site has made a browser ask. Cookies come along then, so what changes anything, and every change of
//! protocol, is only for pages of this very host.

use super::head::RequestHead;

/// `host` is what the client calls this proxy. Programs send no `Origin`, and browsers none with an ordinary GET.
pub(crate) fn is_foreign(request: &RequestHead, upgrade: bool, host: Option<&[u8]>) -> bool {
    let matters = upgrade || !request.method.is_safe();
    matters && request.fields.get_all("origin").any(|origin| !is_of(origin, host))
}

fn is_of(origin: &[u8], host: Option<&[u8]>) -> bool {
    let (usual, rest): (&[u8], _) = match (origin.strip_prefix(b"https://"), origin.strip_prefix(b"http://")) {
        (Some(rest), _) => (b":443", rest),
        (None, Some(rest)) => (b":80", rest),
        (None, None) => return false,
    };
    let bare = |name: &[u8]| name.strip_suffix(usual).unwrap_or(name).to_ascii_lowercase();
    !rest.is_empty() && host.is_some_and(|host| bare(host) == bare(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_of_the_host_that_it_names() {
        let of = |origin: &str, host: &str| is_of(origin.as_bytes(), Some(host.as_bytes()));
        for (origin, host) in [
            ("http://h", "h"),
            ("http://h:8000", "h:8000"),
            ("https://H.example", "h.Example"),
            ("https://h", "h:443"),
            ("http://h:80", "h"),
            ("http://[::1]:8000", "[::1]:8000"),
        ] {
            assert!(of(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "null"),
            ("", ""),
            ("http://", ""),
            ("http://h:8001", "h:8000"),
            ("http://h", "h:443"),
            ("http://evil.example", "h"),
            ("http://h.evil.example", "h"),
            ("http://xh", "h"),
            ("http://h@evil.example", "h"),
            ("file://h", "h"),
            ("h", "h"),
        ] {
            assert!(!of(origin, host), "{origin} {host}");
        }
        assert!(!is_of(b"http://h", None));
    }

    #[test]
    fn it_matters_where_something_may_change() {
        let foreign = |method: &str, upgrade: bool, origins: &[&str]| {
            let fields: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
            let mut request = RequestHead::get("/", &fields);
            request.method = method.parse().expect("a method");
            is_foreign(&request, upgrade, Some(b"h"))
        };
        assert!(!foreign("GET", false, &["http://evil"]));
        assert!(foreign("GET", true, &["http://evil"]) && foreign("GET", true, &["null"]));
        for method in ["POST", "PUT", "PATCH", "DELETE", "ODD"] {
            assert!(foreign(method, false, &["http://evil"]), "{method}");
            assert!(foreign(method, false, &["http://h", "http://evil"]), "{method}");
            assert!(!foreign(method, false, &["http://h"]) && !foreign(method, false, &[]), "{method}");
        }
    }
}
