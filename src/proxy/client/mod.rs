//! A connection of a client, and the bytes on it, until its last answer.

pub(super) mod connection;
mod head;
mod http1;
mod http2;
pub(super) mod io;
mod pulse;
mod sending;
pub mod tls;
mod wire;
mod written;
