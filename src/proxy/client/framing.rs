//! Reads along with hyper where each HTTP/1 request begins and ends, and counts the heads that leave no
//! doubt about it.
//!
//! A request with both `Content-Length` and `Transfer-Encoding` is legal to read, and hyper drops one of
//! the two before anyone sees it. Whatever stands in front of this proxy may have believed the other and
//! let somebody's request through inside another's body. So only requests whose heads were counted here
//! are served: whatever the two readers do not see alike is refused, and so is all that follows it.

use memchr::memchr;

use crate::proxy::length::content_length;
use crate::proxy::upstream::chunk_size;

/// Longest line that has to be understood: a length, a coding, the size of a chunk.
const LONGEST: usize = 64;

/// Where the bytes of one connection have got to. However they are cut, the result is the same.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    at: At,
    /// What came of a line that is not complete.
    cut: Cut,
    head: Head,
    heads: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    Body(u64),
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    /// Nothing after this can be told apart.
    Lost,
}

/// What a head has said so far.
#[derive(Debug, Default)]
struct Head {
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

/// The beginning of a line, its whole length, and its last byte.
#[derive(Debug)]
struct Cut {
    text: [u8; LONGEST],
    length: usize,
    last: u8,
}

impl Default for Cut {
    fn default() -> Self {
        Self { text: [0; LONGEST], length: 0, last: 0 }
    }
}

impl Cut {
    fn push(&mut self, more: &[u8]) {
        if let Some(room) = self.text.get_mut(self.length..) {
            let taken = room.len().min(more.len());
            room[..taken].copy_from_slice(&more[..taken]);
        }
        self.length += more.len();
        self.last = more.last().copied().unwrap_or(self.last);
    }
}

/// A line without its CRLF: all of it, or as much as matters.
struct Line<'a> {
    start: &'a [u8],
    long: bool,
}

/// It could be read in two ways.
struct Doubt;

impl Reader {
    /// How many heads were complete and beyond doubt.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Lost => return,
                At::Body(left) => {
                    skip(&mut bytes, left);
                    if *left == 0 {
                        self.at = At::Head;
                    }
                }
                At::Data(left) => {
                    skip(&mut bytes, left);
                    if *left == 0 {
                        self.at = At::DataEnd;
                    }
                }
                At::Head | At::Size | At::DataEnd | At::Trailers => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        return self.cut.push(bytes);
                    };
                    let (line, rest) = bytes.split_at(end);
                    bytes = &rest[1..];
                    if self.line(line).is_err() {
                        self.at = At::Lost;
                    }
                }
            }
        }
    }

    fn line(&mut self, end: &[u8]) -> Result<(), Doubt> {
        let cut;
        let line = if self.cut.length == 0 {
            let line = end.strip_suffix(b"\r").ok_or(Doubt)?;
            Line { start: &line[..line.len().min(LONGEST)], long: line.len() > LONGEST }
        } else {
            self.cut.push(end);
            cut = std::mem::take(&mut self.cut);
            if cut.last != b'\r' {
                return Err(Doubt);
            }
            let length = cut.length - 1;
            Line { start: &cut.text[..length.min(LONGEST)], long: length > LONGEST }
        };
        let empty = line.start.is_empty();
        match self.at {
            // Empty lines before a request are skipped.
            At::Head if empty && !self.head.begun => {}
            At::Head if empty => {
                self.at = std::mem::take(&mut self.head).body()?;
                self.heads += 1;
            }
            At::Head if !self.head.begun => self.head.begun = true,
            At::Head => self.head.field(&line)?,
            At::Size if line.long => return Err(Doubt),
            At::Size => {
                self.at = match chunk_size(line.start).map_err(|_| Doubt)? {
                    0 => At::Trailers,
                    size => At::Data(size),
                }
            }
            At::DataEnd if empty => self.at = At::Size,
            At::DataEnd => return Err(Doubt),
            At::Trailers if empty => self.at = At::Head,
            At::Trailers | At::Body(_) | At::Data(_) | At::Lost => {}
        }
        Ok(())
    }
}

fn skip(bytes: &mut &[u8], left: &mut u64) {
    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *bytes = &bytes[here..];
    *left -= here as u64;
}

