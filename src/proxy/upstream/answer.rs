//! The head of a target's answer, and how its body ends. Anything ambiguous is refused: a target that is
//! read wrongly once would answer one person's request with another's data.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::StatusCode;

use super::outgoing;
use crate::proxy::Fields;
use crate::proxy::length::content_length;

/// Room for the header lines of nearly all answers; more than the larger are not an answer.
const USUAL_HEADERS: usize = 32;
const MOST_HEADERS: usize = 128;
/// Nor is a longer head, in bytes.
const LONGEST_HEAD: usize = 128 * 1024;

/// What the answer's reading depends on in its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub head_only: bool,
    pub upgrade: bool,
}

/// How the body of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Empty,
    Length(u64),
    Chunked,
    /// With the connection, which only HTTP/1.0 targets still do.
    Close,
    /// There is none: from here on another protocol is spoken.
    Upgrade,
}

/// An answer's head, without the headers that concern the connection only.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub fields: Fields,
    pub framing: Framing,
    /// The target will take another request on this connection.
    pub reusable: bool,
}

/// What is not an HTTP answer, or one that could be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the target's answer is malformed: {0}")]
pub(crate) struct Malformed(pub &'static str);

impl Answer {
    /// Takes the answer's head off the front of `input` once it is complete; interim answers are skipped.
    pub(crate) fn parse(input: &mut BytesMut, asked: Asked) -> Result<Option<Self>, Malformed> {
        loop {
            let Some((answer, hop)) = Self::parse_one(input)? else {
                return Ok(None);
            };
            let informational = answer.status.is_informational();
            if !informational || answer.status == StatusCode::SWITCHING_PROTOCOLS {
                return answer.framed(asked, hop).map(Some);
            }
        }
    }

    fn parse_one(input: &mut BytesMut) -> Result<Option<(Self, Hop)>, Malformed> {
        match Lines::scan::<USUAL_HEADERS>(input) {
            Err(httparse::Error::TooManyHeaders) => Self::take(input, Lines::scan::<MOST_HEADERS>(input)),
            scanned => Self::take(input, scanned),
        }
    }

    fn take(
        input: &mut BytesMut,
        scanned: Result<Option<Lines>, httparse::Error>,
    ) -> Result<Option<(Self, Hop)>, Malformed> {
        let Lines { status, http_10, length, mut fields } = match scanned {
            Ok(Some(lines)) => lines,
            Ok(None) if input.len() > LONGEST_HEAD => return Err(Malformed("its head is too long")),
            Ok(None) => return Ok(None),
            Err(_) => return Err(Malformed("its head does not parse")),
        };
        let status = StatusCode::from_u16(status).map_err(|_| Malformed("its status"))?;
        fields.attach(input.split_to(length));
        let mut hop = Hop { http_10, ..Hop::default() };
        let mut wrong = None;
        fields.retain(|name, value| {
            hop.keeps(name, value, status).unwrap_or_else(|malformed| {
                wrong = Some(malformed);
                false
            })
        });
        if let Some(malformed) = wrong {
            return Err(malformed);
        }
        if hop.connection.names_any() {
            fields.retain(|name, _| !hop.connection.names(name));
        }
        let answer = Self { status, fields, framing: Framing::Empty, reusable: false };
        Ok(Some((answer, hop)))
    }

    /// Decides where the body ends (RFC 9112, 6.3).
    fn framed(mut self, asked: Asked, hop: Hop) -> Result<Self, Malformed> {
        self.reusable = if hop.http_10 { hop.connection.keep_alive } else { !hop.connection.close };
        if self.status == StatusCode::SWITCHING_PROTOCOLS {
            if !asked.upgrade {
                return Err(Malformed("it switches protocols unasked"));
            }
            self.fields.retain(|name, _| name != b"content-length");
            self.framing = Framing::Upgrade;
            self.reusable = false;
            return Ok(self);
        }
        if hop.chunked && (hop.length.is_some() || hop.http_10) {
            return Err(Malformed("it has two lengths"));
        }
        let bodiless = matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.framing = match hop.length {
            _ if asked.head_only || bodiless => Framing::Empty,
            _ if hop.chunked => Framing::Chunked,
            Some(0) => Framing::Empty,
            Some(length) => Framing::Length(length),
            None => Framing::Close,
        };
        if self.status == StatusCode::NO_CONTENT {
            self.fields.retain(|name, _| name != b"content-length");
        }
        self.reusable &= self.framing != Framing::Close;
        Ok(self)
    }
}

/// What the head says of the connection and the body, found while its lines are read.
#[derive(Debug, Default)]
struct Hop {
    http_10: bool,
    connection: outgoing::Connection,
    length: Option<u64>,
    chunked: bool,
}

impl Hop {
    /// Notes what the line says; true if it is also for the client.
    fn keeps(&mut self, name: &[u8], value: &[u8], status: StatusCode) -> Result<bool, Malformed> {
        match name {
            b"content-length" => {
                let length = content_length(value).ok_or(Malformed("its content-length"))?;
                match self.length.replace(length) {
                    None => return Ok(true),
                    Some(earlier) if earlier == length => {}
                    Some(_) => return Err(Malformed("its content-lengths differ")),
                }
            }
            // Any other coding is refused, as nobody asked for it.
            b"transfer-encoding" if !self.chunked && value.eq_ignore_ascii_case(b"chunked") => {
                self.chunked = true;
            }
            b"transfer-encoding" => return Err(Malformed("its transfer-encoding")),
            b"connection" => self.connection.read(value),
            // The protocol to which the target has agreed.
            b"upgrade" => return Ok(status == StatusCode::SWITCHING_PROTOCOLS),
            _ => return Ok(!outgoing::is_hop_by_hop(name)),
        }
        Ok(false)
    }
}

/// An answer's head before it is looked at.
struct Lines {
    status: u16,
    http_10: bool,
    length: usize,
    fields: Fields,
}

impl Lines {
    fn scan<const N: usize>(input: &[u8]) -> Result<Option<Self>, httparse::Error> {
        let mut lines = [const { MaybeUninit::uninit() }; N];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let scanned = config.parse_response_with_uninit_headers(&mut parsed, input, &mut lines)?;
        let httparse::Status::Complete(length) = scanned else { return Ok(None) };
        let mut fields = Fields::default();
        fields.note(parsed.headers, input);
        Ok(Some(Self {
            status: parsed.code.unwrap_or_default(),
            http_10: parsed.version == Some(0),
            length,
            fields,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is to be seen of an answer, and how many bytes come after its head.
    type Seen = (StatusCode, Fields, Framing, bool, usize);

    /// The answer as it comes in parts of `step` bytes.
    fn in_parts(text: &[u8], step: usize) -> Result<Option<Seen>, Malformed> {
        let (mut input, mut parts) = (BytesMut::new(), text.chunks(step));
        loop {
            if let Some(answer) = Answer::parse(&mut input, Asked { head_only: false, upgrade: true })? {
                let left = input.len() + parts.map(<[u8]>::len).sum::<usize>();
                return Ok(Some((answer.status, answer.fields, answer.framing, answer.reusable, left)));
            }
            match parts.next() {
                Some(part) => input.extend_from_slice(part),
                None => return Ok(None),
            }
        }
    }

    proptest! {
        #[test]
        fn no_cut_changes_the_result(
            parts in prop::collection::vec(prop::sample::select(vec![
                "HTTP/1.1 200 OK\r\n", "HTTP/1.0 204 No\r\n", "HTTP/1.1 100 Go on\r\n\r\n", "HTTP/1.1 101 X\r\n", "Content-Length: 5\r\n",
                "content-length: 6\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "upgrade: x\r\n", "a: b\r\n", "a", ": ",
                "\r\n", "\n", "\r", " ", "\0", "\u{ff}", "\r\n\r\n",
            ]), 0..12),
            step in 1_usize..40,
        ) {
            let text = parts.concat().into_bytes();
            prop_assert_eq!(in_parts(&text, step).ok(), in_parts(&text, text.len().max(1)).ok());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1_usize..40) {
            let _ = in_parts(&bytes, step);
        }
    }

    const GET: Asked = Asked { head_only: false, upgrade: false };

    fn parse(text: &str, asked: Asked) -> Result<Option<(Answer, BytesMut)>, Malformed> {
        let mut input = BytesMut::from(text);
        Ok(Answer::parse(&mut input, asked)?.map(|answer| (answer, input)))
    }

    fn framing(text: &str, asked: Asked) -> Result<(Framing, bool), Malformed> {
        parse(text, asked)
            .map(|found| found.map(|(answer, _)| (answer.framing, answer.reusable)).expect("complete"))
    }

    #[test]
    fn the_body_ends_as_the_head_says() {
        let cases = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Framing::Empty, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::Chunked, true),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
                Framing::Chunked,
                false,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::Close, false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", Framing::Length(5), true),
            ("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", Framing::Empty, true),
            ("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", Framing::Empty, true),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                Framing::Length(5),
                true,
            ),
        ];
        for (text, expected, reusable) in cases {
            assert_eq!(framing(text, GET), Ok((expected, reusable)), "{text}");
        }
        let head = Asked { head_only: true, upgrade: false };
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head), Ok((Framing::Empty, true)));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rX: c\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            assert!(parse(text, GET).is_err(), "{text}");
        }
    }

    #[test]
    fn half_a_head_waits_and_the_body_stays_in_the_buffer() {
        assert!(parse("HTTP/1.1 200 OK\r\nContent-Le", GET).expect("fine so far").is_none());
        let (answer, rest) = parse("HTTP/1.1 200 OK\r\nA: b\r\nA: c\r\nE:\r\nContent-Length: 5\r\n\r\nhello", GET)
            .expect("well formed")
            .expect("complete");
        assert_eq!(&rest[..], b"hello");
        assert_eq!(answer.fields.get_all("a").collect::<Vec<_>>(), [b"b", b"c"]);
        assert_eq!(answer.fields.get("e"), Some(&b""[..]));
    }

    #[test]
    fn many_headers_are_read_and_too_many_refused() {
        let text = |count: usize| {
            let lines: String = (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect();
            format!("HTTP/1.1 200 OK\r\n{lines}\r\n")
        };
        for count in [0, 31, 32, 33, 128] {
            let (answer, _) = parse(&text(count), GET).expect("well formed").expect("complete");
            assert_eq!(answer.fields.len(), count);
        }
        assert!(parse(&text(129), GET).is_err());
    }

    #[test]
    fn headers_of_the_connection_are_dropped() {
        let text = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-End: 1\r\n\
                    Proxy-Connection: x\r\nContent-Length: 0\r\n\r\n";
        let (answer, _) = parse(text, GET).expect("well formed").expect("complete");
        let left: Vec<_> = answer.fields.iter().map(|(name, _)| name).collect();
        assert_eq!(left, [&b"x-end"[..], b"content-length"]);
    }
}
