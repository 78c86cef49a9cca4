//! The client while its request is forwarded: where the request's body comes from, and whether anybody still waits.

use std::task::{Context, Poll};

use bytes::Bytes;

/// Polled by the task that forwards. What the client speaks is no affair of whoever asks.
pub(crate) type Source<'a> = dyn Requester + Send + 'a;

pub(crate) trait Requester {
    /// The next piece of the request's body, which is not empty; none at its end. Trailers are dropped, as a proxy
    /// may: no target here has a use for them.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Unread>>>;

    /// Whether nothing more of a body is to come.
    fn is_read(&self) -> bool;

    /// Ready once the client has left, as far as that can be seen.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Why no more of a request is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    #[error("the client is gone")]
    Gone,
    #[error("the body is malformed")]
    Malformed,
}
