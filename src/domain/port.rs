//! Ports of a cluster beside those of its engines: what a profile opens to whatever the student starts there.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::{Invalid, text_type};
use super::route::Prefix;

/// Named ports, and what becomes of the path on the way to each.
pub type Ports = BTreeMap<PortName, Port>;

/// What a port is called in the address that leads to it, `/cluster-678343_app`: 1 to 20 lower-case letters, digits or
/// inner hyphens, beginning with a letter, so that no engine's number is taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortName(String);

impl PortName {
    const LONGEST: usize = 20;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PortName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let valid = (1..=Self::LONGEST).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(plain);
        if valid {
            return Ok(Self(text.to_owned()));
        }
        let rule = "use 1 to 20 lower-case letters, digits or inner hyphens, beginning with a letter, like app";
        Err(Invalid::new("port name", text, rule))
    }
}

text_type!(PortName);

/// A port on the notebook's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Port {
    pub port: u16,
    pub prefix: Prefix,
}

/// As a cluster's processes are told: `app=8501 tensorboard=6006:keep`.
pub fn told(ports: &Ports) -> String {
    let one = |(name, Port { port, prefix }): (&PortName, &Port)| match prefix {
        Prefix::Strip => format!("{name}={port}"),
        Prefix::Keep => format!("{name}={port}:keep"),
    };
    ports.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The reverse of [`told`]; what is not understood is left out, as it can only come from somebody else's hand.
pub fn heard(text: &str) -> Ports {
    let one = |text: &str| {
        let (name, port) = text.split_once('=')?;
        let (port, prefix) = match port.strip_suffix(":keep") {
            Some(port) => (port, Prefix::Keep),
            None => (port, Prefix::Strip),
        };
        Some((name.parse().ok()?, Port { port: port.parse().ok()?, prefix }))
    };
    text.split_whitespace().filter_map(one).collect()
}
