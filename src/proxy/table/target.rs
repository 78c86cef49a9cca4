//! Where a request goes: an address, a name that is looked up for each connection, or a Unix socket; over
//! TLS or not; and the path that everything there lies under.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::proxy::request::path::decode;

/// What connections are made to and kept for. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Plain HTTP at an address: all of slipway's own.
    Address(SocketAddr),
    Origin(Arc<Origin>),
}

/// Every other kind of target.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub(crate) tls: bool,
    pub(crate) place: Place,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Host { name: Box<str>, port: u16 },
    Socket(PathBuf),
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

/// By hand, as the pool is asked twice per request: derived, an IPv4 address is some 30 bytes to hash.
impl Hash for Target {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Address(SocketAddr::V4(v4)) => {
                state.write_u64(u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port()));
            }
            Self::Address(address @ SocketAddr::V6(_)) => address.hash(state),
            Self::Origin(origin) => origin.hash(state),
        }
    }
}

impl Target {
    pub(crate) fn tls(&self) -> bool {
        matches!(self, Self::Origin(origin) if origin.tls)
    }
}

/// A target with the path that it is written with: `https://hub:8443/base`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub(crate) target: Target,
    /// As it is written, for `Host` and for `Location`.
    pub(crate) authority: Box<str>,
    /// Put before each path: empty, or with a slash at its start and none at its end.
    pub(crate) base: Box<str>,
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        Self { target: address.into(), authority: address.to_string().into(), base: "".into() }
    }
}

impl Upstream {
    /// The same place without the path.
    #[must_use]
    pub fn without_base(self) -> Self {
        Self { base: "".into(), ..self }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.target.tls() { "https" } else { "http" }
    }
}

/// The text is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotATarget {
    #[error("write it as http://host:port, https://host:port or http+unix://percent-encoded-path")]
    Scheme,
    #[error("its host is not valid")]
    Host,
    #[error("its port is not a number from 1 to 65535")]
    Port,
    #[error("its path has a blank, a control character or one that is not ASCII")]
    Path,
    #[error("its socket's path must be absolute, with each slash written as %2F")]
    Socket,
}

impl FromStr for Upstream {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        let (scheme, rest) = text.split_once("://").ok_or(NotATarget::Scheme)?;
        // A query or fragment is nothing that could be put before a path.
        let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(NotATarget::Path);
        }
        // Whoever is named before the host would be sent along nowhere.
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let target = match scheme.to_ascii_lowercase().as_str() {
            "http" => host(authority, false)?,
            "https" => host(authority, true)?,
            "http+unix" | "unix+http" => {
                let base = path.trim_end_matches('/').into();
                let target =
                    Target::Origin(Arc::new(Origin { tls: false, place: Place::Socket(socket(authority)?) }));
                return Ok(Self { target, authority: "localhost".into(), base });
            }
            _ => return Err(NotATarget::Scheme),
        };
        Ok(Self { target, authority: authority.into(), base: path.trim_end_matches('/').into() })
    }
}

fn host(authority: &str, tls: bool) -> Result<Target, NotATarget> {
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None | Some("") => {
            if tls {
                443
            } else {
                80
            }
        }
        Some(port) => port.parse().ok().filter(|&port| port > 0).ok_or(NotATarget::Port)?,
    };
    let bare = match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or(NotATarget::Host)?,
        None => name,
    };
    let address = bare.parse::<IpAddr>().ok();
    // Brackets are for IPv6, which is written in no other way.
    let bracketed = bare.len() != name.len();
    if bracketed != address.is_some_and(|address| address.is_ipv6()) {
        return Err(NotATarget::Host);
    }
    match address {
        Some(ip) if !tls => return Ok(Target::Address(SocketAddr::new(ip, port))),
        Some(_) => {}
        None => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            if bare.is_empty() || bare.len() > 253 || !bare.bytes().all(plain) {
                return Err(NotATarget::Host);
            }
        }
    }
    Ok(Target::Origin(Arc::new(Origin { tls, place: Place::Host { name: bare.into(), port } })))
}

fn socket(encoded: &str) -> Result<PathBuf, NotATarget> {
    let path = decode(encoded.as_bytes()).and_then(|path| String::from_utf8(path).ok());
    let path = path.filter(|path| !path.contains('\0')).ok_or(NotATarget::Socket)?;
    Path::new(&path).is_absolute().then(|| path.into()).ok_or(NotATarget::Socket)
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Upstream {
        text.parse().expect("a target")
    }

    #[test]
    fn addresses_names_and_sockets_are_told_apart() {
        assert_eq!(read("http://127.0.0.1:8081"), SocketAddr::from(([127, 0, 0, 1], 8081)).into());
        assert_eq!(read("HTTP://[::1]:8081/").target, Target::Address("[::1]:8081".parse().expect("an address")));
        let place = |text: &str| match read(text).target {
            Target::Origin(origin) => format!("{} {:?}", origin.tls, origin.place),
            Target::Address(address) => address.to_string(),
        };
        assert_eq!(place("http://hub"), r#"false Host { name: "hub", port: 80 }"#);
        assert_eq!(place("https://hub/"), r#"true Host { name: "hub", port: 443 }"#);
        assert_eq!(place("https://10.0.0.1:8443"), r#"true Host { name: "10.0.0.1", port: 8443 }"#);
        assert_eq!(place("https://[::1]"), r#"true Host { name: "::1", port: 443 }"#);
        assert_eq!(place("http+unix://%2Frun%2Fa%20b.sock/x"), r#"false Socket("/run/a b.sock")"#);
        assert_eq!(place("http://user:secret@10.0.0.1:1"), "10.0.0.1:1");
    }

    #[test]
    fn the_path_is_kept_without_the_slash_at_its_end() {
        for (text, base) in [
            ("http://h", ""),
            ("http://h/", ""),
            ("http://h:1/foo/", "/foo"),
            ("http://h:1/foo/bar?x#y", "/foo/bar"),
            ("http+unix://%2Fs/foo", "/foo"),
        ] {
            assert_eq!(&*read(text).base, base, "{text}");
        }
        assert_eq!(read("https://hub:8443/base/").to_string(), "https://hub:8443/base");
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "",
            "h:80",
            "ftp://h",
            "http://",
            "http://:80",
            "http://h:0",
            "http://h:65536",
            "http://h:x",
            "http://a b",
            "http://h/a b",
            "http://h/a\r\nx",
            "http://[h]",
            "http://[::1",
            "http://::1:80",
            "http://[10.0.0.1]:80",
            "http+unix://run%2Fx",
            "http+unix://",
            "http+unix://%2Fa%00",
        ] {
            assert!(text.parse::<Upstream>().is_err(), "{text:?}");
        }
    }
}
