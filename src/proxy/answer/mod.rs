//! What a client gets: the target's answer, or one of the proxy itself.

pub(super) mod body;
pub(super) mod location;
pub(super) mod pages;
pub(super) mod reply;
