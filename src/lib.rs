//! Push a button, get a cluster: see README.md for use and ARCHITECTURE.md for how it is built.

pub mod clock;
pub mod domain;
pub mod error_chain;
pub mod http;
pub mod proxy;
pub mod runtime;
pub mod service;
pub mod store;
