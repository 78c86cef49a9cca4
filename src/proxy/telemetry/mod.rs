//! What can be seen of the proxy from outside.

pub(super) mod access_log;
pub(super) mod account;
pub mod admin;
pub(super) mod counters;
pub(super) mod metrics;
mod redact;
pub(super) mod standing;
