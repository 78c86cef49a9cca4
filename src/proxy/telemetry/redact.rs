//! Addresses as they may stand in a log: without what lets somebody in.

use crate::proxy::request::path::decode;

/// Parts of the names of parameters whose values are secrets.
const SECRET: [&str; 7] = ["token", "password", "secret", "share", "signature", "key", "code"];

/// The address with the value of every telling parameter of its query, and of its fragment, replaced.
pub(crate) fn redacted(address: &str) -> String {
    let Some(at) = address.find(['?', '#']) else {
        return address.to_owned();
    };
    let (path, rest) = address.split_at(at);
    let mut out = String::with_capacity(address.len());
    out.push_str(path);
    for part in rest.split_inclusive(['?', '#', '&', ';']) {
        let (pair, end) = match part.char_indices().next_back() {
            Some((at, '?' | '#' | '&' | ';')) => part.split_at(at),
            _ => (part, ""),
        };
        match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && is_secret(name) => {
                out.push_str(name);
                out.push_str("=[redacted]");
            }
            _ => out.push_str(pair),
        }
        out.push_str(end);
    }
    out
}

/// A name that cannot be decoded is taken for telling: who reads it may read it otherwise.
fn is_secret(name: &str) -> bool {
    match decode(name.as_bytes()) {
        Some(name) => {
            let name = String::from_utf8_lossy(&name).to_ascii_lowercase();
            SECRET.iter().any(|word| name.contains(word))
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_lets_somebody_in_is_replaced_and_all_else_is_left() {
        for (address, shown) in [
            ("/a/token=x", "/a/token=x"),
            ("/a?token=x", "/a?token=[redacted]"),
            ("/a?b=1&token=x&c=2", "/a?b=1&token=[redacted]&c=2"),
            ("/a?b=1;Token=x", "/a?b=1;Token=[redacted]"),
            ("/a?%74oken=x", "/a?%74oken=[redacted]"),
            ("/a?%zz=x", "/a?%zz=[redacted]"),
            ("/a?access_token=x=y", "/a?access_token=[redacted]"),
            ("/a?next=/b?token=x", "/a?next=/b?token=[redacted]"),
            ("http://h/a#token=x", "http://h/a#token=[redacted]"),
            ("/a?token=", "/a?token="),
            ("/a?", "/a?"),
            ("*", "*"),
        ] {
            assert_eq!(redacted(address), shown);
        }
    }

    proptest! {
        #[test]
        fn no_address_makes_it_panic_or_shows_a_token(before in "[a-z?#&;=%/é]{0,20}", secret in "[A-Z]{8}") {
            let shown = redacted(&format!("/{before}?token={secret}&{before}"));
            prop_assert!(!shown.contains(&secret), "{shown}");
        }
    }
}
