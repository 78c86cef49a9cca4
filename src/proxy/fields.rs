//! The header lines of one message, in their order, where they were read: nothing is copied, and to look one up is to
//! go through a score of lines, which costs less than to hash their names.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Names are in lower case.
#[derive(Clone, Default)]
pub struct Fields {
    text: Bytes,
    lines: Vec<Line>,
}

#[derive(Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
}

/// Where a part of a text is: heads are short.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part`, which was cut out of `text`, is in it.
    pub(crate) fn of(part: &[u8], text: &[u8]) -> Self {
        // An empty part may point nowhere.
        let start = if part.is_empty() { 0 } else { part.as_ptr().addr() - text.as_ptr().addr() };
        Self::new(start, part.len())
    }

    fn new(start: usize, length: usize) -> Self {
        let small = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: small(start), end: small(start + length) }
    }

    fn length(self) -> usize {
        self.range().len()
    }

    pub(crate) fn range(self) -> Range<usize> {
        let wide = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        wide(self.start)..wide(self.end)
    }
}

impl Fields {
    /// Notes where in `text` the lines are that were found there. Nothing is to be asked for before it is
    /// [`attach`](Self::attach)ed.
    pub(crate) fn note(&mut self, found: &[httparse::Header<'_>], text: &[u8]) {
        let line = |found: &httparse::Header<'_>| Line {
            name: Span::of(found.name.as_bytes(), text),
            value: Span::of(found.value, text),
        };
        self.lines.clear();
        self.lines.extend(found.iter().map(line));
    }

    /// The text to which the notes belong, or its beginning with all of them; it is returned to be shared.
    pub(crate) fn attach(&mut self, mut text: BytesMut) -> Bytes {
        for line in &self.lines {
            text[line.name.range()].make_ascii_lowercase();
        }
        self.text = text.freeze();
        self.text.clone()
    }

    /// Nothing, with the room that there was.
    pub(crate) fn cleared(mut self) -> Self {
        self.text = Bytes::new();
        self.lines.clear();
        self
    }

    /// The value of the first line of this name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.find(name).next().map(|line| self.at(line.value))
    }

    pub fn get_all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f [u8]> {
        self.find(name).map(|line| self.at(line.value))
    }

    pub fn contains(&self, name: &str) -> bool {
        self.find(name).next().is_some()
    }

    /// The value of the first line of this name, to be kept.
    pub(crate) fn share(&self, name: &str) -> Option<Bytes> {
        self.find(name).next().map(|line| self.text.slice(line.value.range()))
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (self.at(line.name), self.at(line.value)))
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Drops the lines that are not to be kept.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let text = &self.text;
        self.lines.retain(|line| keep(&text[line.name.range()], &text[line.value.range()]));
    }

    /// Replaces all lines of a name, which is in lower case, by one. Copies the text.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        self.retain(|of, _| of != name.as_bytes());
        let mut text = BytesMut::from(std::mem::take(&mut self.text));
        self.lines.push(added(&mut text, name.as_bytes(), value));
        self.text = text.freeze();
    }

    /// As hyper's HTTP/2 has them.
    pub(crate) fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len());
        for line in &self.lines {
            let name = HeaderName::from_bytes(self.at(line.name));
            let value = HeaderValue::from_maybe_shared(self.text.slice(line.value.range()));
            // What was read as a header is one.
            if let (Ok(name), Ok(value)) = (name, value) {
                map.append(name, value);
            }
        }
        map
    }

    fn find<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f Line> {
        // Nearly all names differ in their length.
        let is = |line: &&Line| line.name.length() == name.len() && self.at(line.name) == name.as_bytes();
        self.lines.iter().filter(is)
    }

    fn at(&self, span: Span) -> &[u8] {
        &self.text[span.range()]
    }
}

fn added(text: &mut BytesMut, name: &[u8], value: &[u8]) -> Line {
    let start = text.len();
    text.extend_from_slice(name);
    text.extend_from_slice(value);
    Line { name: Span::new(start, name.len()), value: Span::new(start + name.len(), value.len()) }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        map.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }
}

/// Names are in lower case already.
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut text = BytesMut::new();
        let lines =
            lines.into_iter().map(|(name, value)| added(&mut text, name.as_ref(), value.as_ref())).collect();
        Self { text: text.freeze(), lines }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|(name, value)| (name.escape_ascii().to_string(), value.escape_ascii().to_string())),
            )
            .finish()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_where_they_were_read() {
        let text = b"Host: a\r\nX-A:\r\nx-a: 2\r\n\r\nbody";
        let mut lines = [httparse::EMPTY_HEADER; 4];
        let found = httparse::parse_headers(text, &mut lines).expect("headers");
        let httparse::Status::Complete((length, found)) = found else { panic!("half a head") };
        let mut fields = Fields::default();
        fields.note(found, text);
        assert_eq!(fields.attach(BytesMut::from(&text[..length])).len(), length);
        assert_eq!((fields.get("host"), fields.len()), (Some(&b"a"[..]), 3));
        assert_eq!(fields.get_all("x-a").collect::<Vec<_>>(), [&b""[..], b"2"]);
        assert!(!fields.contains("x-b") && fields.share("x-b").is_none());
        assert_eq!(fields.share("x-a").expect("there"), "");
        assert!(fields.cleared().is_empty());
    }

    #[test]
    fn lines_can_be_replaced_and_go_to_a_map_and_back() {
        let mut fields: Fields = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        assert_eq!(Fields::from(&fields.to_map()).get_all("a").collect::<Vec<_>>(), [b"1", b"3"]);
        fields.set("a", b"4");
        assert_eq!(fields, [("b", "2"), ("a", "4")].into_iter().collect());
        fields.retain(|name, _| name != b"b");
        assert_eq!(format!("{fields:?}"), r#"{"a": "4"}"#);
    }
}
