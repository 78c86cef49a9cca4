//! The reverse proxy: what everyone's browser, kernel and Dask client goes through.
//!
//! It needs nobody while it runs: it answers from [`Routes`], which the wiring keeps up to date with
//! [`Routes::apply`]. The way of a request: `accept` → `connection` → `vet` (is it unambiguous?) →
//! `routes` (whose is it?) → `door` (may they enter?) → `forward` → `upstream` (one exchange with the target) → `body`, or
//! `upgrade` when both sides agree to speak another protocol.
//!
//! hyper speaks to the clients. Towards the targets the proxy writes and reads HTTP/1.1 itself
//! (`upstream`): the request head is serialised straight from what hyper parsed, and the answer is read
//! by the task that waits for it, so a request needs no channel, no second task and no lock that anyone
//! else holds for longer than a push or a pop.

use std::net::SocketAddr;
use std::sync::Arc;

mod accept;
mod access_log;
mod account;
mod activity;
pub mod admin;
mod body;
mod census;
pub mod client_tls;
mod clock;
mod connection;
mod cookies;
mod counters;
mod door;
mod fetch;
mod forward;
mod forwarded;
mod framing;
mod front;
mod gate;
mod hash;
mod http2;
mod lanes;
mod location;
mod manner;
mod metrics;
mod origin;
mod outgoing;
mod pages;
mod path;
mod place;
mod pulse;
mod query;
mod redact;
mod routes;
mod settings;
mod shards;
mod sockets;
mod standing;
mod target;
pub mod tls;
mod upgrade;
mod upstream;
mod vet;
mod websocket;

pub use accept::serve;
pub use access_log::{AccessLog, LogFormat};
pub use admin::serve_admin;
pub use body::Body;
pub use census::Census;
pub use client_tls::ClientTls;
pub use clock::Clock;
pub use counters::Stats;
pub use door::{Bearer, Doorman, TokenHash};
pub use fetch::fetch;
pub use forwarded::Network;
pub use lanes::serve_on_threads;
pub use location::Relocation;
pub use manner::{Manner, Page, Pages, Trouble};
pub use path::{BadPath, decoded};
pub use place::Place;
pub use routes::{Entry, Routes};
pub use settings::{Scheme, Settings};
pub use standing::{Phase, Standing};
pub use target::{NotATarget, Origin, Target, Upstream};
pub use tls::ServerTls;

/// Everything that all listeners of one proxy share.
#[derive(Debug)]
pub struct Proxy {
    pub routes: Arc<Routes>,
    /// Where requests go that no route matches: slipway's own API and page. Without it they get a 404.
    pub fallback: Option<SocketAddr>,
    /// Without one every route is open to all.
    pub doorman: Option<Arc<Doorman>>,
    pub settings: Settings,
    pub manner: Manner,
    /// With it, clients speak TLS; without, plain HTTP/1.1.
    pub tls: Option<Arc<ServerTls>>,
    /// With it, targets may be of `https`; without, none of them is reached.
    pub client_tls: Option<Arc<ClientTls>>,
    pub clock: Clock,
    pub census: Arc<Census>,
    pub stats: Stats,
    pub standing: Standing,
    /// Told of each request, if there is one.
    pub access_log: Option<AccessLog>,
}

impl Proxy {
    /// A proxy with the default settings and the system's clock.
    pub fn new(routes: Arc<Routes>, fallback: Option<SocketAddr>) -> Self {
        Self {
            routes,
            fallback,
            doorman: None,
            settings: Settings::default(),
            manner: Manner::default(),
            tls: None,
            client_tls: None,
            clock: Clock::system(),
            census: Arc::default(),
            stats: Stats::default(),
            standing: Standing::default(),
            access_log: None,
        }
    }
}
