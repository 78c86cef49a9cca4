//! One connection to a target, with what was read from it and is not yet used.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::Stream;
use crate::proxy::fill::poll_fill;
use crate::proxy::listen::sockets;
use crate::proxy::{ClientTls, Settings, Target};

/// What a target may leave unread before it passes for gone. A scheduler that unpacks a large graph reads
/// nothing for minutes.
const DEAF: Duration = Duration::from_secs(600);

/// A connection and its buffers, which it keeps from one request to the next.
#[derive(Debug)]
pub(crate) struct Link {
    pub stream: Stream,
    pub input: BytesMut,
    /// Where request heads are written, kept to save allocating it anew.
    pub head: Vec<u8>,
}

impl Link {
    pub(crate) async fn open(target: &Target, tls: Option<&ClientTls>, settings: &Settings) -> io::Result<Self> {
        let stream = tokio::time::timeout(settings.connect_timeout, Stream::open(target, tls)).await??;
        if let Some(stream) = stream.tcp() {
            sockets::keep_alive(stream, settings.keepalive, DEAF)?;
        }
        Ok(Self { stream, input: BytesMut::new(), head: Vec::with_capacity(1024) })
    }

    /// False once the target has closed an unused connection, or sent something unasked.
    pub(crate) fn is_usable(&mut self) -> bool {
        self.input.is_empty() && self.stream.is_quiet()
    }

    /// Reads what there is, at most about `wanted` bytes: 0 at the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, wanted: u64) -> Poll<io::Result<usize>> {
        poll_fill(cx, &mut self.stream, &mut self.input, wanted)
    }
}
