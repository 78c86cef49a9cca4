//! `configurable-http-proxy` as JupyterHub meets it: the real program over real sockets.

mod chp_bed;
mod proxy_bed;

#[path = "chp/api.rs"]
mod api;
#[path = "chp/command_line.rs"]
mod command_line;
#[path = "chp/errors.rs"]
mod errors;
#[path = "chp/routing.rs"]
mod routing;
#[path = "chp/sockets.rs"]
mod sockets;
