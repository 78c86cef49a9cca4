//! Names that Kubernetes checks as well, where it would do so when the first student launches.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::{Invalid, text_type};

/// A text that one rule allows.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let allowed: fn(&str) -> bool = $allowed;
                if allowed(text) { Ok(Self(text.to_owned())) } else { Err(Invalid::new($what, text, $rule)) }
            }
        }

        text_type!($name);
    };
}

name_type! {
    /// The key of a label or a taint.
    LabelKey,
    "label",
    |text| match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_label(name),
        None => is_label(text),
    },
    "use up to 63 letters, digits or inner . _ -, maybe after a domain and a slash, like example.org/pool"
}

name_type! {
    LabelValue,
    "label value",
    |text| text.is_empty() || is_label(text),
    "use up to 63 letters, digits or inner . _ -"
}

name_type! {
    PriorityClass,
    "priority class",
    is_subdomain,
    "use lower-case letters, digits or inner - and dots, like students-low"
}

name_type! {
    /// A container image as a container runtime takes it.
    ImageReference,
    "image",
    |text| {
        let last = text.rsplit('/').next().unwrap_or_default();
        (1..=512).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b))
            && text.split('/').all(|part| !part.is_empty())
            && last.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && !text.ends_with([':', '@'])
    },
    "write registry/name:tag or name@sha256:…"
}

fn is_label(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && text.starts_with(edge)
        && text.ends_with(edge)
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            is_label(part) && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}
