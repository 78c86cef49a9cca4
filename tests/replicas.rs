//! slipway-proxy as processes: several of them on one log, killed, restarted, replaced, and without their database.
#![allow(clippy::disallowed_methods, reason = "tests read their configuration and the time")]

#[path = "replicas/balancer.rs"]
mod balancer;
#[path = "replicas/handover.rs"]
mod handover;
mod harness;
#[path = "replicas/house.rs"]
mod house;
#[path = "replicas/load.rs"]
mod load;
#[path = "replicas/outage.rs"]
mod outage;
#[path = "replicas/postgres.rs"]
mod postgres;
#[path = "replicas/process.rs"]
mod process;
mod proxy_bed;
#[path = "replicas/two.rs"]
mod two;
