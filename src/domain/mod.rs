//! What slipway is about, without anything it runs on: pure functions over plain values.
//!
//! No clock, randomness, environment or I/O is read here; `tests/tidy.rs` holds it to that.

pub mod access;
pub mod cidr;
mod claim;
pub mod cluster;
pub mod command;
pub mod desired;
pub mod difference;
pub mod event;
pub mod explanation;
pub mod fold;
pub mod ids;
pub mod keyring;
pub mod line;
pub mod materials;
pub mod object_names;
pub mod park;
pub mod pool;
pub mod port;
mod posted;
pub mod profile;
mod refusal;
pub mod route;
pub mod shape;
pub mod story;

pub use access::{Access, Door, ShareId, Visitor};
pub use cidr::Cidr;
pub use cluster::{Cluster, Ending, Phase};
pub use command::{Claim, Command, Launch, Observation};
pub use desired::{Blueprint, Desired};
pub use event::{Endpoint, Engine, Event, IdleEvidence, Limits, Step, StopReason};
pub use ids::{ClusterId, Invalid, ProfileName, Subject, WorkerCount};
pub use keyring::Keyring;
pub use materials::Repository;
pub use park::ParkReason;
pub use pool::Pool;
pub use port::{Port, PortName, Ports};
pub use posted::Posted;
pub use profile::Profile;
pub use refusal::Refusal;
pub use route::{MOST_SEGMENTS, Placed, Prefix, Route, RouteChange, RoutePath, RouteTable};
pub use shape::Shape;
