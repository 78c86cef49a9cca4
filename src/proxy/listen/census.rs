//! How many connections there are, of each client and in all. Counted when one comes and when it goes, and
//! by no request.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Clients whose addresses fall into different parts do not meet at a lock.
const PARTS: usize = 16;

const TELL_EVERY_MS: i64 = 10_000;

#[derive(Debug, Default)]
pub struct Census {
    all: AtomicU32,
    /// When it was last told that somebody was turned away.
    told: AtomicI64,
    clients: [Mutex<HashMap<IpAddr, u32>>; PARTS],
}

/// The most connections; none for as many as there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    pub of_client: Option<u32>,
    pub of_all: Option<u32>,
}

/// Which of the limits is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Client,
    All,
}

/// A connection that was counted, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Seat {
    census: Arc<Census>,
    client: Option<IpAddr>,
}

impl Census {
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, most: Most) -> Result<Seat, Full> {
        let mut seat = Seat { census: Arc::clone(self), client: None };
        let before = self.all.fetch_add(1, Ordering::Relaxed);
        if most.of_all.is_some_and(|most| before >= most) {
            return Err(Full::All);
        }
        if let Some(most) = most.of_client {
            let client = whole(peer);
            let mut part = self.part(client).lock().unwrap_or_else(PoisonError::into_inner);
            let count = part.entry(client).or_default();
            if *count >= most {
                return Err(Full::Client);
            }
            *count += 1;
            seat.client = Some(client);
        }
        Ok(seat)
    }

    /// Whether it is time again to tell the operator that somebody is turned away.
    pub(crate) fn tells(&self, now_ms: i64) -> bool {
        let told = self.told.load(Ordering::Relaxed);
        now_ms - told >= TELL_EVERY_MS
            && self.told.compare_exchange(told, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn part(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, u32>> {
        let bits = match client {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> 64,
        };
        // The last four bits that differ between clients.
        let [.., last] = bits.to_be_bytes();
        &self.clients[usize::from(last) % PARTS]
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.census.all.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let mut part = self.census.part(client).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = part.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                part.remove(&client);
            }
        }
    }
}

/// Of IPv6, whoever has one address has the 2^64 beside it.
fn whole(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn places_are_taken_and_given_back() {
        let census = Arc::new(Census::default());
        let most = Most { of_client: Some(2), of_all: Some(3) };
        let admit = |text: &str| census.admit(address(text), most);
        let first = admit("10.0.0.1").expect("a place");
        let _second = admit("::ffff:10.0.0.1").expect("a place");
        assert_eq!(admit("10.0.0.1").expect_err("two are the most"), Full::Client);
        let third = admit("10.0.0.17").expect("a place of its own");
        assert_eq!(admit("10.0.0.2").expect_err("three are the most"), Full::All);
        drop(first);
        let fourth = admit("10.0.0.1").expect("a place again");
        drop((third, fourth, _second));
        assert_eq!(census.all.load(Ordering::Relaxed), 0);
        assert!(census.clients.iter().all(|part| part.lock().expect("no panic").is_empty()));
    }

    #[test]
    fn a_client_is_a_network_where_it_has_one_of_its_own() {
        let census = Arc::new(Census::default());
        let most = Most { of_client: Some(1), of_all: None };
        let _seat = census.admit(address("2001:db8:1:2::1"), most).expect("a place");
        assert_eq!(census.admit(address("2001:db8:1:2:ffff::9"), most).expect_err("the same"), Full::Client);
        let _other = census.admit(address("2001:db8:1:3::1"), most).expect("another");
        let unlimited = Most { of_client: None, of_all: None };
        let _trusted = census.admit(address("2001:db8:1:2::1"), unlimited).expect("not counted");
    }
}
