//! Ports that a profile names.

use proptest::collection::btree_map;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
use slipway::domain::port::{heard, told};
use slipway::domain::{Port, PortName, Prefix};

fn ports() -> impl Strategy<Value = (u16, Prefix)> {
    (any::<u16>(), prop_oneof![proptest::prelude::Just(Prefix::Keep), proptest::prelude::Just(Prefix::Strip)])
}

proptest! {
    #[test]
    fn what_is_told_is_heard(named in btree_map("[a-z][a-z0-9]{0,19}", ports(), 0..5)) {
        let named = named
            .into_iter()
            .map(|(name, (port, prefix))| (name.parse().expect("a valid name"), Port { port, prefix }))
            .collect();
        prop_assert_eq!(heard(&told(&named)), named);
    }
}

#[test]
fn what_cannot_be_read_is_left_out() {
    for text in ["app", "app=", "app=x", "app=65536", "9000=1", "=1", "app=1:drop", "a b=c"] {
        assert_eq!(heard(text), [].into(), "{text}");
    }
}

#[test]
fn a_name_cannot_be_taken_for_an_engines() {
    for name in ["", "9000", "App", "a_b", "-a", "a-", "a/b", "a b", "é", &"a".repeat(21)] {
        assert!(name.parse::<PortName>().is_err(), "{name:?}");
    }
    for name in ["a", "app-2", &"a".repeat(20)] {
        assert!(name.parse::<PortName>().is_ok(), "{name:?}");
    }
}
