//! Keeps slipway's own cookie from the targets: every cluster shares its origin with slipway, and none
//! may act for the person who opened it.

/// The cookie's name.
const OWN: &[u8] = b"slipway";

/// What is left of a `Cookie` header value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    All,
    Some(Vec<u8>),
    None,
}

pub(super) fn without_own(value: &[u8]) -> Left {
    if !value.windows(OWN.len()).any(|part| part == OWN) {
        return Left::All;
    }
    let pairs = || value.split(|&b| b == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty());
    if !pairs().any(is_own) {
        return Left::All;
    }
    let rest: Vec<_> = pairs().filter(|pair| !is_own(pair)).collect();
    if rest.is_empty() { Left::None } else { Left::Some(rest.join(&b"; "[..])) }
}

/// Whether a `Set-Cookie` value is for slipway's own cookie.
pub(super) fn sets_own(value: &[u8]) -> bool {
    is_own(value.split(|&b| b == b';').next().unwrap_or_default())
}

/// Lenient as the most lenient reader: quotes and blanks around the name make it no other cookie, nor does
/// a missing value.
fn is_own(pair: &[u8]) -> bool {
    let name = pair.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii();
    let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
    name == OWN
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn left(value: &str) -> Option<String> {
        match without_own(value.as_bytes()) {
            Left::All => Some(value.into()),
            Left::Some(rest) => Some(String::from_utf8(rest).expect("text")),
            Left::None => None,
        }
    }

    #[test]
    fn only_the_cookie_of_that_name_is_taken_out() {
        let cases = [
            ("slipway=x", None),
            ("a=1; slipway=x", Some("a=1")),
            ("slipway=x;a=1", Some("a=1")),
            ("a=1; slipway = x ;b=\"2;3\"", Some("a=1; b=\"2; 3\"")),
            ("slipway=1; slipway=2", None),
            ("xslipway=1", Some("xslipway=1")),
            ("slipway_x=1; a=slipway", Some("slipway_x=1; a=slipway")),
            ("a=1", Some("a=1")),
            ("", Some("")),
        ];
        for (value, expected) in cases {
            assert_eq!(left(value).as_deref(), expected, "{value}");
        }
        assert!(sets_own(b"slipway=x; Path=/"));
        assert!(!sets_own(b"a=slipway; slipway=x"));
    }

    proptest! {
        #[test]
        fn the_own_cookie_never_gets_through(before in "[a-z=; ]{0,12}", after in "[a-z=; ]{0,12}") {
            let value = format!("{before};slipway=SECRET;{after}");
            let left = left(&value).unwrap_or_default();
            prop_assert!(!left.contains("SECRET"));
        }
    }
}
