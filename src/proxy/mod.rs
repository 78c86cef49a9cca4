//! The reverse proxy: what everyone's browser, kernel and Dask client goes through.
//!
//! It needs nobody while it runs: it answers from [`Routes`], which the wiring keeps up to date with
//! [`Routes::apply`]. The way of a request: `listen` → `client` → `request` (is it unambiguous?) → `table` (whose is
//! it?) → `door` (may they enter?) → `forward` → `upstream` (one exchange with the target) → `answer`, or `tunnel` when
//! both sides agree to speak another protocol. `telemetry` looks on.
//!
//! HTTP/1.1 is written and read here, towards clients and targets, by one task for each client: a request needs no
//! channel, no second task and no lock that anyone else holds for longer than a push or a pop. hyper speaks HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;

mod answer;
mod chunked;
mod client;
mod clock;
mod door;
mod fields;
mod fill;
mod forward;
mod hash;
mod length;
mod listen;
mod manner;
mod queue;
mod request;
mod settings;
mod table;
mod telemetry;
mod tunnel;
mod upstream;

pub use answer::body::Body;
pub use answer::location::Relocation;
pub use client::tls::{self, ServerTls};
pub use clock::Clock;
pub use door::doorman::{Bearer, Doorman, TokenHash};
pub use fields::Fields;
pub use listen::accept::serve;
pub use listen::census::Census;
pub use listen::lanes::serve_on_threads;
pub use listen::listener::{Accepted, Listener};
pub use listen::place::Place;
pub use manner::{Manner, Page, Pages, Trouble};
pub use request::head::RequestHead;
pub use request::path::{BadPath, decoded};
pub use settings::{Scheme, Settings};
pub use table::routes::{Entry, Routes, Use};
pub use table::target::{NotATarget, Origin, Target, Upstream};
pub use telemetry::access_log::{AccessLog, LogFormat};
pub use telemetry::admin::{self, serve_admin};
pub use telemetry::counters::{Stats, Statuses};
pub use telemetry::metrics::text as metrics;
pub use telemetry::standing::{Phase, Standing};
pub use upstream::client_tls::{self, ClientTls};
pub use upstream::fetch::fetch;

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
