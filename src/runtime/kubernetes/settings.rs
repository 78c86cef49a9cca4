//! How clusters are run on Kubernetes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::domain::ids::Invalid;
use crate::domain::{Keyring, Profile, ProfileName, Shape};

/// What the runtime needs to know beside the clusters themselves.
#[derive(Debug, Clone)]
pub struct Settings {
    pub keyring: Keyring,
    /// What the pods of each profile are made of.
    pub shapes: BTreeMap<ProfileName, Shape>,
    pub tuning: Tuning,
}

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Tuning {
    pub network: Network,
    /// Writes to the API server that are under way at the same time.
    pub requests_at_once: usize,
    /// A worker that is removed may take so long to hand over its results and finish what it runs.
    pub retire_within: Duration,
    /// A launch whose image cannot be pulled for so long has failed.
    pub pull_within: Duration,
    pub extent: Extent,
}

/// How much of a cluster is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    #[default]
    Whole,
    /// A namespace and the notebook's pod, shut off from nothing and without workers: for comparisons with what makes no
    /// more. No program offers it.
    Notebook,
}

/// Who may reach the clusters, and what they may reach beside their own pods, DNS and the internet.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// The namespace that the proxy and the worker run in.
    pub door_namespace: Option<String>,
    /// Where they are, if not in pods.
    pub door_addresses: Vec<Cidr>,
    /// Also reachable from the clusters, such as a git server on a private address.
    pub reachable: Vec<Cidr>,
}

impl Settings {
    pub fn new(keyring: Keyring, profiles: &[Profile], tuning: Tuning) -> Self {
        let shapes = profiles.iter().map(|profile| (profile.name.clone(), profile.shape.clone())).collect();
        Self { keyring, shapes, tuning }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            network: Network::default(),
            requests_at_once: 32,
            retire_within: Duration::from_secs(300),
            pull_within: Duration::from_secs(60),
            extent: Extent::Whole,
        }
    }
}

/// A range of addresses: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    pub fn is_ipv6(self) -> bool {
        self.address.is_ipv6()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Cidr {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("range of addresses", text, "write it like 10.0.0.0/8, or one address");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return Err(invalid());
        }
        // Kubernetes warns of addresses within a range in the place of the range.
        let address = match address {
            IpAddr::V4(four) => {
                IpAddr::V4((u32::from(four) & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into())
            }
            IpAddr::V6(six) => {
                IpAddr::V6((u128::from(six) & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into())
            }
        };
        Ok(Self { address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_by_its_first_address() {
        for (text, range) in [
            ("10.88.0.1", "10.88.0.1/32"),
            ("10.88.7.1/16", "10.88.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00::1/8", "fd00::/8"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(text.parse::<Cidr>().expect(text).to_string(), range);
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/8/8", "example.org"] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }
}
