//! Which path leads where.

pub(super) mod activity;
pub(super) mod routes;
mod shards;
pub(super) mod target;
