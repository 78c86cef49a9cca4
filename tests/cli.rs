//! The commands of an operator on a database of their own, with nobody else at work.
#![allow(clippy::disallowed_methods, reason = "tests read their configuration and the time")]

#[path = "cli/archive.rs"]
mod archive;
#[path = "cli/explain.rs"]
mod explain;
mod harness;
#[path = "cli/parked.rs"]
mod parked;
#[path = "cli/partitions.rs"]
mod partitions;
#[path = "cli/pools.rs"]
mod pools;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/replay.rs"]
mod replay;
#[path = "cli/unread.rs"]
mod unread;
