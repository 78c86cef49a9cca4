//! The API and the page as a browser or a program meets them: over a real socket, with a real Postgres.

#[path = "api/archived.rs"]
mod archived;
#[path = "api/body.rs"]
mod body;
#[path = "api/client.rs"]
mod client;
#[path = "api/description.rs"]
mod description;
#[path = "api/door.rs"]
mod door;
mod harness;
#[path = "api/launching.rs"]
mod launching;
#[path = "api/live.rs"]
mod live;
#[path = "api/metrics.rs"]
mod metrics;
#[path = "api/owners.rs"]
mod owners;
#[path = "api/page.rs"]
mod page;
#[path = "api/people.rs"]
mod people;
#[path = "api/pool.rs"]
mod pool;
#[path = "api/queue.rs"]
mod queue;
#[path = "api/server.rs"]
mod server;
#[path = "api/shares.rs"]
mod shares;
#[path = "api/trail.rs"]
mod trail;
