//! A connection of a client, and the bytes on it, until its last answer.

pub(super) mod connection;
mod framing;
pub(super) mod front;
mod http2;
mod pulse;
pub mod tls;
