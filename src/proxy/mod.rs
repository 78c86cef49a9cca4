//! The reverse proxy: what everyone's browser, kernel and Dask client goes through.
//!
//! It needs nobody while it runs: it answers from [`Routes`], which the wiring keeps up to date with
//! [`Routes::apply`]. The way of a request: `accept` → `connection` → `vet` (is it unambiguous?) →
//! `routes` (whose is it?) → `forward` → `upstream` (one exchange with the target) → `body`, or
//! `upgrade` when both sides agree to speak another protocol.
//!
//! hyper speaks to the clients. Towards the targets the proxy writes and reads HTTP/1.1 itself
//! (`upstream`): the request head is serialised straight from what hyper parsed, and the answer is read
//! by the task that waits for it, so a request needs no channel, no second task and no lock that anyone
//! else holds for longer than a push or a pop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

mod accept;
mod activity;
pub mod admin;
mod body;
mod clock;
mod connection;
mod cookies;
mod forward;
mod forwarded;
mod hash;
mod outgoing;
mod pages;
mod path;
mod routes;
mod upgrade;
mod upstream;
mod vet;

pub use accept::serve;
pub use admin::serve_admin;
pub use body::Body;
pub use clock::Clock;
pub use forwarded::Network;
pub use path::BadPath;
pub use routes::{Entry, Routes};

/// Everything that all listeners of one proxy share.
#[derive(Debug)]
pub struct Proxy {
    pub routes: Arc<Routes>,
    /// Where requests go that no route matches: slipway's own API and page. Without it they get a 404.
    pub fallback: Option<SocketAddr>,
    pub settings: Settings,
    pub clock: Clock,
}

impl Proxy {
    /// A proxy with the default settings and the system's clock.
    pub fn new(routes: Arc<Routes>, fallback: Option<SocketAddr>) -> Self {
        Self { routes, fallback, settings: Settings::default(), clock: Clock::system() }
    }
}

/// Limits and times. The defaults suit a class of a few hundred.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the clients reach this proxy, as far as it is not told by a trusted proxy: `https` when
    /// something in front of it ends TLS. Goes into `X-Forwarded-Proto`.
    pub scheme: Scheme,
    /// Peers whose `X-Forwarded-*` are believed and extended. From all others these are overwritten.
    pub trusted: Vec<Network>,
    /// A client that has not sent a whole request head this long after it connected, or after the last
    /// answer, is disconnected.
    pub head_timeout: Duration,
    /// Longest request head in bytes (431 above; not below 8192) and request target in bytes (414 above).
    pub max_head: usize,
    pub max_target: usize,
    /// A target that does not accept a connection within this time is answered for with 503.
    pub connect_timeout: Duration,
    /// A target that does not begin its answer within this time is answered for with 504. `None` waits
    /// as long as the client does: notebooks do poll for minutes.
    pub answer_timeout: Option<Duration>,
    /// Unused connections kept for the next request: per target, in all per listener, and for how long.
    pub idle_per_target: usize,
    pub idle_total: usize,
    pub idle_age: Duration,
    /// What requests and tunnels under way get to finish in after a shutdown was asked for.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            trusted: vec![],
            head_timeout: Duration::from_secs(30),
            max_head: 64 * 1024,
            max_target: 16 * 1024,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: None,
            idle_per_target: 64,
            idle_total: 4096,
            idle_age: Duration::from_secs(60),
            drain: Duration::from_secs(30),
        }
    }
}

/// How clients reach the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}
