//! Push a button, get a cluster: see README.md for use and ARCHITECTURE.md for how it is built.

pub mod chp;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod error_chain;
pub mod exposition;
pub mod http;
pub mod parts;
pub mod proxy;
pub mod runtime;
pub mod secret;
pub mod service;
pub mod shutdown;
pub mod spans;
pub mod store;
pub mod up;

/// For all programs: what thousands of connections or launches needed at once goes back to the system, which glibc keeps, and
/// a small piece costs less.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
