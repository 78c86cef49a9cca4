//! The event log, its limits and its work queue, against a real Postgres.

#[path = "store/admission.rs"]
mod admission;
#[path = "store/append.rs"]
mod append;
#[path = "store/archive.rs"]
mod archive;
#[path = "store/audit.rs"]
mod audit;
#[path = "store/damage.rs"]
mod damage;
mod harness;
#[path = "store/order.rs"]
mod order;
#[path = "store/posted.rs"]
mod posted;
#[path = "store/queue.rs"]
mod queue;
