//! `configurable-http-proxy` as JupyterHub meets it: the real program over real sockets.

mod chp_bed;
mod harness;
mod proxy_bed;

#[path = "chp/api.rs"]
mod api;
#[path = "chp/command_line.rs"]
mod command_line;
#[path = "chp/errors.rs"]
mod errors;
#[path = "chp/files.rs"]
mod files;
#[path = "chp/kept.rs"]
mod kept;
#[path = "chp/metrics.rs"]
mod metrics;
#[path = "chp/routing.rs"]
mod routing;
#[path = "chp/sockets.rs"]
mod sockets;
#[path = "chp/tls.rs"]
mod tls;
