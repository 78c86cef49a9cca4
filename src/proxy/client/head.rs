//! Reads the heads of HTTP/1 requests. Whatever does not parse ends the connection, as nobody knows what follows it.

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::{Method, StatusCode, Uri, Version};
use memchr::memchr_iter;

use crate::proxy::fields::Span;
use crate::proxy::request::vet::{MOST_HEADERS, Refusal, TOO_MANY_HEADERS, bad};
use crate::proxy::{Fields, RequestHead};

const NO_HTTP: Refusal = bad("This is no HTTP/1.1 request.");
const TOO_LONG: Refusal =
    Refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's headers are too long.");

/// Where in a head that is not complete the reader is.
#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    /// Bytes in which the head does not end, with none but proper line ends.
    scanned: usize,
    /// Room for the header lines, used again.
    pub spare: Fields,
}

impl HeadReader {
    /// Takes a request's head off the front of `input` once it is complete; it has at most `most` bytes.
    pub(crate) fn take(&mut self, input: &mut BytesMut, most: usize) -> Result<Option<RequestHead>, Refusal> {
        // Empty lines before a request are skipped (RFC 9112, 2.2).
        while self.scanned == 0 && input.starts_with(b"\r\n") {
            input.advance(2);
        }
        match input.first() {
            None => return Ok(None),
            Some(b'\r') if input.len() == 1 => return Ok(None),
            // Nobody has to wait for the end of what does not begin like a method.
            Some(first) if !first.is_ascii_alphabetic() => return Err(NO_HTTP),
            Some(_) => {}
        }
        match self.end(input)? {
            Some(length) if length <= most => {
                self.scanned = 0;
                self.parse(input.split_to(length)).map(Some)
            }
            None if input.len() <= most => Ok(None),
            Some(_) | None => Err(TOO_LONG),
        }
    }

    /// The length of the head. A line without CR is the end of a line for some servers and not for others.
    fn end(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        for at in memchr_iter(b'\n', &input[self.scanned..]) {
            let line = &input[..self.scanned + at];
            match line.strip_suffix(b"\r") {
                None => return Err(bad("A line of the request's head does not end with CR and LF.")),
                Some(line) if line.ends_with(b"\n") => return Ok(Some(line.len() + 2)),
                Some(_) => {}
            }
        }
        self.scanned = input.len();
        Ok(None)
    }

    fn parse(&mut self, head: BytesMut) -> Result<RequestHead, Refusal> {
        let mut lines = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(&head, &mut lines) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(TOO_MANY_HEADERS),
            Ok(_) | Err(_) => return Err(NO_HTTP),
        }
        let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes()).map_err(|_| NO_HTTP)?;
        let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        let target = Span::of(parsed.path.unwrap_or_default().as_bytes(), &head);
        let mut fields = std::mem::take(&mut self.spare);
        fields.note(parsed.headers, &head);
        let head = fields.attach(head);
        let uri = Uri::from_maybe_shared(head.slice(target.range()))
            .map_err(|_| bad("The request's address is not valid."))?;
        Ok(RequestHead { method, uri, version, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is to be seen of requests without bodies, until one is refused: its status.
    fn read(text: &[u8], step: usize) -> (Vec<RequestHead>, Option<u16>) {
        let (mut reader, mut input, mut seen) = (HeadReader::default(), BytesMut::new(), vec![]);
        for part in text.chunks(step.max(1)) {
            input.extend_from_slice(part);
            loop {
                match reader.take(&mut input, 2000) {
                    Ok(Some(head)) => seen.push(head),
                    Ok(None) => break,
                    Err(Refusal(status, _)) => return (seen, Some(status.as_u16())),
                }
            }
        }
        (seen, None)
    }

    #[test]
    fn heads_are_told_apart_however_they_are_cut() {
        let text = b"\r\n\r\nGET /a?b HTTP/1.1\r\nHost: a\r\nx-a:\t1 \r\nX-A: 2\r\n\r\n\r\nPUT http://h/c HTTP/1.0\r\n\r\nGET";
        for step in 1..text.len() {
            let (seen, refused) = read(text, step);
            assert_eq!((seen.len(), refused), (2, None), "{step}");
            let first = RequestHead::get("/a?b", &[("host", "a"), ("x-a", "1"), ("x-a", "2")]);
            let second = RequestHead {
                method: Method::PUT,
                version: Version::HTTP_10,
                ..RequestHead::get("http://h/c", &[])
            };
            assert_eq!(seen, [first, second]);
        }
    }

    #[test]
    fn what_is_no_head_is_refused_however_it_is_cut() {
        let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
        let long = "a".repeat(2000);
        for (doubtful, status) in [
            ("GET /b HTTP/1.1\nhost: a\r\n\r\n".to_owned(), 400),
            ("GET /b HTTP/1.1\r\nhost: a\n\r\n".to_owned(), 400),
            ("GET /b HTTP/1.1\r\nhost: a\r\n\n".to_owned(), 400),
            ("GET /b HTTP/1.1\r\nhost: a\r\n b\r\n\r\n".to_owned(), 400),
            ("GET /b HTTP/1.1\r\nhost : a\r\n\r\n".to_owned(), 400),
            ("GET /b HTTP/1.1\r\nhost: a\rb\r\n\r\n".to_owned(), 400),
            ("GET /b HTTP/1.1\r\nhost: a\0b\r\n\r\n".to_owned(), 400),
            ("GET /b HTTP/1.1\r\nhost\r\n\r\n".to_owned(), 400),
            ("GET /b HTTP/1.2\r\n\r\n".to_owned(), 400),
            ("GET /b\r\n\r\n".to_owned(), 400),
            ("GET  /b HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("PRI * HTTP/2.0\r\n\r\n".to_owned(), 400),
            ("\r\rGET /b HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("\nGET /b HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("\u{16}\u{3}\u{1}".to_owned(), 400),
            (format!("GET /b HTTP/1.1\r\n{many}\r\n"), 431),
            (format!("GET /b HTTP/1.1\r\nx: {long}\r\n\r\n"), 431),
            (format!("GET /{long}"), 431),
        ] {
            let text = format!("GET /a HTTP/1.1\r\n\r\n{doubtful}GET /c HTTP/1.1\r\n\r\n");
            for step in [1, 2, 3, 7, 50, text.len()] {
                let (seen, refused) = read(text.as_bytes(), step);
                assert_eq!((seen.len(), refused), (1, Some(status)), "{step}: {doubtful:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_cut_changes_the_result(
            parts in prop::collection::vec(prop::sample::select(vec![
                "GET / HTTP/1.1", "GET ", "/", " HTTP/1.0", "\r\n", "\r\n\r\n", "\n", "\r", "host: h\r\n", "a", ": ", " ", "\0", "\u{ff}",
            ]), 0..30),
            step in 1_usize..40,
        ) {
            let text = parts.concat().into_bytes();
            prop_assert_eq!(read(&text, step), read(&text, text.len()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1_usize..40) {
            read(&bytes, step);
        }
    }
}
