//! Reading from either side into a buffer that is kept from one message to the next.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Room for a usual message in one read.
pub(crate) const SMALL_READ: usize = 8 * 1024;
/// Of a long body, at most, in bytes. A gigabyte costs a fifth less CPU than with half of it, and no less with twice as much.
const LARGE_READ: usize = 512 * 1024;

/// Reads what there is, at most about `wanted` bytes: 0 at the end.
pub(crate) fn poll_fill(
    cx: &mut Context<'_>,
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
    wanted: u64,
) -> Poll<io::Result<usize>> {
    let wanted = usize::try_from(wanted).unwrap_or(LARGE_READ).clamp(SMALL_READ, LARGE_READ);
    let room = input.capacity() - input.len();
    if room < wanted.min(SMALL_READ / 4) || (wanted > SMALL_READ && room < wanted / 2) {
        input.reserve(wanted);
    }
    let read = ready!(pin!(stream.read_buf(input)).poll(cx))?;
    Poll::Ready(Ok(read))
}
