//! What a link brings along in its query, and the query without it.

use std::borrow::Cow;

use super::path::decode;

/// The decoded values of the parameters of this name.
pub(crate) fn values<'q>(query: &'q str, name: &'static str) -> impl Iterator<Item = Cow<'q, str>> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*text(key)? == *name).then(|| text(value)).flatten()
    })
}

/// The query without the parameters that are `unwanted`, by their decoded name and value; the others are left as they
/// were written. None if there is nothing to leave out.
pub(crate) fn without(query: &str, unwanted: impl Fn(&str, &str) -> bool) -> Option<String> {
    let is_unwanted = |pair: &&str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        text(key).zip(text(value)).is_some_and(|(key, value)| unwanted(&key, &value))
    };
    query.split('&').any(|pair| is_unwanted(&pair)).then(|| {
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_unwanted(pair)).collect();
        kept.join("&")
    })
}

fn text(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('%') {
        String::from_utf8(decode(raw.as_bytes())?).ok().map(Cow::Owned)
    } else {
        Some(raw.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_however_they_are_written() {
        let found = |query| values(query, "share").collect::<Vec<_>>();
        assert_eq!(found("share=a"), ["a"]);
        assert_eq!(found("x=1&sh%61re=%61b&share=c&share"), ["ab", "c", ""]);
        assert!(found("xshare=a&x=share=a&share%3D=a&shar%=a&Share=a").is_empty());
        assert!(found("").is_empty());
    }

    #[test]
    fn what_is_left_is_as_it_was_written() {
        let left = |query| without(query, |name, value| name == "share" || (name == "token" && value == "secret"));
        assert_eq!(left("a=%20&share=x&b"), Some("a=%20&b".to_owned()));
        assert_eq!(left("sh%61re=x&token=s%65cret"), Some(String::new()));
        assert_eq!(left("token=other&a=%zz"), None);
        assert_eq!(left(""), None);
    }
}
