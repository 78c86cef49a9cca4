//! What a request says, read so that no other server could read it otherwise.

pub(super) mod cookies;
pub(super) mod forwarded;
pub(super) mod head;
pub(super) mod order;
pub(super) mod origin;
pub(super) mod path;
pub(super) mod query;
pub(super) mod source;
pub(super) mod vet;
