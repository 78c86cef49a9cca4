//! Keeps slipway's own cookies from the targets: every cluster shares its origin with slipway, and none
//! may act for the person who opened it.

use memchr::memmem;

use crate::domain::ClusterId;
use crate::proxy::Fields;

/// By which slipway knows a person.
pub(crate) const PERSON: &str = "slipway";
/// How the names begin of those that somebody has who followed a link: one for each cluster.
const OTHERS: &str = "slipway-";

/// What is left of a `Cookie` header value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    All,
    Some(Vec<u8>),
    None,
}

pub(crate) fn without_own(value: &[u8]) -> Left {
    if memmem::find(value, PERSON.as_bytes()).is_none() {
        return Left::All;
    }
    let pairs = || value.split(|&b| b == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty());
    if !pairs().any(is_own) {
        return Left::All;
    }
    let rest: Vec<_> = pairs().filter(|pair| !is_own(pair)).collect();
    if rest.is_empty() { Left::None } else { Left::Some(rest.join(&b"; "[..])) }
}

/// The name of the cookie of whoever followed a link to this cluster.
pub(crate) fn of_link(cluster: ClusterId) -> String {
    format!("{OTHERS}{cluster}")
}

/// The values of the cookies of this name, at most a few: whoever sends more has made them up.
pub(crate) fn values<'h>(fields: &'h Fields, name: &'h str) -> impl Iterator<Item = &'h str> {
    fields
        .get_all("cookie")
        .flat_map(|value| value.split(|&b| b == b';'))
        .filter_map(move |pair| {
            let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(rest).ok()
        })
        .take(MOST)
}

const MOST: usize = 4;

/// Whether a `Set-Cookie` value is for one of slipway's own cookies.
pub(crate) fn sets_own(value: &[u8]) -> bool {
    is_own(value.split(|&b| b == b';').next().unwrap_or_default())
}

/// Lenient as the most lenient reader: quotes and blanks around the name make it no other cookie, nor does
/// a missing value.
fn is_own(pair: &[u8]) -> bool {
    let name = pair.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii();
    let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
    name == PERSON.as_bytes() || name.starts_with(OTHERS.as_bytes())
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
            ("slipway-cluster-678343=1; a=2; slipway=3", Some("a=2")),
            ("xslipway=1", Some("xslipway=1")),
            ("slipway_x=1; a=slipway", Some("slipway_x=1; a=slipway")),
            ("a=1", Some("a=1")),
            ("", Some("")),
        ];
        for (value, expected) in cases {
            assert_eq!(left(value).as_deref(), expected, "{value}");
        }
        assert!(sets_own(b"slipway=x; Path=/") && sets_own(b"slipway-cluster-678343=x; Path=/"));
        assert!(!sets_own(b"a=slipway; slipway=x"));
    }

    #[test]
    fn values_are_those_of_the_name() {
        let lines = ["a=1; slipway=x.1;slipway-cluster-678343=y", "slipway=z; xslipway=4; slipway"];
        let fields = lines.into_iter().map(|line| ("cookie", line)).collect();
        assert_eq!(values(&fields, PERSON).collect::<Vec<_>>(), ["x.1", "z"]);
        let link = of_link("cluster-678343".parse().expect("an id"));
        assert_eq!(values(&fields, &link).collect::<Vec<_>>(), ["y"]);
        let many = [("cookie", "slipway=1; slipway=2; slipway=3; slipway=4; slipway=5")].into_iter().collect();
        assert_eq!(values(&many, PERSON).count(), MOST);
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
