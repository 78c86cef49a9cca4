//! The saga from the click to nothing left, with a simulated runtime behind the real trait and a real Postgres:
//! whatever fails, stops or is repeated on the way, the story ends the same.
#![allow(clippy::disallowed_methods, reason = "tests read their configuration and the time")]

#[path = "saga/faults.rs"]
mod faults;
mod harness;
#[path = "saga/keeping.rs"]
mod keeping;
#[path = "saga/simulated.rs"]
mod simulated;
