//! Reading the path of a request without being led into another route.
//!
//! The rule: a path is cut at its literal slashes, and only then is each segment percent-decoded and
//! compared. So an encoded slash never starts a segment, an empty segment matches nothing, and a path in
//! which any reader could find a `.` or `..` segment is refused.

use std::borrow::Cow;

use crate::domain::MOST_SEGMENTS;

/// Why a path is refused. The text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("the path must begin with one slash")]
    Start,
    #[error("the path has a % that no two hexadecimal digits follow")]
    Percent,
    #[error("the path has an encoded NUL")]
    Nul,
    #[error("the path has a . or .. segment")]
    Dots,
}

/// Refuses what could be read in two ways. Costs one scan where there is neither a `%` nor a dot segment.
pub(crate) fn check(path: &str) -> Result<(), BadPath> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') || bytes.get(1) == Some(&b'/') {
        return Err(BadPath::Start);
    }
    let decoded = if bytes.contains(&b'%') {
        let decoded = decode(bytes).ok_or(BadPath::Percent)?;
        if decoded.contains(&0) {
            return Err(BadPath::Nul);
        }
        Cow::Owned(decoded)
    } else {
        Cow::Borrowed(bytes)
    };
    // Some readers take a backslash for a slash, and some cut off a segment's parameters.
    let dots = |segment: &[u8]| {
        let name = segment.split(|&b| b == b';').next().unwrap_or_default();
        name == b"." || name == b".."
    };
    match decoded.windows(2).any(|pair| matches!(pair, b"/." | b"\\.")) {
        true if decoded.split(|&b| b == b'/' || b == b'\\').any(dots) => Err(BadPath::Dots),
        _ => Ok(()),
    }
}

/// The path's first segments up to `deepest`, from the most to the fewest: the raw prefix, and the same
/// decoded, which is what routes are named by.
pub(crate) fn prefixes(path: &str, deepest: usize) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut ends = [0_u32; MAX_DEPTH];
    let mut depth = 0;
    let mut start = 1;
    if path.as_bytes().first() == Some(&b'/') {
        while depth < deepest.min(MAX_DEPTH) {
            let rest = &path.as_bytes()[start..];
            let length = rest.iter().position(|&b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
            if length == 0 {
                break;
            }
            let Ok(end) = u32::try_from(start + length) else { break };
            ends[depth] = end;
            depth += 1;
            start += length + 1;
            if rest.get(length) != Some(&b'/') {
                break;
            }
        }
    }
    ends.into_iter().take(depth).rev().filter_map(move |end| {
        let raw = &path[..usize::try_from(end).ok()?];
        Some((raw, name(raw)?))
    })
}

/// No route has more segments than this.
pub(crate) const MAX_DEPTH: usize = MOST_SEGMENTS;

/// The decoded name of a raw prefix; none if it is not text or a segment hides a slash.
fn name(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.as_bytes().contains(&b'%') {
        return Some(Cow::Borrowed(raw));
    }
    let decoded = String::from_utf8(decode(raw.as_bytes())?).ok()?;
    let slashes = |text: &str| text.bytes().filter(|&b| b == b'/').count();
    (slashes(&decoded) == slashes(raw)).then_some(Cow::Owned(decoded))
}

/// Percent-decodes; none if a `%` is not followed by two hexadecimal digits, or it is no text.
pub fn decoded(raw: &str) -> Option<String> {
    decode(raw.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok())
}

/// Percent-decodes; none if a `%` is not followed by two hexadecimal digits.
pub(crate) fn decode(raw: &[u8]) -> Option<Vec<u8>> {
    let digit = |at: usize| raw.get(at).and_then(|&b| char::from(b).to_digit(16));
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        if byte == b'%' {
            out.push(u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()?);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in [
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/.%2E",
            "/./a",
            "/a/..%2fb",
            "/a/..%5cb",
            "/a/..;x/b",
            "/..",
            "/a/\\../b",
        ] {
            assert_eq!(check(path), Err(BadPath::Dots), "{path}");
        }
        assert_eq!(check("//evil.example/x"), Err(BadPath::Start));
        assert_eq!(check("a"), Err(BadPath::Start));
        assert_eq!(check("/a/%zz"), Err(BadPath::Percent));
        assert_eq!(check("/a/%2"), Err(BadPath::Percent));
        assert_eq!(check("/a/%00"), Err(BadPath::Nul));
    }

    #[test]
    fn names_with_dots_in_them_are_fine() {
        for path in ["/", "/a/.hidden", "/a/x..y", "/a/...", "/a/b.ipynb", "/a/%2f", "/a//b", "/a/%C3%A9"] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    fn names(path: &str) -> Vec<String> {
        prefixes(path, 3).map(|(_, name)| name.into_owned()).collect()
    }

    #[test]
    fn prefixes_end_at_literal_slashes() {
        assert_eq!(names("/a/b/c/d"), ["/a/b/c", "/a/b", "/a"]);
        assert_eq!(names("/a/b?c/d"), ["/a/b", "/a"]);
        assert_eq!(names("/a/"), ["/a"]);
        assert_eq!(names("/a//b"), ["/a"]);
        assert_eq!(names("/%61/b%2Fc"), ["/a"]);
        assert_eq!(names("/"), Vec::<String>::new());
        assert_eq!(names(""), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_text_has_prefixes_that_it_begins_with(path in "/?[a-c%2fF./?]{0,20}") {
            for (raw, name) in prefixes(&path, MAX_DEPTH) {
                prop_assert!(path.starts_with(raw));
                prop_assert!(name.starts_with('/') && !name.contains("//") && !name.ends_with('/'));
                prop_assert!(matches!(path.as_bytes().get(raw.len()), None | Some(b'/' | b'?' | b'#')));
            }
        }

        #[test]
        fn a_checked_path_has_no_dot_segment_once_decoded(path in "/[a.%2eE5cC/]{0,12}") {
            if check(&path).is_ok() {
                let decoded = decode(path.as_bytes()).expect("checked");
                prop_assert!(!decoded.split(|&b| b == b'/' || b == b'\\').any(|s| s == b"." || s == b".."));
            }
        }
    }
}
