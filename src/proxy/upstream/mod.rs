//! The side towards the targets: HTTP/1.1 as a client, one exchange at a time on a connection, read and
//! written by the task that forwards the request.

mod answer;
pub mod client_tls;
mod exchange;
pub(super) mod fetch;
mod link;
mod outbox;
pub(super) mod outgoing;
mod pool;
mod stream;

pub(super) use answer::{Answer, Asked, Framing, Malformed};
pub(super) use exchange::{Exchange, Failure};
pub(super) use link::Link;
pub(super) use outbox::{Meter, Outbox, Patience, Payload};
pub(super) use pool::Pool;
pub(super) use stream::Stream;