impl Head {
    fn field(&mut self, line: &Line<'_>) -> Result<(), Doubt> {
        match line.start.first() {
            Some(b'c' | b'C' | b't' | b'T') => {}
            // A line that goes on with the one before it.
            Some(b' ' | b'\t') => return Err(Doubt),
            _ => return Ok(()),
        }
        let Some(colon) = memchr(b':', line.start) else { return Ok(()) };
        let (name, value) = (&line.start[..colon], line.start[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = content_length(value).filter(|_| !line.long).ok_or(Doubt)?;
            if self.length.replace(length).is_some_and(|earlier| earlier != length) {
                return Err(Doubt);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if line.long || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Doubt);
            }
            self.chunked = true;
        }
        Ok(())
    }

    fn body(self) -> Result<At, Doubt> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Doubt),
            (None, true) => Ok(At::Size),
            (Some(length), false) if length > 0 => Ok(At::Body(length)),
            (_, false) => Ok(At::Head),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8], step: usize) -> (u64, At) {
        let mut reader = Reader::default();
        text.chunks(step).for_each(|part| reader.read(part));
        (reader.heads, reader.at)
    }

    #[test]
    fn requests_are_told_apart_however_they_are_cut() {
        let long = "b".repeat(100);
        let text = format!(
            "\r\nGET / HTTP/1.1\r\nhost: a\r\ncookie: {long}\r\n\r\n\
             POST / HTTP/1.1\r\nContent-Length:\t11 \r\n\r\nGET / HTTP/\n\
             POST / HTTP/1.1\r\ntransfer-encoding: CHUNKED\r\nt: x\r\n\r\n5;a=b\r\nGET /\r\n0\r\nx-sum: 1\r\n\r\n\
             GET / HTTP/1.1\r\n\r\n"
        );
        let text = text.replace("HTTP/\n", "HTTP/");
        for step in 1..text.len() {
            assert_eq!(read(text.as_bytes(), step), (4, At::Head), "{step}");
        }
        assert_eq!(read(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab", 7), (1, At::Body(3)));
    }

    #[test]
    fn nothing_is_counted_after_a_doubt() {
        let long = " ".repeat(70);
        for doubtful in [
            "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
            "content-length: 1\r\ncontent-length: 2\r\n\r\n",
            "content-length: 1, 1\r\n\r\n",
            "content-length: +1\r\n\r\n",
            "content-length:\r\n\r\n",
            "content-length: 1234567890123456789\r\n\r\n",
            &format!("content-length: {long}1\r\n\r\n"),
            &format!("transfer-encoding: {long}chunked\r\n\r\n"),
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: gzip, chunked\r\n\r\n",
            "transfer-encoding: \x0bchunked\r\n\r\n",
            "a: b\n\r\n",
            "a: b\r\n\n",
            "a: b\r\n c\r\n\r\n",
        ] {
            let text = format!("GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n{doubtful}GET / HTTP/1.1\r\n\r\n");
            for step in 1..text.len() {
                assert_eq!(read(text.as_bytes(), step), (1, At::Lost), "{doubtful} {step}");
            }
        }
        for chunks in ["5\nhello\r\n0\r\n\r\n", "x\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello!\r\n", "\r\n"] {
            let text = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
            assert_eq!(read(text.as_bytes(), 3), (1, At::Lost), "{chunks:?}");
        }
    }

    proptest! {
        #[test]
        fn no_cut_changes_the_result(
            parts in prop::collection::vec(prop::sample::select(vec![
                "GET / HTTP/1.1", "\r\n", "\r\n\r\n", "\n", "\r", "content-length: ", "transfer-encoding: ", "chunked",
                "1", "0", "5", "a", "hello", " ", ";", "host: h\r\n", "content-length: 5\r\n", "transfer-encoding: chunked\r\n\r\n",
            ]), 0..40),
            steps in prop::collection::vec(1_usize..20, 1..60),
        ) {
            let text = parts.concat().into_bytes();
            let whole = read(&text, text.len().max(1));
            let (mut reader, mut rest) = (Reader::default(), text.as_slice());
            for step in steps.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, more) = rest.split_at(rest.len().min(*step));
                reader.read(part);
                rest = more;
            }
            prop_assert_eq!((reader.heads, reader.at), whole);
        }
    }
}
