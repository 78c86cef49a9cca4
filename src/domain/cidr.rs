//! Ranges of addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::ids::Invalid;

/// A range of addresses as operators write it: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The first of the range.
    first: IpAddr,
    /// How many leading bits all of them have in common.
    bits: u8,
}

impl Cidr {
    /// Of this address alone.
    pub fn one(address: IpAddr) -> Self {
        Self { first: address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }

    pub fn is_ipv6(self) -> bool {
        self.first.is_ipv6()
    }

    /// Whether the address is in the range. An IPv4 address that is written as IPv6 is the same address.
    pub fn contains(self, address: IpAddr) -> bool {
        first(address.to_canonical(), self.bits) == Some(self.first)
    }
}

/// Whether one of the ranges has the address.
pub fn holds(ranges: &[Cidr], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

/// The first address that has these leading bits in common with this one, if it has as many.
fn first(address: IpAddr, bits: u8) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => {
            let rest = 32_u32.checked_sub(bits.into())?;
            IpAddr::V4((address.to_bits() & u32::MAX.checked_shl(rest).unwrap_or(0)).into())
        }
        IpAddr::V6(address) => {
            let rest = 128_u32.checked_sub(bits.into())?;
            IpAddr::V6((address.to_bits() & u128::MAX.checked_shl(rest).unwrap_or(0)).into())
        }
    })
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// Any address of a range may stand for it.
impl FromStr for Cidr {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let read = || {
            let (address, bits) = match text.split_once('/') {
                Some((address, bits)) => (address, Some(bits.parse().ok()?)),
                None => (text, None),
            };
            let address: IpAddr = address.parse().ok()?;
            let bits = bits.unwrap_or(if address.is_ipv4() { 32 } else { 128 });
            Some(Self { first: first(address, bits)?, bits })
        };
        read().ok_or_else(|| Invalid::new("range of addresses", text, "write it like 10.0.0.0/8, or one address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Cidr {
        text.parse().expect(text)
    }

    #[test]
    fn a_range_is_written_by_its_first_address() {
        for (text, written) in [
            ("10.88.0.1", "10.88.0.1/32"),
            ("10.88.7.1/16", "10.88.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00::1/8", "fd00::/8"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(range(text).to_string(), written);
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in
            ["", "x", "10", "10.0.0/8", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/8/8", "example.org"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_range_holds_its_addresses() {
        let holds = |text: &str, address: &str| range(text).contains(address.parse().expect("an address"));
        for (text, address) in [
            ("10.0.0.0/8", "10.255.0.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("0.0.0.0/0", "8.8.8.8"),
            ("fd00::/8", "fd12::1"),
            ("::/0", "fd12::1"),
        ] {
            assert!(holds(text, address), "{text} {address}");
        }
        for (text, address) in [
            ("10.0.0.0/8", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "::1"),
            ("fd00::/8", "fe80::1"),
            ("::/64", "0.0.0.0"),
        ] {
            assert!(!holds(text, address), "{text} {address}");
        }
    }
}
