//! Push a button, get a cluster: see README.md for use and ARCHITECTURE.md for how it is built.
#![forbid(unsafe_code)]

pub mod domain;
pub mod proxy;
pub mod runtime;
