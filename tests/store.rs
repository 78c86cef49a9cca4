//! The event log, its limits and its work queue, against a real Postgres.

#[path = "store/admission.rs"]
mod admission;
#[path = "store/append.rs"]
mod append;
#[path = "store/archive.rs"]
mod archive;
#[path = "store/archived.rs"]
mod archived;
#[path = "store/audit.rs"]
mod audit;
#[path = "store/claims.rs"]
mod claims;
#[path = "store/damage.rs"]
mod damage;
mod harness;
#[path = "store/order.rs"]
mod order;
#[path = "store/partitions.rs"]
mod partitions;
#[path = "store/people.rs"]
mod people;
#[path = "store/pooled.rs"]
mod pooled;
#[path = "store/pools.rs"]
mod pools;
#[path = "store/posted.rs"]
mod posted;
#[path = "store/queue.rs"]
mod queue;
#[path = "store/roles.rs"]
mod roles;
#[path = "store/snapshots.rs"]
mod snapshots;
#[path = "store/start.rs"]
mod start;
#[path = "store/together.rs"]
mod together;
#[path = "store/views.rs"]
mod views;
