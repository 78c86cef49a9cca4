//! The rules of a cluster's life, its names and its secrets, without a database.

#[path = "domain/access.rs"]
mod access;
#[path = "domain/decide.rs"]
mod decide;
#[path = "domain/difference.rs"]
mod difference;
#[path = "domain/evolve.rs"]
mod evolve;
#[path = "domain/explanation.rs"]
mod explanation;
#[path = "domain/fold.rs"]
mod fold;
#[path = "domain/golden.rs"]
mod golden;
#[path = "domain/histories.rs"]
mod histories;
#[path = "domain/keyring.rs"]
mod keyring;
#[path = "domain/line.rs"]
mod line;
#[path = "domain/names.rs"]
mod names;
#[path = "domain/object_names.rs"]
mod object_names;
#[path = "domain/park.rs"]
mod park;
#[path = "domain/pool.rs"]
mod pool;
#[path = "domain/ports.rs"]
mod ports;
#[path = "domain/samples.rs"]
mod samples;
#[path = "domain/shape.rs"]
mod shape;
#[path = "domain/story.rs"]
mod story;
