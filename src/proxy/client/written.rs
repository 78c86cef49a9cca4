//! Writes the head of an answer for a client of HTTP/1.

use std::cell::RefCell;
use std::io::Write;

use chrono::DateTime;
use http::{HeaderMap, StatusCode};

use crate::proxy::Fields;
use crate::proxy::upstream::outgoing::line;

/// How a client is told where an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It has no body, and says so itself, or another protocol follows.
    Nothing,
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// What becomes of the connection after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// HTTP/1.1 keeps it without a word, HTTP/1.0 only if it is told to.
    Keep {
        said: bool,
    },
    Close,
    Change,
}

pub(crate) fn write(out: &mut Vec<u8>, status: StatusCode, fields: &Fields, told: Told, then: Then, now_ms: i64) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let (mut dated, mut measured) = (false, false);
    for (name, value) in fields.iter() {
        dated |= name == b"date";
        measured |= name == b"content-length";
        line(out, name, value);
    }
    match told {
        // Writing to memory does not fail.
        Told::Length(length) if !measured => drop(write!(out, "content-length: {length}\r\n")),
        Told::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Told::Nothing | Told::Length(_) | Told::Close => {}
    }
    match then {
        Then::Close => out.extend_from_slice(b"connection: close\r\n"),
        Then::Keep { said: true } => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Then::Change => out.extend_from_slice(b"connection: upgrade\r\n"),
        Then::Keep { said: false } => {}
    }
    if !dated {
        date(out, now_ms.div_euclid(1000));
    }
    out.extend_from_slice(b"\r\n");
}

/// Ends a chunked body.
pub(crate) fn write_end(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Who passes on an answer without a date adds it (RFC 9110, 6.6.1).
fn date(out: &mut Vec<u8>, second: i64) {
    thread_local! {
        /// The line, and the second that it is of.
        static DATED: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    DATED.with_borrow_mut(|(of, text)| {
        if *of != second {
            let now = DateTime::from_timestamp(second, 0).unwrap_or_default();
            *text = now.format("date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string();
            *of = second;
        }
        out.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(status: u16, fields: &[(&str, &str)], told: Told, then: Then) -> String {
        let (mut out, status) = (vec![], StatusCode::from_u16(status).expect("a status"));
        write(&mut out, status, &fields.iter().copied().collect(), told, then, 784_111_777_999);
        String::from_utf8(out).expect("text")
    }

    const KEEP: Then = Then::Keep { said: false };

    #[test]
    fn a_head_says_where_the_answer_ends_and_what_follows() {
        let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(
            written(200, &[("x-a", "1")], Told::Length(5), KEEP),
            format!("HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 5\r\n{date}\r\n")
        );
        let own = [("content-length", "7"), ("date", "now")];
        assert_eq!(
            written(404, &own, Told::Length(5), Then::Close),
            "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\ndate: now\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(
            written(299, &[], Told::Chunked, Then::Keep { said: true }),
            format!("HTTP/1.1 299 \r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n{date}\r\n")
        );
        let change = [("upgrade", "websocket")];
        assert_eq!(
            written(101, &change, Told::Nothing, Then::Change),
            format!("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n{date}\r\n")
        );
    }
}
