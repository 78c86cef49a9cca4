//! What can happen to the log and to those who work by it, made to happen: processes that are killed or stopped, servers
//! that go away, wires that are cut, a full disk, other versions, and a restored dump.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read their configuration and the time, and tell what they could not do"
)]

#[path = "faults/answers.rs"]
mod answers;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/dump.rs"]
mod dump;
#[path = "faults/failover.rs"]
mod failover;
#[path = "faults/folder_world.rs"]
mod folder_world;
mod harness;
#[path = "faults/killed.rs"]
mod killed;
#[path = "faults/log.rs"]
mod log;
#[path = "faults/many_leases.rs"]
mod many_leases;
#[path = "faults/outage.rs"]
mod outage;
#[path = "replicas/postgres.rs"]
mod postgres;
#[path = "faults/process.rs"]
mod process;
#[path = "faults/versions.rs"]
mod versions;
