//! What one click leads to, from process to process, in the logs: a line as each step ends, with how long it took.
//!
//! `RUST_LOG=warn,slipway=info,slipway::spans=debug` shows them. All that belongs to a click has its `correlation`, the one in
//! the log of events, so no process has to hand it to another.

pub const SPANS: &str = "slipway::spans";
