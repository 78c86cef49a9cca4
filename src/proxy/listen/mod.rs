//! Takes connections: how many there may be, on which threads, and how a listener is left without turning anybody away.

pub(super) mod accept;
pub(super) mod census;
pub(super) mod lanes;
pub(super) mod listener;
pub(super) mod place;
pub(super) mod sockets;
