//! Once both sides have agreed on another protocol, bytes only pass through: WebSocket mostly. A tunnel in
//! which nothing passes holds no buffer, and one whose client is gone is found and closed.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use super::websocket::{Frames, PING, Passed, Pings, Verdict, Vigil};
use crate::proxy::Settings;
use crate::proxy::client::io::Io;
use crate::proxy::door::stay::Stay;
use crate::proxy::upstream::{Link, Meter};

/// How much is read at once, into a buffer that all tunnels of a thread share.
const READ: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// A tunnel that opens as soon as the client has its `101`.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub target: Link,
    /// Counts what the client sends; what the target says is no sign that anyone is there.
    pub meter: Meter,
    pub watch: Watch,
    /// Where there is a doorman.
    pub stay: Option<Stay>,
}

/// How a client that is gone is found out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    /// Frames are WebSocket's, so pings may be put between them.
    pub websocket: bool,
    /// Silence of a client after which it is asked.
    pub silence: Duration,
    /// What it then gets to say something.
    pub answer: Duration,
}

impl Watch {
    pub(crate) fn new(settings: &Settings, protocol: &[u8]) -> Self {
        Self {
            websocket: settings.tunnel_ping.is_some() && protocol.eq_ignore_ascii_case(b"websocket"),
            silence: settings.tunnel_ping.unwrap_or(settings.keepalive),
            answer: settings.tunnel_pong,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("a side of the tunnel failed")]
    Failed(#[from] io::Error),
    #[error("the client is gone: it did not answer a ping")]
    Gone,
}

impl Tunnel {
    /// Until both sides have ended, one fails, or the client is gone. An end is passed on, and the other way
    /// stays open. `read`: what the client has sent already.
    pub(crate) async fn run(self, mut client: Io, read: BytesMut) -> Result<(), Cut> {
        let mut target = self.target.stream;
        let (mut to_target, mut to_client) = (Way::default(), Way::default());
        let mut passing = Passing::new(self.watch.websocket, self.meter);
        to_target.begin(&read, |bytes, left| passing.sent_by_client(bytes, left));
        to_client.begin(&self.target.input, |bytes, left| passing.sent_by_target(bytes, left));
        drop((read, self.target.input));
        let mut look = pin!(sleep(self.watch.silence));
        poll_fn(|cx| {
            loop {
                let up = to_target
                    .poll(cx, &mut client, &mut target, |bytes, left| passing.sent_by_client(bytes, left))?;
                let down = to_client
                    .poll(cx, &mut target, &mut client, |bytes, left| passing.sent_by_target(bytes, left))?;
                if up.is_ready() && down.is_ready() {
                    return Poll::Ready(Ok(()));
                }
                if passing.vigil.has_answered() {
                    look.as_mut().reset(Instant::now() + self.watch.silence);
                }
                ready!(look.as_mut().poll(cx));
                let next = match passing.look(up.is_ready() || down.is_ready()) {
                    Verdict::There => self.watch.silence,
                    Verdict::Ask | Verdict::Asked => self.watch.answer,
                    Verdict::Gone => return Poll::Ready(Err(Cut::Gone)),
                };
                look.as_mut().reset(Instant::now() + next);
                if down.is_pending()
                    && let Some(ping) = passing.ping()
                {
                    to_client.left.extend_from_slice(&ping);
                }
            }
        })
        .await
    }
}

/// What is known of the bytes that pass.
#[derive(Debug)]
struct Passing {
    /// Those of the target, and the client's; none if something else than WebSocket is spoken.
    frames: Option<(Frames, Pings)>,
    vigil: Vigil,
    /// A ping is to be sent as soon as no frame is under way.
    ask: bool,
    meter: Meter,
}

impl Passing {
    fn new(websocket: bool, meter: Meter) -> Self {
        let frames = websocket.then(|| (Frames::default(), Pings::new()));
        Self { frames, vigil: Vigil::default(), ask: false, meter }
    }

    /// True if the bytes are to be passed on as they are; if not, what is to be passed on is in `left`. That
    /// a WebSocket is kept alive is no use of what is behind it.
    fn sent_by_client(&mut self, bytes: &[u8], left: &mut Vec<u8>) -> bool {
        self.vigil.heard();
        let (whole, data) = match &mut self.frames {
            None => (true, true),
            Some((_, pings)) if pings.expects() => (false, pings.sift(bytes, left).data),
            Some((_, pings)) => (true, pings.pass(bytes).data),
        };
        if data {
            self.meter.touch();
        }
        whole
    }

    fn sent_by_target(&mut self, mut bytes: &[u8], left: &mut Vec<u8>) -> bool {
        let Some((frames, pings)) = &mut self.frames else {
            self.vigil.heard();
            return true;
        };
        let mut passed = Passed::default();
        let whole = !self.ask;
        if self.ask {
            let used = frames.step(bytes, &mut passed);
            left.extend_from_slice(&bytes[..used]);
            bytes = &bytes[used..];
            if frames.between() {
                left.extend_from_slice(&pings.ask());
                self.ask = false;
            }
            left.extend_from_slice(bytes);
        }
        if passed.ping | frames.pass(bytes).ping {
            self.vigil.pinged();
        }
        whole
    }

    fn look(&mut self, one_has_ended: bool) -> Verdict {
        // Without pings only TCP can tell, unless a side has ended already and the other goes on saying nothing.
        if self.frames.is_none() && !one_has_ended {
            return Verdict::There;
        }
        let verdict = self.vigil.look();
        self.ask |= verdict == Verdict::Ask;
        verdict
    }

    /// The ping that is due, if it can be sent now.
    fn ping(&mut self) -> Option<[u8; PING]> {
        let (frames, pings) = self.frames.as_mut()?;
        let now = self.ask && frames.between();
        self.ask &= !now;
        now.then(|| pings.ask())
    }
}

/// What was read one way and is not written yet.
#[derive(Debug, Default)]
struct Way {
    left: Vec<u8>,
    sent: usize,
    unflushed: bool,
    ended: bool,
    shut: bool,
}

impl Way {
    /// Takes what was read before the tunnel was open.
    fn begin(&mut self, bytes: &[u8], take: impl FnOnce(&[u8], &mut Vec<u8>) -> bool) {
        if !bytes.is_empty() && take(bytes, &mut self.left) {
            self.left.extend_from_slice(bytes);
        }
    }

    /// Reads and writes until one has to wait; ready once the end was passed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        mut take: impl FnMut(&[u8], &mut Vec<u8>) -> bool,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(cx, to))?;
            if self.ended {
                return self.poll_end(cx, to);
            }
            let read = BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
                let bytes = buffer.filled();
                self.ended = bytes.is_empty();
                if !self.ended && take(bytes, &mut self.left) {
                    let written = match Pin::new(&mut *to).poll_write(cx, bytes)? {
                        Poll::Ready(0) => return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero))),
                        Poll::Ready(written) => written,
                        Poll::Pending => 0,
                    };
                    self.unflushed |= written > 0;
                    self.left.extend_from_slice(&bytes[written..]);
                }
                Poll::Ready(Ok(()))
            });
            ready!(read)?;
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin)) -> Poll<io::Result<()>> {
        while self.sent < self.left.len() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &self.left[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
            self.unflushed = true;
        }
        if self.sent > 0 {
            self.left = Vec::new();
            self.sent = 0;
        }
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin)) -> Poll<io::Result<()>> {
        if self.shut {
            return Poll::Ready(Ok(()));
        }
        let shut = ready!(Pin::new(to).poll_shutdown(cx));
        self.shut = true;
        match shut {
            // The other side may be gone already.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}
