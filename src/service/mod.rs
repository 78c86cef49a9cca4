//! The saga: commands become events, workers make the world match, everyone else follows the log.

pub mod admission;
pub mod execute;
pub mod feed;
pub mod follow;
pub mod keeper;
pub mod launch;
pub mod line;
pub mod meters;
pub mod patience;
pub mod people;
pub mod pools;
pub mod posted;
pub mod reconcile;
pub mod restore;
pub mod routes;
mod shelf;
pub mod worker;

pub use execute::{ExecuteError, Executed, Service};
