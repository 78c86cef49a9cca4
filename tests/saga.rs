//! The saga from the click to nothing left, with a simulated runtime behind the real trait and a real Postgres:
//! whatever fails, stops or is repeated on the way, the story ends the same.
#![allow(clippy::disallowed_methods, reason = "tests read their configuration and the time")]

#[path = "saga/admission.rs"]
mod admission;
#[path = "saga/faults.rs"]
mod faults;
#[path = "saga/following.rs"]
mod following;
#[path = "saga/giving_up.rs"]
mod giving_up;
mod harness;
#[path = "saga/house.rs"]
mod house;
#[path = "saga/keeping.rs"]
mod keeping;
#[path = "saga/late.rs"]
mod late;
#[path = "saga/newer.rs"]
mod newer;
#[path = "saga/parking.rs"]
mod parking;
#[path = "saga/pools.rs"]
mod pools;
#[path = "saga/restoring.rs"]
mod restoring;
#[path = "saga/simulated.rs"]
mod simulated;
#[path = "saga/skewed.rs"]
mod skewed;
