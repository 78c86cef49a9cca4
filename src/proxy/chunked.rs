//! Reads a chunked body strictly: CRLF only, plain hexadecimal sizes, bounded lines and trailers.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use memchr::memchr_iter;

use super::upstream::Malformed;

/// Longest size line (extensions are skipped) and most trailer bytes.
const LONGEST_LINE: usize = 1024;
const MOST_TRAILERS: usize = 16 * 1024;

/// Where in a chunked body the reader is.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    /// The CRLF after a chunk's data.
    DataEnd,
    Trailers,
    End,
}

/// The next piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    /// The end, with what came after it (often nothing).
    End(HeaderMap),
    /// More must be read first.
    More,
}

impl Chunked {
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Piece, Malformed> {
        loop {
            match self.state {
                State::Size => match line(input, LONGEST_LINE)? {
                    None => return Ok(Piece::More),
                    Some(end) => {
                        let size = size(&input[..end])?;
                        input.advance(end + 2);
                        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                    }
                },
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(Piece::More);
                    }
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let left = left - here as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Piece::Data(input.split_to(here).freeze()));
                }
                State::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        self.state = State::Size;
                    }
                    Some(_) => return Err(Malformed("a chunk is longer than its size")),
                    None => return Ok(Piece::More),
                },
                State::Trailers => return self.trailers(input),
                State::End => return Ok(Piece::End(HeaderMap::new())),
            }
        }
    }

    /// Waits for all trailers, so that a flood of them never takes more than their limit.
    fn trailers(&mut self, input: &mut BytesMut) -> Result<Piece, Malformed> {
        let length = if input.starts_with(b"\r\n") {
            2
        } else {
            match input.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => at + 4,
                None if input.len() > MOST_TRAILERS => return Err(Malformed("its trailers are too long")),
                None => return Ok(Piece::More),
            }
        };
        let block = input.split_to(length).freeze();
        let mut lines = [httparse::EMPTY_HEADER; 32];
        let lines = match httparse::parse_headers(&block, &mut lines) {
            Ok(httparse::Status::Complete((_, lines))) if !has_bare_line_feed(&block) => lines,
            _ => return Err(Malformed("its trailers do not parse")),
        };
        let mut trailers = HeaderMap::new();
        for line in lines {
            let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Malformed("a trailer's name"))?;
            let value = HeaderValue::from_bytes(line.value).map_err(|_| Malformed("a trailer's value"))?;
            trailers.append(name, value);
        }
        self.state = State::End;
        Ok(Piece::End(trailers))
    }
}

/// Whether a line ends without CR, which some servers take for an end and others do not.
fn has_bare_line_feed(lines: &[u8]) -> bool {
    memchr_iter(b'\n', lines).any(|at| at == 0 || lines[at - 1] != b'\r')
}

/// Where the first line of `input` ends (before its CRLF), once it is there.
fn line(input: &[u8], longest: usize) -> Result<Option<usize>, Malformed> {
    match input.iter().take(longest + 1).position(|&b| b == b'\n') {
        Some(at) if at > 0 && input[at - 1] == b'\r' => Ok(Some(at - 1)),
        Some(_) => Err(Malformed("a line of its chunks ends without CR")),
        None if input.len() > longest => Err(Malformed("a line of its chunks is too long")),
        None => Ok(None),
    }
}

/// What a chunk's size line says; extensions are allowed and ignored.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let end = line.iter().position(|&b| matches!(b, b';' | b' ' | b'\t')).unwrap_or(line.len());
    let extension = line[end..].trim_ascii_start();
    let plain = !line[end..].contains(&b'\r') && matches!(extension.first(), None | Some(b';'));
    if end == 0 || end > 15 || !plain {
        return Err(Malformed("a chunk's size"));
    }
    line[..end].iter().try_fold(0, |sum, &b| {
        let digit = char::from(b).to_digit(16).ok_or(Malformed("a chunk's size"))?;
        Ok(sum * 16 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads `text` in parts of `step` bytes; the body, the trailers and what was left over.
    fn read(text: &[u8], step: usize) -> Result<Option<(Vec<u8>, HeaderMap, usize)>, Malformed> {
        let (mut reader, mut input, mut body) = (Chunked::default(), BytesMut::new(), vec![]);
        let mut parts = text.chunks(step);
        loop {
            match reader.next(&mut input)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::End(trailers) => {
                    return Ok(Some((body, trailers, input.len() + parts.map(<[u8]>::len).sum::<usize>())));
                }
                Piece::More => match parts.next() {
                    Some(part) => input.extend_from_slice(part),
                    None => return Ok(None),
                },
            }
        }
    }

    #[test]
    fn chunks_extensions_and_trailers_are_read_however_they_are_cut() {
        let text = b"5;a=b\r\nhello\r\n6 \r\n world\r\n000\r\nX-Sum: 1\r\n\r\nnext";
        for step in 1..text.len() {
            let (body, trailers, left) = read(text, step).expect("well formed").expect("complete");
            assert_eq!((body.as_slice(), left), (b"hello world".as_slice(), 4), "{step}");
            assert_eq!(trailers["x-sum"], "1");
        }
        assert_eq!(read(b"5\r\nhel", 3), Ok(None));
    }

    #[test]
    fn sloppy_chunks_are_refused() {
        for text in [
            "\r\n",
            "g\r\n",
            "0x5\r\n",
            "+5\r\n",
            "-5\r\n",
            "5\nhello",
            "5\r\nhello!\r\n",
            "1000000000000000\r\n",
            "5 x\r\n",
            " 5\r\n",
            "0\r\nbad line\r\n\r\n",
            "0\r\na: b\n\nGET / HTTP/1.1\r\n\r\n",
            "0\r\na: b\nc: d\r\n\r\n",
        ] {
            assert!(read(text.as_bytes(), 64).is_err(), "{text:?}");
        }
        assert!(read(&[b'1'; 2000], 64).is_err());
    }

    proptest! {
        #[test]
        fn what_was_chunked_comes_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8), step in 1_usize..40) {
            let mut text = vec![];
            for part in &parts {
                text.extend_from_slice(format!("{:X}\r\n", part.len()).as_bytes());
                text.extend_from_slice(part);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let (body, _, left) = read(&text, step).expect("well formed").expect("complete");
            prop_assert_eq!(body, parts.concat());
            prop_assert_eq!(left, 0);
        }

        #[test]
        fn no_cut_changes_the_result(
            parts in prop::collection::vec(prop::sample::select(vec![
                "5", "0", "a", "\r\n", "\n", "\r", ";x=y", " ", "hello", "t: x\r\n", "5\r\nhello\r\n", "0\r\n\r\n", "\0", "\u{ff}",
            ]), 0..20),
            step in 1_usize..40,
        ) {
            let text = parts.concat().into_bytes();
            prop_assert_eq!(read(&text, step).ok(), read(&text, text.len().max(1)).ok());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1_usize..40) {
            let _ = read(&bytes, step);
        }
    }
}
