//! Rewrites where a target's redirect leads, for targets that name themselves instead of the proxy.

use http::StatusCode;

use crate::proxy::{Fields, Upstream};

/// What of a `Location` is replaced, if it leads to the target itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// By the host that the client asked for.
    pub host: bool,
    /// By another scheme.
    pub scheme: Option<&'static str>,
}

impl Relocation {
    pub(crate) fn apply(self, status: StatusCode, answer: &mut Fields, asked: &Fields, upstream: &Upstream) {
        if !matches!(status.as_u16(), 201 | 301 | 302 | 307 | 308) {
            return;
        }
        let text = |value| std::str::from_utf8(value).ok();
        let location = answer.get("location").and_then(text);
        let asked = asked.get("host").and_then(text);
        if let Some(there) = location.and_then(|location| self.rewritten(location, asked, upstream)) {
            answer.set("location", there.as_bytes());
        }
    }

    /// None where it leads elsewhere, or is relative and right as it is.
    fn rewritten(self, location: &str, asked: Option<&str>, upstream: &Upstream) -> Option<String> {
        let (scheme, rest) = location.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !bare(scheme, authority).eq_ignore_ascii_case(bare(upstream.scheme(), &upstream.authority)) {
            return None;
        }
        let authority = asked.filter(|_| self.host).unwrap_or(authority);
        Some(format!("{}://{authority}{path}", self.scheme.unwrap_or(scheme)))
    }
}

/// Without the port that goes without saying.
fn bare<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let usual = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    authority.strip_suffix(usual).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_to_the_target_is_rewritten() {
        let upstream: Upstream = "http://backend:80/base".parse().expect("a target");
        let to = |location: &str, host: bool, scheme| {
            Relocation { host, scheme }.rewritten(location, Some("front:8000"), &upstream)
        };
        assert_eq!(to("http://backend/x?y", true, None).as_deref(), Some("http://front:8000/x?y"));
        assert_eq!(to("http://Backend:80", true, Some("https")).as_deref(), Some("https://front:8000"));
        assert_eq!(to("http://backend/x", false, Some("https")).as_deref(), Some("https://backend/x"));
        for elsewhere in ["/x", "x", "http://other/x", "http://backend:81/x", "https://backend:8443/x", ""] {
            assert_eq!(to(elsewhere, true, Some("https")), None, "{elsewhere}");
        }
    }

    #[test]
    fn only_redirects_have_it_rewritten() {
        let upstream: Upstream = "http://backend".parse().expect("a target");
        let relocation = Relocation { host: true, scheme: None };
        let asked = [("host", "front")].into_iter().collect();
        for (status, expected) in [(302, "http://front/"), (201, "http://front/"), (200, "http://backend/")] {
            let mut answer = [("location", "http://backend/")].into_iter().collect();
            relocation.apply(StatusCode::from_u16(status).expect("a status"), &mut answer, &asked, &upstream);
            assert_eq!(answer.get("location"), Some(expected.as_bytes()), "{status}");
        }
    }
}
